"""What is found in a template: where, why, and the edit that puts it right; and where its tags and calls stand."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from proxy.preview.braze import CALL_WORDS, FILTERS, is_boundless, line_of

_ROUGH = re.compile(r"\{%-?\s*(?P<name>[\w-]*)(?P<tag>.*?)%\}|\{\{(?P<output>.*?)\}{2,}", re.DOTALL)
_UNREAD = re.compile(
    r"<!--.*?-->|\{%-?\s*comment\s*-?%\}.*?\{%-?\s*endcomment\s*-?%\}|\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}",
    re.DOTALL,
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_SETS = re.compile(
    r":save\s+(\w+)|\b(?:assign|increment|decrement)\s+(\w+)|\bcapture\s+['\"]?(\w+)|\b(?:for|tablerow)\s+(\w+)\s+in\b"
)
_SET_BY_TAGS = {
    "connected_content": "connected",
    "catalog_items": "items",
    "catalog_selection_items": "items",
    "shopping_cart": "shopping_cart",
    "for": "forloop",
    "tablerow": "tablerowloop",
}
MOST_FINDINGS = 60
# Patterns look again from each character of a text, and at white space from each of its pairs.
_MOST_WORK, _MUCH_SPACE = 10_000_000, re.compile(r"\s{200}")


@dataclass(frozen=True)
class Edit:
    """Put ``text`` in place of the characters from ``start`` to ``end``, counted from 0 in code points."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or looks wrong.

    ``line`` counts from 1; ``message`` says what happens and what to write; ``fix`` names the edits, which belong
    together; without edits the fix is for a person to make.
    """

    kind: str
    line: int
    message: str
    fix: str = ""
    edits: tuple[Edit, ...] = ()

    def shown(self, part: str) -> dict[str, Any]:
        """Return it as JSON, for the ``part`` of the message (``title`` or ``body``) it is in."""
        fix = {"label": self.fix, "edits": [asdict(edit) for edit in self.edits]} if self.edits else None
        return {"part": part, "kind": self.kind, "line": self.line, "message": self.message, "fix": fix}


@dataclass(frozen=True)
class Markup:
    """One output (``name`` is empty) or tag: from ``start`` to ``end`` with its braces, ``inner`` without.

    ``inner`` begins at ``at``; of a tag it is what stands after the name.
    """

    name: str
    start: int
    end: int
    inner: str
    at: int

    @property
    def is_output(self) -> bool:
        return not self.name

    @property
    def value(self) -> str:
        """What stands inside, without white space and the hyphens of the braces."""
        return self.inner.strip(" \t\r\n-")

    @property
    def code(self) -> str:
        """``inner`` with what stands in quotes blanked out, each character in its place."""
        return without_quoted(self.inner)

    def edit(self, span: tuple[int, int], text: str) -> Edit:
        return Edit(self.at + span[0], self.at + span[1], text)

    def adding(self, text: str) -> Edit:
        """Return the edit that writes ``text`` behind what stands inside."""
        end = len(self.inner.rstrip(" -"))
        return self.edit((end, end), text)

    def part(self, start: int, end: int) -> Markup:
        return Markup("", self.start, self.end, self.inner[start:end], self.at + start)

    def whole(self, text: str) -> Edit:
        """Return the edit that puts ``text`` in place of all of it, braces too."""
        return Edit(self.start, self.end, text)


def examined(text: str) -> Iterator[Markup]:
    """Yield what looks like Liquid in ``text``, as long as looking at all of it closely takes no time to speak of."""
    work = 0
    for markup in markups(text):
        work += len(markup.inner) ** 2
        if work <= _MOST_WORK and not _MUCH_SPACE.search(markup.inner):
            yield markup


@lru_cache(maxsize=16)
def markups(text: str) -> Sequence[Markup]:
    """Return what looks like Liquid in ``text``, leaving out comments and ``raw``; never raises.

    Nothing of a text that would take long to look through, which no preview renders.
    """
    return () if is_boundless(text) else tuple(_markups(text))


def _markups(text: str) -> Iterator[Markup]:
    readable = without_unread(text)
    for match in _ROUGH.finditer(readable):
        if match["output"] is not None:
            closing = len(match.group()) - 2 - len(match["output"])
            # The braces of ${name} at the end belong to the output.
            extra = match.start("output") + len(match["output"]) + closing - 2
            yield Markup(
                "", match.start(), match.end(), readable[match.start("output") : extra], match.start("output")
            )
        elif match["name"]:
            inner = match["tag"].removesuffix("-")
            yield Markup(match["name"], match.start(), match.end(), inner, match.start("tag"))


def on_line(text: str, line: int) -> list[Markup]:
    """Return the tags and outputs that stand on a line."""
    return [one for one in markups(text) if line_of(text, one.start) <= line <= line_of(text, one.end)]


def without_unread(text: str) -> str:
    """Return ``text`` with what Liquid does not read blanked out, each character in its place."""
    return blanked(text, (match.span() for match in _UNREAD.finditer(text)))


def names_set(text: str) -> frozenset[str]:
    """Return the variables that a template sets itself."""
    found = {name for match in _SETS.finditer(text) for name in match.groups() if name}
    found.update(variable for tag, variable in _SET_BY_TAGS.items() if re.search(rf"\{{%-?\s*{tag}\b", text))
    return frozenset(found)


def without_quoted(code: str) -> str:
    """Return Liquid code with what stands in quotes blanked out, each character in its place."""
    return _QUOTED.sub(lambda match: match.group()[0] + " " * (len(match.group()) - 2) + match.group()[0], code)


def closing(text: str, opened: Markup) -> Markup | None:
    """Return the tag that closes ``opened``."""
    depth = 0
    for markup in markups(text):
        if markup.start >= opened.start:
            depth += (markup.name == opened.name) - (markup.name == f"end{opened.name}")
            if depth == 0:
                return markup
    return None


def personal(name: str) -> str:
    """Return how Braze calls a person's attribute that others call ``name``, else the name itself."""
    return MEANT["attributes"].get(name.lower().replace("_", ""), name)


