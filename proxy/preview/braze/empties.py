"""What is not there: placeholders for what only Braze has, and what came up empty, with the nearest name that exists.

A placeholder stands for what Braze puts into a message and a preview doesn't have, unless the profile brings it.
"""

import difflib
import html
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

from liquid.token import Token
from liquid.undefined import Undefined

from proxy.preview.braze.markup import PROFILE, line_of
from proxy.preview.braze.ruby import plain

# Unicode noncharacters: they can't be part of anyone's text.
_OPEN, _CLOSE = "\ufdd4", "\ufdd5"
_MARKED = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")
_LEFT_OVER = re.compile(f"[{_OPEN}{_CLOSE}]")
_GREY = "background:#e5e7eb;color:#374151;border-radius:3px;padding:0 4px"

# Filters that put a text beside another; after any other a placeholder stays what it is.
JOINING = frozenset({"append", "prepend"})

_DATA = tomllib.loads((files(__package__) / "known.toml").read_text("utf-8"))
_ATTRIBUTES: Mapping[str, str] = _DATA["attributes"]
NAMESPACES: Mapping[str, str] = _DATA["namespaces"]
# Sample data for tags; no variables by themselves. Each is keyed by what the tag names first.
SAMPLES = frozenset({"catalog_items", "catalog_selection_items", "promotion", "shopping_cart"})


class Placeholder(str):
    """A text that says what Braze would put here; looked into, it says so of the part."""

    __slots__ = ("what",)
    what: str

    def __new__(cls, what: str) -> "Placeholder":
        """Return the text, marked so that `displayed` finds it again."""
        made = super().__new__(cls, f"{_OPEN}{what}{_CLOSE}")
        made.what = what
        return made

    def part(self, key: object) -> "Placeholder | int":
        """Return what stands for a property or an item; there is one item of anything."""
        if key == "size":
            return 1
        if self.what == NAMESPACES["content_blocks"]:
            return Placeholder(f"the Content Block {key}")
        name = f"item {key + 1}" if isinstance(key, int) else str(key).replace("_", " ")
        return Placeholder(f"{name if isinstance(key, int) else f'the {name}'} of {self.what}")


def known(attributes: Mapping[str, object]) -> dict[str, object]:
    """Return a person's attributes with placeholders for those that Braze sets for everybody."""
    return {**{name: Placeholder(what) for name, what in _ATTRIBUTES.items()}, **attributes}


