"""Mistakes in a template that rendering it brings to light, each told where it happens and in plain words."""

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from proxy.preview.braze import rules
from proxy.preview.braze.markup import output_end
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


def told_by_answer(answer: Response, line: int) -> list[Mistake]:
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
    told = problem.get("detail") or problem.get("title") if isinstance(problem, dict) else None
    return f"the answer is {answer.status}: {told}" if told else f"the answer is {answer.status}."


def retry_not_available(line: int) -> Mistake:
    """Tell of ``:retry`` in an in-app message (Braze: Use retry logic for Connected Content)."""
    message = ":retry does nothing here: Braze has no retries for in-app messages. Leave it out."
    return Mistake(MistakeKind.RETRY_NOT_AVAILABLE, line, message)
