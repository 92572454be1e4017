"""Braze's ``${attribute}`` syntax and its braces within braces, read by a Liquid lexer that knows neither.

Braze lets a template say ``{{${first_name}}}``, ``{{custom_attribute.${zip code}}}`` and, inside a tag,
``{% if {{event_properties.${x}}} == 1 %}`` (Braze: Use Liquid; Supported personalization tags). The
library's lexer would end each of them at the first ``}}``. So the braces it must not see are covered before
it reads, one character for one so that every position stays true, and uncovered in its tokens, where
``${name}`` becomes an ordinary lookup.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from liquid.exceptions import LiquidSyntaxError, ResourceLimitError
from liquid.token import TOKEN_EOF, TOKEN_EXPRESSION, TOKEN_OUTPUT, TOKEN_TAG, Token

# Not Braze's: a page that renders other people's templates has to stop somewhere.
TEMPLATE_CHARACTERS = 262_144
_EXPRESSION_WORK = 20_000_000
_SPACES_BEFORE_CLOSING = 200
_UNCLOSED_WORK = 50_000_000

_BRACES = re.compile(r"\$\{[^{}]*\}|\{\{|\}\}")
_WORD_STOP = re.compile(r"\s|\{\{")
_JSON_PART = re.compile(r'\{\{|\\.|["{}\[\]]', re.DOTALL)


class TemplateError(Exception):
    """The template can't be rendered: its Liquid is wrong.

    ``line`` counts from 1 in the template as written; ``message`` is one plain sentence without it. ``index`` is
    where in the template, or None where nobody knows.
    """

    def __init__(self, message: str, line: int, index: int | None = None) -> None:
        super().__init__(f"line {line}: {message}")
        self.message = message
        self.line = line
        self.index = index


class TemplateBoundError(TemplateError):
    """The template asks for more than one rendering may use: loops, output, text, or calls."""


class BoundReachedError(ResourceLimitError):
    """Raised inside a rendering when one of the room's own bounds is reached."""


def line_of(source: str, index: int) -> int:
    """Return the line, counted from 1, of a position in the template; positions outside are pulled in."""
    return source.count("\n", 0, max(0, min(index, len(source)))) + 1


# What opens something, and what closes it; whoever looks for the one goes through the text up to the other.
_PAIRS = (
    *(("{", "}"), ("[", "]"), ("<", ">"), ("<!--", "-->"), ("%7B", "%7D"), ("%7b", "%7d")),
    *(("comment %}", "endcomment"), ("raw %}", "endraw"), ("<script", "</script"), ("<style", "</style")),
)


def is_boundless(source: str) -> bool:
    """Tell whether so much is opened and never closed that looking for the ends would take long."""
    return any(
        sum(piece.count(opener) * len(piece) for piece in source.split(closer)) > _UNCLOSED_WORK
        for opener, closer in _PAIRS
    )