def short(text: str) -> str:
    """Return a piece of the template on one line, its middle left out where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= 64 else f"{line[:40]} … {line[-20:]}"


def blanked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return ``text`` with some places of it blanked out, each character but for line ends."""
    for start, end in spans:
        text = text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]
    return text


def finding_of(
    text: str, sentence: str, /, *edits: Edit, at: int | None = None, line: int = 0, **words: Any
) -> Finding:
    """Return a finding in ``text`` as a sentence of findings.toml tells it with these ``words``.

    It stands at its first edit unless ``at`` or ``line`` says where. ``plain`` is what that edit writes unless it is
    given, and to write it is the fix unless the sentence names another.
    """
    kind, message, fix = SENTENCES[sentence]
    words = {"plain": edits[0].text if edits else "", **words}
    line = line or line_of(text, edits[0].start if at is None else at)
    return Finding(kind, line, message.format(**words), fix.format(**words) if edits else "", edits)


def chosen(edits: Iterable[Edit]) -> list[Edit]:
    """Return the edits in the order of their places; of two that overlap the first one."""
    kept: list[Edit] = []
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if not kept or edit.start >= kept[-1].end:
            kept.append(edit)
    return kept


def applied(text: str, edits: Iterable[Edit]) -> str:
    """Return ``text`` with the edits made, see `chosen`."""
    for edit in reversed(chosen(edits)):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def distinct(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings by line, each said once, and one alone of those that mend the same place."""
    kept: dict[tuple[int, str], Finding] = {}
    mended: set[tuple[tuple[int, int], ...]] = set()
    # What is worst about a place is told of it.
    worst = ("secret", "personal-data")
    for finding in sorted(findings, key=lambda finding: (finding.line, finding.kind not in worst)):
        places = tuple((edit.start, edit.end) for edit in finding.edits)
        if (finding.line, finding.message) not in kept and not (places and places in mended):
            kept[finding.line, finding.message] = finding
            mended.add(places)
    return list(kept.values())


class Rule(NamedTuple):
    """What people write, what to write instead, and how that is told.

    ``written`` may hold groups of the pattern, or make the text of the match; the rule says nothing where that is
    what stands there. In ``message`` and ``fix``, ``{found}`` and ``{plain}`` are the two, ``{found_short}`` and
    ``{short}`` the same on one line, and ``{where}`` is the tag or output around. The fix is named after what to
    write where it has no name of its own.
    """

    pattern: str
    written: str | Callable[[re.Match[str]], str]
    message: str = "Liquid has no {found}: write {plain}."
    fix: str = ""


OPERAND = r"(?:'[^']*'|\"[^\"]*\"|\{\{.*?\}\}|\$\{[^{}]*\}|[\w.\[\]-]+(?:\.?\$\{[^{}]*\})?)"
"""A value within a tag."""

_PIECES = {
    "<operand>": OPERAND,
    "<plain>": r"(?:\$\{[^{}\n]*\}|\{\{[^{}\n]*\}\}|[^{}%\n])*",
    "<tags>": "if|elsif|else|endif|unless|endunless|for|endfor|assign|case|when|endcase|capture|endcapture",
    "<filters>": "|".join(FILTERS),
}


_DATA = tomllib.loads((files(__package__) / "findings.toml").read_text("utf-8"))
RULES: Mapping[str, list[Rule]] = {
    name: [
        Rule(re.sub("<[a-z]+>", lambda found: _PIECES.get(found[0], found[0]), find), *rest) for find, *rest in rows
    ]
    for name, rows in _DATA["rules"].items()
}
"""The rules that need no more than their text."""
TABLES: Mapping[str, Any] = _DATA["tables"]
SENTENCES: Mapping[str, tuple[str, str, str]] = {
    name: (name.partition("/")[0], " ".join(message.split()), *(fix or ["Write {plain}"]))
    for name, (message, *fix) in _DATA["sentences"].items()
}
"""The kind, the message and the name of the fix of what is told by name."""
MEANT: Mapping[str, Mapping[str, str]] = {
    name: {word: right for right, written in words.items() for word in written.split()}
    for name, words in _DATA["words"].items()
}
"""For each kind of word: those that people write, and the one that each of them means."""


class Draft:
    """A template being put right, that remembers where each character stood at first.

    Several rounds look at it; each sees what those before have mended, while every finding is told, and can be
    mended alone, in the template as it was written.
    """

    def __init__(self, written: str) -> None:
        self.written = written
        self.text = written
        self.findings: list[Finding] = []
        self._origins = list(range(len(written) + 1))

    def note(self, sentence: str, /, *edits: Edit, at: int | None = None, **words: Any) -> None:
        """Record a finding, as `finding_of` makes it; its edits are made when the round ends."""
        self._record(finding_of(self.text, sentence, *edits, at=at, **words), edits[0].start if at is None else at)

    def _record(self, finding: Finding, at: int) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(replace(finding, line=self.line(at)))

    def apply(
        self,
        kind: str,
        rules: Iterable[Rule],
        markup: Markup | None = None,
        code: str | None = None,
        *,
        each: bool = False,
    ) -> list[tuple[int, int]]:
        """Record what ``rules`` find in ``code``, and return where.

        ``code`` is the markup's where none is given, its quoted texts blank; without a markup it is the template's.
        All that a rule finds is one finding, unless ``each`` is one.
        """
        markup = markup or Markup("", 0, len(self.text), self.text, 0)
        spans: list[tuple[int, int]] = []
        for rule in rules:
            pattern = re.compile(rule.pattern)
            places = []
            for match in pattern.finditer(markup.code if code is None else code):
                # What is blank in the code is written again.
                whole = pattern.match(markup.inner, match.start()) or match
                text = whole.expand(rule.written) if isinstance(rule.written, str) else rule.written(whole)
                if text != match.group():
                    space = match.group()[: -len(match.group().lstrip()) or None]
                    kept = space if text.startswith(space) else ""
                    places.append(((match.start() + len(kept), match.end()), text.removeprefix(kept)))
            spans += (span for span, _ in places)
            for some in [[one] for one in places] if each else [places] if places else []:
                span, text = some[0]
                there, plain = markup.inner[slice(*span)].strip(), text.strip() or ("a space" if text else "")
                words = {"found": there, "plain": plain, "short": short(plain), "found_short": short(there)}
                words["where"] = short(self.text[markup.start : markup.end])
                edits = [markup.edit(*one) for one in some]
                fix = rule.fix.format(**words) or f"Write {words['short']}"
                self._record(Finding(kind, 0, rule.message.format(**words), fix, tuple(edits)), edits[0].start)
        return spans

    def line(self, index: int) -> int:
        """Return the line that a position of the present text has in the template as written."""
        return line_of(self.written, self._origins[min(index, len(self.text))])

    def line_of_line(self, line: int) -> int:
        """Return the line of the written template that a line of the present text comes from."""
        start = 0
        for _ in range(line - 1):
            start = self.text.find("\n", start) + 1
        return self.line(start)

    def end_round(self, first: int) -> None:
        """Make the edits of the findings from ``first`` on, and say them in places of the written template."""
        present = self.findings[first:]
        for at, finding in enumerate(present, first):
            moved = tuple(Edit(self._origins[e.start], self._origins[e.end], e.text) for e in finding.edits)
            self.findings[at] = replace(finding, edits=moved)
        edits = chosen(edit for finding in present for edit in finding.edits)
        for edit in reversed(edits):
            self._origins[edit.start : edit.end] = [self._origins[edit.start]] * len(edit.text)
        self.text = applied(self.text, edits)


# ---- Calls as they are written

_OPTION = re.compile(r"(?<=\s):(\w+)(?:\s+|$)")
_OUTPUT = re.compile(r"\{\{.*?\}\}\}?", re.DOTALL)


def covered(text: str) -> str:
    """Return ``text`` with its outputs covered by x, each character in its place."""
    return _OUTPUT.sub(lambda match: "x" * len(match.group()), text)


@dataclass(frozen=True)
class CallTag:
    """One call as written. ``options`` maps names without the colon to where they begin, end, and their value."""

    line: int
    start: int
    end: int
    url: str
    url_at: int
    options: Mapping[str, tuple[int, int, str]]

    @property
    def path(self) -> str:
        """The path of the address, without Liquid in it; empty when it is no address."""
        try:
            return urlsplit(_OUTPUT.sub("x", self.url)).path
        except ValueError:
            return ""

    @property
    def variable(self) -> str:
        return self.options["save"][2] if "save" in self.options else "connected"

    def value(self, name: str) -> str | None:
        """Return what an option or a parameter of the address is given, Liquid and all."""
        if name in self.options:
            return self.options[name][2]
        found = self._parameter(name)
        return self.url[found.end(1) : found.end()] if found else None

    def with_parameter(self, name: str, value: str) -> Edit:
        if found := self._parameter(name):
            return self.in_url((found.end(1), found.end()), value)
        end = len(self.url)
        return self.in_url((end, end), f"{'&' if '?' in self.url else '?'}{name}={value}")

    def without_parameter(self, name: str) -> Edit:
        """Return the edit that takes a parameter out; one that does nothing when it is not there."""
        found = self._parameter(name)
        if found is None:
            return Edit(self.start, self.start, "")
        is_first = found.group().startswith("?")
        end = found.end() + (is_first and self.url.startswith("&", found.end()))
        return self.in_url((found.start() + is_first, end), "")

    def in_url(self, span: tuple[int, int], text: str) -> Edit:
        return Edit(self.url_at + span[0], self.url_at + span[1], text)

    def renamed(self, name: str, right: str) -> Edit | None:
        """Return the edit that calls a parameter otherwise, None where there is no such one."""
        found = self._parameter(name)
        return self.in_url((found.start() + 1, found.end(1) - 1), right) if found else None

    def with_option(self, name: str, value: str) -> Edit:
        """Return the edit that gives an option a value, at the end of the tag where it has none yet."""
        if name in self.options:
            start, end, _ = self.options[name]
            return Edit(start, end, f":{name} {value}")
        end = max([self.url_at + len(self.url), *(end for _, end, _ in self.options.values())])
        return Edit(end, end, f" :{name} {value}")

    def without_option(self, name: str) -> Edit:
        """Return the edit that takes an option out; one that does nothing when it is not there."""
        if name not in self.options:
            return Edit(self.start, self.start, "")
        start, end, _ = self.options[name]
        return Edit(start - 1, end, "")

    def outputs(self) -> Iterator[tuple[str, Markup]]:
        for name, start, end in self._given():
            for match in _OUTPUT.finditer(self.url, start, end):
                inner = match.group()[2:-2] if "${" in match.group() else match.group()[2:].rstrip("}")
                at = self.url_at + match.start()
                yield name, Markup("", at, self.url_at + match.end(), inner, at + 2)

    def parameters(self) -> list[tuple[str, str]]:
        """Return the parameters of the address and their values as they are written, Liquid and all."""
        return [(name, self.url[start:end]) for name, start, end in self._given()]

    def _given(self) -> Iterator[tuple[str, int, int]]:
        """Yield each parameter of the address, and where its value begins and ends there."""
        for match in re.finditer(r"[?&]([\w-]+)=([^&#]*)", covered(self.url)):
            yield match[1], match.start(2), match.end(2)

    def _parameter(self, name: str) -> re.Match[str] | None:
        return re.search(rf"([?&]{re.escape(name)}=)[^&#]*", covered(self.url))


def call_tags(text: str) -> list[CallTag]:
    """Return the calls of a template, in the order they are written."""
    tags = []
    for markup in markups(text):
        if markup.name != "connected_content":
            continue
        text_of_tag = covered(markup.inner.rstrip("- \n\t"))
        url = re.match(r"\s*(\S+)", text_of_tag)
        if url is None:
            continue
        names = list(_OPTION.finditer(text_of_tag, url.end()))
        options = {}
        for number, match in enumerate(names):
            end = names[number + 1].start() if number + 1 < len(names) else len(text_of_tag)
            value = markup.inner[match.end() : end].strip()
            if match[1] in CALL_WORDS:
                value = value.split()[0] if value else ""
            stop = match.end() + len(value) if value else match.start() + len(match.group().rstrip())
            options[match[1]] = (markup.at + match.start(), markup.at + stop, value)
        tags.append(
            CallTag(
                line_of(text, markup.start),
                markup.start,
                markup.end,
                markup.inner[url.start(1) : url.end(1)],
                markup.at + url.start(1),
                options,
            )
        )
    return tags
