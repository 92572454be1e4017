"""What Braze does with an answer, or with the lack of one, decided in one place."""

import json
from dataclasses import dataclass
from http import HTTPStatus

from proxy.preview.braze import rules
from proxy.preview.braze.wire import (
    BodyTooLargeError,
    NoAnswerInTimeError,
    RefusedError,
    Response,
    TransportError,
)

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


def judged(answer: Response, save: str | None) -> Verdict:
    """Return what Braze does with ``answer`` when the tag says ``:save save`` (or does not)."""
    status = answer.status
    if len(answer.body) > rules.BODY_BYTES:
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
    return _inserted(answer, save)


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
    return Verdict(f"no answer within {rules.ANSWER_SECONDS:g} seconds: nothing is inserted", failed=True)


def named(status: int) -> str:
    """Return a status with its name, where it has one."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _too_large() -> Verdict:
    return Verdict("over 1 MB: refused, nothing is inserted and nothing is cached")


def _inserted(answer: Response, save: str | None) -> Verdict:
    text = answer.body.decode("utf-8-sig", errors="replace")
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