class CallSyntaxError(ValueError):
    """A piece of markup is written wrongly; ``position`` is where, inside of it."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class NeverClosedError(CallSyntaxError):
    """A brace is opened at ``position`` and not closed."""


def output_end(text: str, start: int) -> int:
    """Return the index just past the ``}}`` that closes the ``{{`` at ``start``.

    The braces of ``${attribute}`` and of ``{{…}}`` inside belong to the output, so ``{{${first_name}}}`` and
    ``{{a | plus: {{b}}}}`` are one each (Braze: Use Liquid).

    Raises:
        NeverClosedError: there is no such ``}}``.

    """
    depth = 0
    for brace in _BRACES.finditer(text, start):
        if brace.group() == "{{":
            depth += 1
        elif brace.group() == "}}":
            depth -= 1
            if depth == 0:
                return brace.end()
    raise NeverClosedError("'{{' is never closed", start)


def word_end(text: str, start: int) -> int:
    """Return where the word at ``start`` ends; Liquid output inside it may hold spaces.

    Raises:
        NeverClosedError: an output inside the word has no end.

    """
    at = start
    while stop := _WORD_STOP.search(text, at):
        if stop.group() != "{{":
            return stop.start()
        at = output_end(text, stop.start())
    return len(text)


def json_end(text: str, start: int) -> int:
    """Return the index just past the JSON object or array at ``start``; it may hold Liquid output anywhere.

    Raises:
        NeverClosedError: the object, the array or an output inside it has no end.

    """
    depth, quoted, at = 0, False, start
    while part := _JSON_PART.search(text, at):
        at = part.end()
        match part.group():
            case "{{":
                at = output_end(text, part.start())
            case '"':
                quoted = not quoted
            case "{" | "[" if not quoted:
                depth += 1
            case "}" | "]" if not quoted:
                depth -= 1
                if depth == 0:
                    return at
    raise NeverClosedError(f"'{text[start]}' is never closed", start)


# The namespace ``${name}`` is looked up in. A plain ``{{first_name}}`` must not find it, as it does not in
# Braze, so it is a letter no template uses; only one, to keep positions inside a tag close to those written.
PROFILE = "\u0298"

# Unicode noncharacters: they can't be part of anyone's text.
_OPEN, _CLOSE, _GONE = "\ufdd0", "\ufdd1", "\ufdd2"
_COVER = str.maketrans({"{": _OPEN, "}": _CLOSE})
_UNCOVER = str.maketrans({_OPEN: "{", _CLOSE: "}", _GONE: None})

_MARKUP = re.compile(r"\{\{|\{%-?\s*(\w*)")
_COMMENT_EDGE = re.compile(r"\{%-?\s*(comment|endcomment)\b")
# Braze's own pages have braces that don't match (Liquid use case library: ``{{month))``); Ruby overlooks them.
_IN_EXPRESSION = re.compile(
    r"""'[^']*'|"[^"]*"|(?P<dot>\.)?\$\{(?P<name>[^{}|]*)(?P<filters>\|[^{}]*)?\}|(?<=\{\{)(?P<word>[\w.]+)\)\)|[{}]+"""
)
# Ruby reads of a condition's filters nothing: neither what they do nor what is compared behind them.
_FILTERS = re.compile(r"""(?P<kept>'[^']*'|"[^"]*"|\|\|)|\|(?:'[^']*'|"[^"]*"|(?!\b(?:and|or)\b)[^|])*""")
# `empty` and `blank` given to a filter are nothing; the library does not read them there.
_LITERAL = re.compile(r"""'[^']*'|"[^"]*"|(?P<before>[:,]\s*)(?:empty|blank)\b""")
_WITH_LITERALS = ("if", "elsif", "unless", "case", "when")
# Ruby knows `reversed` right behind the list, and overlooks it elsewhere.
_LATE_REVERSED = re.compile(r"(\b(?:limit|offset|cols)\s*:.*?)\breversed\b", re.DOTALL)
_KEEPS_ITS_TEXT = frozenset(
    {
        *("abort_message", "catalog_items", "catalog_selection_items", "connected_content", "message_extras"),
        *("promotion", "render", "shopping_cart", "translation"),
    }
)


def tokenize(source: str, lexer: Callable[[str], Iterator[Token]]) -> Iterator[Token]:
    """Yield the tokens of a Braze template, using a plain Liquid ``lexer`` to find them.

    HTML comments are gone before any Liquid is read (Braze: Use Liquid). The text of Braze's own
    tags is left as written; they read it themselves.

    Raises:
        LiquidSyntaxError: an output, a tag or a block that must not be read has no end.
        BoundReachedError: reading an expression would take too long.

    """
    tag = ""
    work = 0
    for token in lexer(_covered(source)):
        if token.kind == TOKEN_TAG:
            tag = token.value
        elif token.kind == TOKEN_OUTPUT:
            tag = ""
        value = token.value.translate(_UNCOVER)
        if token.kind == TOKEN_EXPRESSION and tag not in _KEEPS_ITS_TEXT:
            value = _looked_up(value, token.start_index, source, in_tag=bool(tag))
            if tag not in _WITH_LITERALS:
                value = _LITERAL.sub(_without_literal, value)
            if tag in ("for", "tablerow"):
                value = _LATE_REVERSED.sub(lambda match: match[1] + " " * len("reversed"), value)
            if tag in ("if", "elsif", "unless"):
                value = _FILTERS.sub(lambda match: match["kept"] or " " * len(match.group()), value)
            # The library looks ahead to the end of the expression from each of these.
            work += (value.count("(") + value.count("[")) * len(value)
            if work > _EXPRESSION_WORK:
                raise BoundReachedError("the expressions are too long", token=token)
        yield Token(token.kind, value, token.start_index, source)