def namespaces(given: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """Return the namespaces a template can read, with a placeholder for each of Braze's that is not given."""
    missing = {name: Placeholder(what) for name, what in NAMESPACES.items() if name not in given}
    return {**missing, **{name: values for name, values in given.items() if name not in SAMPLES}}


def displayed(output: str, *, is_html: bool) -> str:
    """Return a finished message with its placeholders to look at: grey in HTML, in brackets elsewhere."""

    def one(match: re.Match[str]) -> str:
        inside_tag = output.rfind("<", 0, match.start()) > output.rfind(">", 0, match.start())
        if is_html and not inside_tag:
            return f'<span style="{_GREY}">{html.escape(match[1])}</span>'
        return f"[{html.escape(match[1]) if is_html else match[1]}]"

    return _LEFT_OVER.sub("", _MARKED.sub(one, output))


def placeholders(output: str) -> tuple[str, ...]:
    """Return what the placeholders of a message stand for, each once."""
    return tuple(dict.fromkeys(_MARKED.findall(output)))


# ---- What came up empty

# Read with ${name}; all others are looked into by a dot.
_SPACES = "custom_attribute event_properties api_trigger_properties context canvas_entry_properties"
BRACED = (PROFILE, *_SPACES.split())
_IDENTIFIER = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
_SYNONYMS = [frozenset(words.split()) for words in _DATA["synonyms"]]
_DEPTH = 3
_MOST = 200


@dataclass(frozen=True, slots=True)
class Empty:
    """One place that met nothing.

    ``kind`` is ``output``, ``condition`` or ``loop``; ``line`` counts from 1 in the template. ``expression`` is what
    was read and ``nearest`` what exists, both in Braze's syntax without the outer braces; ``nearest`` is None where
    nothing is like it. ``expected`` says that the template provides for it: a condition that asks whether there is
    something, or a loop with an ``else``.
    """

    kind: str
    line: int
    expression: str
    nearest: str | None
    message: str
    expected: bool = False


class Missing(Undefined):
    """A path that leads to nothing: the whole of it, how far it led, and what it found there."""

    __slots__ = ("at", "parent", "path")

    def __init__(self, path: Iterable[object], at: int, parent: object, token: Token | None) -> None:
        self.path = tuple(path)
        self.at = at
        self.parent = parent
        super().__init__(str(self.path[0]), token=token)


class Empties:
    """Collects what came up empty in one rendering.

    ``names`` are the variables that can be read, innermost first. While a piece of a tag is rendered, ``origin`` is
    where it begins; while a text from elsewhere is, ``is_foreign`` says that its own lines are not the template's.
    """

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names = names
        self._found: dict[tuple[str, int, str], Empty] = {}
        self.origin: Token | None = None
        self.is_foreign = False

    @property
    def found(self) -> tuple[Empty, ...]:
        """What came up empty, by line."""
        return tuple(sorted(self._found.values(), key=lambda empty: empty.line))

    def add(self, kind: str, token: Token, path: Iterable[object], value: object, *, expected: bool = False) -> None:
        """Record that ``path`` was read at ``token`` and led to ``value``: nothing, or not what was meant."""
        path = tuple(path)
        written = shown(path)
        key = (kind, self._line(token), written)
        if key in self._found or len(self._found) >= _MOST:
            return
        nearest, because = self._explained(path, value, is_loop=kind == "loop")
        if nearest == written:
            nearest, because = None, f"{written} is set, but :rerender has only what the message itself reads"
        hint = f"; did you mean {nearest}?" if nearest else "."
        expected = expected and nearest is None
        self._found[key] = Empty(kind, key[1], written, nearest, f"{because}{hint}", expected)

    def _line(self, token: Token) -> int:
        own = line_of(token.source, max(token.start_index, 0))
        if self.origin is None:
            return own
        return line_of(self.origin.source, self.origin.start_index) + (0 if self.is_foreign else own - 1)

    def _explained(self, path: tuple[object, ...], value: object, *, is_loop: bool) -> tuple[str | None, str]:
        written = shown(path)
        if isinstance(value, Missing):
            because = _because(value)
            if value.path != path:
                because = f"{written} comes from {shown(value.path)}: {because}"
            return self._nearest(value), because
        if isinstance(value, Placeholder):
            return None, f"the preview doesn't know {value.what}; add it to the data under namespaces"
        if is_loop and isinstance(value, Mapping):
            inside = next((key for key, item in value.items() if isinstance(item, list)), None)
            nearest = None if inside is None else shown((*path, inside))
            return nearest, f"{written} is an object: the loop goes over its keys, not over a list"
        if is_loop and value is not None and not isinstance(value, (list, str)):
            return None, f"{written} is no list, so there is nothing to loop over"
        match plain(value):
            case None:
                return None, f"{written} is null"
            case list() | Mapping() as items if not items:
                return None, f"{written} is an empty {'list' if isinstance(items, list) else 'object'}"
            case str() as text if not text:
                return None, f"{written} is empty"
            case _:
                return None, f"{written} comes to nothing after its filters"

    def _nearest(self, missing: Missing) -> str | None:
        path, at = missing.path, missing.at
        braced = self._braced_elsewhere(path)
        if braced is not None:
            return braced
        if at == 0:
            return self._nearest_variable(str(path[0]), path[1:])
        found = _led(missing.parent, path[at:])
        if found is None:
            found = next(_deep(missing.parent, str(path[at])), None)
        if found is None and isinstance(path[at], str) and path[at + 1 :]:
            # rating.summary.average: what /v1/reviews has one step further in.
            found = _led(missing.parent, path[at + 1 :])
        return None if found is None else shown((*path[:at], *found))

    def _nearest_variable(self, name: str, rest: tuple[object, ...]) -> str | None:
        variables = {root: value for root, value in self._names.items() if root not in {*BRACED, *NAMESPACES}}
        like = _alike(name, list(variables))
        for root in dict.fromkeys([*([like] if like else []), *variables]):
            # Any variable will do that leads as far as the path; one of a like name for a name alone.
            found = _led(variables[root], rest) if rest or root == like else None
            if found is not None:
                return shown((root, *found))
        for root, value in variables.items():
            inside = next(_deep(value, name), None)
            if inside is not None:
                return shown((root, *inside))
        return None

    def _braced_elsewhere(self, path: tuple[object, ...]) -> str | None:
        """Find the same name among a person's attributes and an event's properties, behind another prefix."""
        is_braced = path[0] in BRACED and len(path) > 1
        name, rest = (path[1], path[2:]) if is_braced else (path[0], path[1:])
        for root in BRACED:
            values = self._names.get(root)
            if isinstance(values, Mapping) and name in values and not isinstance(values[name], Placeholder):
                found = _led(values[name], rest)
                return None if found is None else shown((root, name, *found))
        return None


def shown(path: Iterable[object]) -> str:
    """Return a path in Braze's syntax: ``event_properties.${sku}``, ``result.reviews[0].content``."""
    root, *rest = path
    if rest and (root in BRACED or root in NAMESPACES):
        text = f"{'' if root == PROFILE else f'{root}.'}${{{rest[0]}}}"
        rest = rest[1:]
    else:
        text = str(root)
    for part in rest:
        text += f".{part}" if isinstance(part, str) and _IDENTIFIER.fullmatch(part) else f"[{part!r}]"
    return text


def _because(missing: Missing) -> str:
    before, name = missing.path[: missing.at], missing.path[missing.at]
    if not before:
        return f"nothing is called {name}"
    if before == (PROFILE,):
        return f"${{{name}}} is not set for this person"
    if len(before) == 1 and before[0] in BRACED:
        return f"{shown((*before, name))} is not set"
    match plain(missing.parent):
        case None:
            return f"{shown(before)} is null, so it has no {name}"
        case list() as items if isinstance(name, int):
            return f"{shown(before)} has {len(items)} item{'' if len(items) == 1 else 's'}, so [{name}] is nothing"
        case list():
            return f"{shown(before)} is a list, so it has no {name}"
        case Mapping():
            return f"{shown(before)} has no {name}"
        case _:
            return f"{shown(before)} is text or a number, so it has no {name}"


def _led(value: object, path: Iterable[object]) -> list[object] | None:
    """Return the nearest path through ``value`` that exists, or None."""
    found: list[object] = []
    for part in path:
        if isinstance(value, list) and isinstance(part, str) and part not in {"size", "first", "last"} and value:
            found.append(0)
            value = value[0]
        match value:
            case Mapping():
                name = _alike(str(part), list(value))
                if name is None:
                    return None
                found.append(name)
                value = value[name]
            case list() if isinstance(part, int) and -len(value) <= part < len(value):
                found.append(part)
                value = value[part]
            case list() | str() if part in {"size", "first", "last"}:
                found.append(part)
                value = None
            case str() | int() | float() if found and _are_same(str(found[-1]), str(part)):
                # consumer.displayName is author: there is nothing further in.
                continue
            case _:
                return None
    return found


def _deep(value: object, name: str, depth: int = _DEPTH) -> Iterator[list[object]]:
    """Yield the paths inside ``value`` to a property of such a name, its own first."""
    if depth == 0 or not isinstance(value, Mapping):
        return
    own = _alike(name, list(value))
    if own is not None:
        yield [own]
    for key, inside in value.items():
        for found in _deep(inside, name, depth - 1):
            yield [key, *found]


def _alike(name: str, names: list[str]) -> str | None:
    """Return the one of ``names`` that ``name`` was probably meant to be."""
    if name in names:
        return name
    if "." in name or "[" in name:
        return None
    simple = {_simple(other): other for other in reversed(names)}
    wanted = _simple(name)
    for candidate in (wanted, f"{wanted}s", wanted.removesuffix("s")):
        if candidate in simple:
            return simple[candidate]
    for group in _SYNONYMS:
        if wanted in group:
            same = next((simple[word] for word in simple if word in group), None)
            if same is not None:
                return same
    close = difflib.get_close_matches(wanted, list(simple), n=1, cutoff=0.75)
    return simple[close[0]] if close else None


def _are_same(name: str, other: str) -> bool:
    return any({_simple(name), _simple(other)} <= group for group in _SYNONYMS)


def _simple(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())
