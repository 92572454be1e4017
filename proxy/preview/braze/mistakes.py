"""Mistakes in a template that rendering it brings to light, each with its line and in plain words.

Braze escapes nothing. To find text of an answer that stands in an HTML message unescaped, the message is rendered
once more with a mark holding ``<`` at the start of each text; where the mark comes out as it went in, so would
whatever a review holds.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import parse_qs, unquote, urlsplit

from proxy.preview.braze import rules
from proxy.preview.braze.call import CallRequest
from proxy.preview.braze.markup import output_end
from proxy.preview.braze.rules import DEFAULT_VARIABLE, Verdict
from proxy.preview.braze.wire import Response

_PROBLEM = "application/problem+json"
_FILLED_PARAMETER = re.compile(r"[?&]([^=&?#{}\s]+)=(?=\{\{)")
_SKU_NAMES = frozenset({"sku", "skus"})


class MistakeKind(StrEnum):
    """What sort of mistake it is, for a page that shows some of them differently."""

    EMPTY_PARAMETER = "empty-parameter"
    MISSING_SAVE = "missing-save"
    IGNORED_PARAMETERS = "ignored-parameters"
    PROBLEM = "problem"
    PORT = "port"
    URL_CHARACTERS = "url-characters"
    CACHE_AGE = "cache-age"
    NOT_SENT = "not-sent"
    NOT_JSON = "not-json"
    ABORT_BEFORE_RETRY = "abort-before-retry"
    RETRY_NOT_AVAILABLE = "retry-not-available"
    UNESCAPED_TEXT = "unescaped-text"
    MESSAGE_EXTRAS = "message-extras"
    COMPARED = "compared"
    WHOLE_LIST = "whole-list"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake: its kind, the line of the tag it is about (from 1), and a sentence or two."""

    kind: MistakeKind
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the template reads without setting it: whether ``connected``, and which other variables."""

    connected: bool = False
    unset: tuple[str, ...] = ()


def empty_parameters(written: str, rendered: str, line: int) -> list[Mistake]:
    """Find parameters of the URL that arrive empty because their variable rendered to nothing."""
    filled = {match[1]: match.end() for match in _FILLED_PARAMETER.finditer(written)}
    mistakes = []
    for part in dict.fromkeys(urlsplit(rendered).query.split("&")):
        name, equals, value = part.partition("=")
        if not equals or unquote(value).strip(", "):
            continue
        if name in filled:
            expression = written[filled[name] : output_end(written, filled[name])]
            because = f"{expression} rendered to nothing; the person or the event has no such value"
        elif name in _SKU_NAMES:
            because = "the URL gives it no value"
        else:
            continue
        mistakes.append(Mistake(MistakeKind.EMPTY_PARAMETER, line, f"{name}= arrives empty: {because}."))
    return mistakes


def unusual_port(url: str, line: int) -> list[Mistake]:
    """Find a port Braze would not call (Braze: Make a Connected Content call, "Error handling")."""
    port = urlsplit(url).port
    if port is None or port in rules.PORTS:
        return []
    message = f"Braze calls ports 80 and 443 only; port {port} works in this preview but not in Braze."
    return [Mistake(MistakeKind.PORT, line, message)]


def unescaped_characters(characters: str, line: int) -> list[Mistake]:
    """Tell of characters not allowed in a URL (Braze: Make a Connected Content call, "Adding variables")."""
    if not characters:
        return []
    shown = ", ".join("a space" if c.isspace() else c for c in characters)
    message = (
        f"the URL holds {shown}, not allowed in URLs: pass the variable through | url_param_escape. "
        "It was escaped here; what Braze does with it is not documented."
    )
    return [Mistake(MistakeKind.URL_CHARACTERS, line, message)]


def clamped_age(asked: int | None, line: int) -> list[Mistake]:
    """Tell of a ``:cache_max_age`` Braze would not follow (Braze: Cache Connected Content responses)."""
    if asked is None or (used := rules.clamped_cache_seconds(asked)) == asked:
        return []
    message = f":cache_max_age {asked} becomes {used}: Braze caches for 5 minutes to 4 hours."
    return [Mistake(MistakeKind.CACHE_AGE, line, message)]


def missing_save(wanted: Wanted, line: int) -> list[Mistake]:
    """Tell of a JSON answer nothing in the template can reach, because the tag has no ``:save``."""
    if wanted.connected:
        return []
    if wanted.unset:
        names = " or ".join(wanted.unset)
        hint = f"the template reads {names}, which nothing sets: add :save {wanted.unset[0]}"
    else:
        hint = "add :save and a name, or read it as {{connected}}"
    return [Mistake(MistakeKind.MISSING_SAVE, line, f"the answer is JSON but the tag has no :save; {hint}.")]


def said_by_answer(answer: Response, line: int) -> list[Mistake]:
    """Pass on what the answer itself says is wrong: unknown parameters, or a problem's ``detail``."""
    mistakes = []
    ignored = answer.header("X-Ignored-Parameters")
    if ignored:
        message = f"the proxy does not know these parameters and ignored them: {ignored}."
        mistakes.append(Mistake(MistakeKind.IGNORED_PARAMETERS, line, message))
    if (answer.header("Content-Type") or "").partition(";")[0].strip().lower() == _PROBLEM:
        mistakes.append(Mistake(MistakeKind.PROBLEM, line, _problem_detail(answer)))
    return mistakes


def _problem_detail(answer: Response) -> str:
    try:
        problem = json.loads(answer.body)
    except (ValueError, RecursionError):
        return f"the answer is {answer.status} and calls itself a problem, but can't be read."
    detail = problem.get("detail") or problem.get("title") if isinstance(problem, dict) else None
    return f"the answer is {answer.status}: {detail}" if detail else f"the answer is {answer.status}."


def retry_not_available(line: int) -> Mistake:
    """Tell of ``:retry`` in an in-app message (Braze: Use retry logic for Connected Content)."""
    message = ":retry does nothing here: Braze has no retries for in-app messages. Leave it out."
    return Mistake(MistakeKind.RETRY_NOT_AVAILABLE, line, message)


# The contract: these addresses escape their text for HTML unless told otherwise.
_ESCAPING_PATHS = frozenset({"/v1/reviews", "/v1/products", "/v1/summary"})
# Before a space an & begins no character reference (HTML, "Ampersands"): "4 & 5" may stand as it is.
_NEEDS_ESCAPING = re.compile(r"[<>]|&(?!\s|#?\w{1,32};)")
# Ids, dates and codes can't hold markup, and a template may compare them: only words with a space are marked.
_PROSE = re.compile(r"\S\s+\S")
# A noncharacter can't be part of anyone's text.
_MARK = "\ufdd3{}<\ufdd3"
_MARKED = re.compile(r"\ufdd3(\d+)<\ufdd3")
_TEXTS_MARKED = 1_000


@dataclass(frozen=True, slots=True)
class Inserted:
    """One call: what was asked, the URL it went to, and what came of it; None when it was not sent."""

    asked: CallRequest
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

    def call(self, _asked: CallRequest) -> Verdict:
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
        if _is_markup(call.url):
            return text
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


def _is_markup(url: str) -> bool:
    """Tell whether the answer is ready HTML, which nobody is to escape (the contract: ``/v1/fragment``)."""
    parts = urlsplit(url)
    return parts.path == "/v1/fragment" and parse_qs(parts.query).get("channel") != ["text"]


def _is_escaped(url: str) -> bool:
    parts = urlsplit(url)
    return parts.path in _ESCAPING_PATHS and parse_qs(parts.query).get("format") != ["text"]