def _covered(source: str) -> str:
    text = _without_html_comments(source)
    pieces: list[str] = []
    at = 0
    while markup := _MARKUP.search(text, at):
        start = markup.start()
        pieces.append(text[at:start])
        if markup.group() == "{{":
            try:
                at = output_end(text, start)
            except NeverClosedError as err:
                raise _unclosed(str(err), text, start) from err
            _check_spaces(text, start, at)
            pieces.append("{{" + text[start + 2 : at - 2].translate(_COVER) + "}}")
            continue
        at = text.find("%}", start) + len("%}")
        if at <= start + len("{%"):
            raise _unclosed("'{%' is never closed", text, start)
        _check_spaces(text, start, at)
        pieces.append(text[start:at])
        name = markup.group(1)
        if name in {"raw", "doc"}:
            end = _end_of_unread(text, at, name)
            pieces.append(text[at:end])
            at = end
        elif name == "comment":
            end = _end_of_comment(text, at)
            pieces.append(_GONE * (end - at))
            at = end
    pieces.append(text[at:])
    return "".join(pieces)


def _without_html_comments(source: str) -> str:
    pieces: list[str] = []
    at = 0
    while (start := source.find("<!--", at)) >= 0 and (close := source.find("-->", start + 4)) >= 0:
        pieces += source[at:start], _GONE * (close + 3 - start)
        at = close + 3
    pieces.append(source[at:])
    return "".join(pieces)


def _check_spaces(text: str, start: int, end: int) -> None:
    """Refuse what takes the library's lexer quadratic time: a markup that is all white space."""
    inside = text[start + 2 : end - 2].removesuffix("-")
    if len(inside) - len(inside.rstrip()) > _SPACES_BEFORE_CLOSING:
        position = Token(TOKEN_EOF, text[start:end], start, text)
        raise BoundReachedError(f"more than {_SPACES_BEFORE_CLOSING} spaces in a row", token=position)


def _end_of_unread(text: str, start: int, name: str) -> int:
    end = re.compile(rf"\{{%-?\s*end{name}\s*-?%\}}").search(text, start)
    if end is None:
        raise _unclosed(f"'{{% {name} %}}' is never closed", text, start)
    return end.end()


def _end_of_comment(text: str, start: int) -> int:
    depth = 1
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge.group(1) == "comment" else -1
        if depth == 0:
            return edge.start()
    raise _unclosed("'{% comment %}' is never closed", text, start)


def _unclosed(message: str, text: str, at: int) -> LiquidSyntaxError:
    return LiquidSyntaxError(message, token=Token(TOKEN_EOF, text[at : at + 2], at, text))


def _without_literal(match: re.Match[str]) -> str:
    before = match["before"]
    return f"{before}''".ljust(len(match.group())) if before else match.group()


