"""Finding text of an answer that stands in an HTML message without having been escaped.

Braze escapes nothing. The message is rendered once more with a mark holding ``<`` at the start of each text; where
the mark comes out as it went in, so would whatever a review holds.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

from proxy.preview.braze.mistakes import Mistake, MistakeKind
from proxy.preview.braze.outgoing import Asked
from proxy.preview.braze.verdict import DEFAULT_VARIABLE, Verdict

# The contract: these addresses escape their text for HTML unless told otherwise.
_ESCAPING_PATHS = frozenset({"/v1/reviews", "/v1/products", "/v1/summary"})
_NEEDS_ESCAPING = re.compile(r"[<>]|&(?!#?\w{1,32};)")
# Ids, dates and codes can't hold markup, and a template may compare them: only words with a space are marked.
_PROSE = re.compile(r"\S\s+\S")
# A noncharacter can't be part of anyone's text.
_MARK = "\ufdd3{}<\ufdd3"
_MARKED = re.compile(r"\ufdd3(\d+)<\ufdd3")
_TEXTS_MARKED = 1_000


@dataclass(frozen=True, slots=True)
class Inserted:
    """One call: what was asked, the URL it went to, and what came of it; None when it was not sent."""

    asked: Asked
    url: str
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class _Text:
    """A marked text: the call it came from, the variable it is read by, and itself."""

    call: Inserted
    variable: str
    text: str


class MarkedAnswers:
    """Answers the calls of a second rendering like those of the first, with marks in the texts."""

    def __init__(self, calls: Iterable[Inserted]) -> None:
        self._calls = iter(calls)
        self._texts: list[_Text] = []

    def call(self, _asked: Asked) -> Verdict:
        """Return what came of the same call the first time, marked."""
        call = next(self._calls, None)
        if call is None or call.verdict is None:
            return Verdict("")
        variable = call.asked.save or DEFAULT_VARIABLE
        value = self._marked(call.verdict.value, variable, call)
        return replace(call.verdict, value=value, text=self._text(call.verdict.text, variable, call))

    def mistakes(self, output: str) -> list[Mistake]:
        """Return one mistake for each call with text that stands in the marked ``output`` unescaped."""
        found: dict[int, Mistake] = {}
        for marked in sorted(self._standing_in(output), key=lambda text: not _NEEDS_ESCAPING.search(text.text)):
            found.setdefault(id(marked.call), _mistake(marked))
        return sorted(found.values(), key=lambda mistake: mistake.line)

    def _standing_in(self, output: str) -> Iterator[_Text]:
        for mark in dict.fromkeys(_MARKED.findall(output)):
            yield self._texts[int(mark)]

    def _marked(self, value: object, variable: str, call: Inserted) -> object:
        match value:
            case str():
                return self._text(value, variable, call)
            case dict():
                return {key: self._marked(inside, f"{variable}.{key}", call) for key, inside in value.items()}
            case list():
                return [self._marked(inside, f"{variable}[{at}]", call) for at, inside in enumerate(value)]
            case _:
                return value

    def _text(self, text: str, variable: str, call: Inserted) -> str:
        is_at_risk = _NEEDS_ESCAPING.search(text) or (_PROSE.search(text) and not _is_escaped(call.url))
        if not is_at_risk or len(self._texts) >= _TEXTS_MARKED:
            return text
        self._texts.append(_Text(call, variable, text))
        return _MARK.format(len(self._texts) - 1) + text.lstrip()


def _mistake(marked: _Text) -> Mistake:
    cure = "leave out format=text, or add | escape" if "format=text" in marked.call.url else "add | escape"
    name = f"{{{{{marked.variable}}}}}"
    found = _NEEDS_ESCAPING.search(marked.text)
    if found:
        message = f"{name} holds {found[0]} and stands in the e-mail's HTML unescaped: {cure}."
    else:
        message = f"{name} is plain text in the e-mail's HTML; a review with < or & would break it: {cure}."
    return Mistake(MistakeKind.UNESCAPED_TEXT, marked.call.asked.line, message)


def _is_escaped(url: str) -> bool:
    parts = urlsplit(url)
    return parts.path in _ESCAPING_PATHS and parse_qs(parts.query).get("format") != ["text"]
