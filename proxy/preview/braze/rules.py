"""What Braze documents for Connected Content: its limits, its channels, and what it does with an answer.

Each limit names the page that states it. Where the documentation is silent the comment says so; those numbers are
this project's reading.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from proxy.preview.braze.wire import (
    BodyTooLargeError,
    NoAnswerInTimeError,
    RefusedError,
    Response,
    TransportError,
)

# Braze: Make a Connected Content call, "Allowing for efficient performance".
ANSWER_SECONDS = 2.0

# Braze: Make a Connected Content call, "Things to know". Whether a megabyte is 1,000,000 or 1,048,576 bytes
# is not documented; the larger one is what a computer's megabyte usually means.
BODY_BYTES = 1_048_576

# Braze: Make a Connected Content call, "Error handling".
PORTS = frozenset({80, 443})
METHODS = frozenset({"GET", "POST"})

# Braze: Cache Connected Content responses, "Cache time".
CACHE_DEFAULT_SECONDS = 300
CACHE_SHORTEST_SECONDS = 300
CACHE_LONGEST_SECONDS = 14_400

# Braze: Use retry logic for Connected Content. "Up to five times" after the first attempt.
RETRIES = 5

# Braze: Connected Content Debugger, "Which request headers appear in the debugger". The hash changes with
# every release of Braze's sender; this one is made up, and has the length the documentation shows.
SENDER_VERSION = "5f0c1d7a9e3b4826c0d5e7f8a1b2c3d4e5f60718"
USER_AGENT = f"Braze Sender {SENDER_VERSION}"

# Not Braze's: a page that renders other people's templates has to stop somewhere.
CALLS_PER_RENDER = 20
TEMPLATE_CHARACTERS = 262_144
URL_CHARACTERS = 8_192
EXPRESSION_WORK = 20_000_000
SPACES_BEFORE_CLOSING = 200
OUTPUT_BYTES = 2_097_152
VARIABLE_BYTES = 4_194_304
LOOP_ITERATIONS = 20_000
FILTER_CALLS = 20_000
FILTER_TEXT_CHARACTERS = 262_144
FILTER_ITEMS = 10_000
FILTER_NUMBER_BITS = 4_096
FILTER_WORK = 4_000_000
FILTER_INPUT = 8_000_000


def backoff_seconds(retry: int) -> float:
    """Return how long to wait before the given retry, counted from 1.

    Braze documents exponential backoff (Use retry logic for Connected Content) but not its steps.
    """
    return float(2 ** (retry - 1))


def clamped_cache_seconds(asked: int) -> int:
    """Return the age Braze really uses for ``:cache_max_age asked`` (Cache Connected Content responses)."""
    return min(max(asked, CACHE_SHORTEST_SECONDS), CACHE_LONGEST_SECONDS)


def cache_seconds(method: str, *, asked: int | None, no_cache: bool) -> int | None:
    """Return for how long an answer is kept, or None when it is not.

    GET is cached by default and ``:no_cache`` turns that off; POST is cached only when ``:cache_max_age`` is
    given (Braze: Cache Connected Content responses).
    """
    if no_cache:
        return None
    if asked is not None:
        return clamped_cache_seconds(asked)
    return CACHE_DEFAULT_SECONDS if method == "GET" else None


class Channel(StrEnum):
    """One of Braze's channels."""

    EMAIL = "email"
    PUSH = "push"
    SMS = "sms"
    IN_APP = "in-app"

    @property
    def is_html(self) -> bool:
        """Whether the message is HTML, so that text in it has to be escaped; Braze does not do that."""
        return self is Channel.EMAIL

    @property
    def retries(self) -> bool:
        """Whether ``:retry`` works (Braze: Use retry logic for Connected Content: not for in-app messages)."""
        return self is not Channel.IN_APP


# Braze: Local Connected Content variables.
STATUS_KEY = "__http_status_code__"
DEFAULT_VARIABLE = "connected"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one answer.

    ``value`` goes into the variable, ``text`` into the message in place of the tag, ``outcome`` says it in
    plain words. ``failed`` marks what ``:retry`` tries again. ``is_json`` is about the answer, not about
    its header.
    """

    outcome: str
    value: object = None
    text: str = ""
    succeeded: bool = False
    failed: bool = False
    is_json: bool = False


class _NotJsonError(ValueError):
    """The text is not JSON as json.org defines it."""


def judged(answer: Response, save: str | None, rerender: Callable[[str], str] | None = None) -> Verdict:
    """Return what Braze does with ``answer`` when the tag says ``:save save`` (or does not).

    ``rerender`` renders the Liquid in it before anything else (Braze: Pull user profile data).
    """
    status = answer.status
    if len(answer.body) > BODY_BYTES:
        return _too_large()
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Verdict(f"nothing is inserted: {named(status)}", failed=True)
    if status == HTTPStatus.NOT_FOUND:
        return Verdict(f"nothing is inserted: {named(status)}; the message goes out without it")
    if status >= HTTPStatus.BAD_REQUEST:
        return Verdict(f"nothing is inserted: {named(status)}; Braze logs an endpoint error")
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        return Verdict(f"redirect not followed: nothing is inserted ({named(status)})")
    if status < HTTPStatus.OK:
        return Verdict(f"nothing is inserted: {named(status)}")
    return _inserted(answer, save, rerender)


def without_answer(error: TransportError) -> Verdict:
    """Return what Braze does when no answer was had."""
    match error:
        case BodyTooLargeError():
            return _too_large()
        case RefusedError():
            return Verdict(f"refused, nothing was sent: {error}")
        case NoAnswerInTimeError():
            return too_late()
        case _:
            return Verdict(f"nothing is inserted: no connection ({error})", failed=True)


def too_late() -> Verdict:
    """Return the verdict on an answer that takes longer than Braze waits."""
    return Verdict(f"no answer within {ANSWER_SECONDS:g} seconds: nothing is inserted", failed=True)


def named(status: int) -> str:
    """Return a status with its name, where it has one."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _too_large() -> Verdict:
    return Verdict("over 1 MB: refused, nothing is inserted and nothing is cached")


def _inserted(answer: Response, save: str | None, rerender: Callable[[str], str] | None) -> Verdict:
    text = answer.body.decode("utf-8-sig", errors="replace")
    if rerender is not None:
        text = rerender(text)
    if not text:
        return Verdict("nothing is inserted: the answer is empty", succeeded=True)
    variable = save or DEFAULT_VARIABLE
    try:
        value = _parsed(text)
    except _NotJsonError:
        if save is None:
            return Verdict("text: inserted in place of the tag", text=text, succeeded=True)
        # Not documented; the token example of "Make a Connected Content call" reads a saved text this way.
        return Verdict(f"not JSON: {{{{{variable}}}}} holds the text", value=text, succeeded=True)
    if isinstance(value, dict):
        value[STATUS_KEY] = answer.status
    return Verdict(f"JSON: saved as {{{{{variable}}}}}", value=value, succeeded=True, is_json=True)


def _parsed(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as err:
        raise _NotJsonError from err


def _refuse_constant(name: str) -> object:
    # Python reads NaN and Infinity; JSON has neither.
    raise _NotJsonError(name)