def _looked_up(expression: str, start: int, source: str, *, in_tag: bool) -> str:
    """Rewrite ``ns.${x}`` to ``ns['x']``, ``${x}`` alike, and drop braces inside a tag."""

    def replaced(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            is_dropped = match.group()[0] in "{}" and (in_tag or len(match.group()) > 1)
            return match["word"] or (" " * len(match.group()) if is_dropped else match.group())
        if "'" in name and '"' in name:
            at = start + match.start()
            raise LiquidSyntaxError(
                f"the attribute name {name} holds both kinds of quotes",
                token=Token(TOKEN_EXPRESSION, name, at, source),
            )
        name = name.strip()
        quote = '"' if "'" in name else "'"
        return f"{'' if match['dot'] else PROFILE}[{quote}{name}{quote}]{match['filters'] or ''}"

    return _IN_EXPRESSION.sub(replaced, expression)


# ---- The tag connected_content

# Their meaning is that of Braze: Make a Connected Content call, Local Connected Content variables, Cache Connected
# Content responses, and Use retry logic for Connected Content.
CALL_FLAGS = ("retry", "no_cache", "rerender")
CALL_WORDS = ("save", "method", "content_type", "basic_auth", "auth_credentials", "cache_max_age", "accept")
CALL_OPTIONS = (*CALL_WORDS, "headers", "body", *CALL_FLAGS)

_OPTION = re.compile(r":(\w+)(?=\s|$)")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Written:
    """A piece of the tag as it stands there, Liquid and all, and where it starts inside the tag."""

    text: str
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    """What one tag asks for: its URL, the options that have a value (each may hold Liquid), and the flags given."""

    url: Written
    options: Mapping[str, Written] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    save: str | None = None


def parse_call(text: str) -> Call:
    """Read the text between ``{% connected_content`` and ``%}``.

    The URL comes first, the options follow in any order and over any number of lines.

    Raises:
        CallSyntaxError: no URL, an unknown or repeated option, an option without its value, or an open brace.

    """
    at = _skip_space(text, 0)
    end = word_end(text, at)
    if at == end or _is_option(text, at):
        raise CallSyntaxError("connected_content needs a URL, before its options", at)
    url = Written(text[at:end], at)
    pieces: dict[str, Written] = {}
    flags: set[str] = set()
    at = _skip_space(text, end)
    while at < len(text):
        name = _option_name(text, at)
        if name in pieces or name in flags:
            raise CallSyntaxError(f":{name} is given twice", at)
        start = _skip_space(text, at + 1 + len(name))
        if name in CALL_FLAGS:
            flags.add(name)
            at = start
            continue
        end = _value_end(text, start, name)
        if start == end or _is_option(text, start):
            if name != "cache_max_age":
                raise CallSyntaxError(f":{name} needs a value", at)
            # Without a number it only says that the answer is cached at all, as a POST's is not.
            flags.add(name)
            at = start
            continue
        pieces[name] = Written(text[start:end], start)
        at = _skip_space(text, end)
    save = pieces.pop("save", None)
    if save is not None and not _NAME.fullmatch(save.text):
        raise CallSyntaxError(f":save needs the name of a variable, found {save.text}", save.position)
    return Call(url, pieces, frozenset(flags), save.text if save else None)


def _option_name(text: str, at: int) -> str:
    option = _OPTION.match(text, at)
    if option is None:
        found = text[at : word_end(text, at)]
        raise CallSyntaxError(f"expected an option such as :save, found {found}", at)
    if option[1] not in CALL_OPTIONS:
        known = ", ".join(f":{name}" for name in CALL_OPTIONS)
        raise CallSyntaxError(f"there is no option :{option[1]}; the options are {known}", at)
    return option[1]


def _is_option(text: str, at: int) -> bool:
    option = _OPTION.match(text, at)
    return option is not None and option[1] in CALL_OPTIONS


def _value_end(text: str, start: int, name: str) -> int:
    if name in CALL_WORDS:
        return word_end(text, start)
    if text[start : start + 1] in {"{", "["} and text[start : start + 2] != "{{":
        return json_end(text, start)
    end = word_end(text, start)
    # A form body may hold spaces, so it goes on to the next option.
    while name == "body" and end < len(text):
        after = _skip_space(text, end)
        if after == len(text) or _is_option(text, after):
            break
        end = word_end(text, after)
    return end


def _skip_space(text: str, at: int) -> int:
    return len(text) - len(text[at:].lstrip())
