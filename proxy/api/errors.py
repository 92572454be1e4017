"""Everything that is not a 200, as ``application/problem+json`` (RFC 9457), in one place."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import ClientDisconnected, HTTPException

from proxy.api.parameters import BadParameter, UnknownBusinessUnit
from proxy.api.schemas import Problem
from proxy.cache import BackendDown
from proxy.clock import CAUSE
from proxy.invitations import BadInvitation, InvitationUnderWay, KeyReused, LinkLate, RecordsDown
from proxy.reviews import Unavailable
from proxy.trustpilot import OutcomeUnknown, RateLimited, Refused, TrustpilotError

_log = logging.getLogger(__name__)


def problem(status: int, detail: str) -> Response:
    """Return a problem. ``found`` is false so that a template's ``{% if x.found %}`` needs no second case."""
    title = HTTPStatus(status).phrase
    body: Problem = {"type": "about:blank", "title": title, "status": status, "detail": detail, "found": False}
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    return Response(text, status, content_type="application/problem+json", headers={"Cache-Control": "no-store"})


def unavailable(error: Unavailable) -> Response:
    """Return the 503 or 504 that Braze retries: nothing could be had and no copy is held."""
    response = retried(504 if error.late else 503, str(error), error.retry_after)
    response.headers["X-Cache"] = "miss"
    return response


def register_problems(app: Flask) -> None:
    """Turn every exception a view may raise into its answer."""
    for kind, answered in _PROBLEMS.items():
        app.register_error_handler(kind, answered)


def problem_of(error: Exception) -> Response:
    """Return the answer to ``error``, as Flask would find it."""
    return next(_PROBLEMS[kind] for kind in type(error).__mro__ if kind in _PROBLEMS)(error)


def _store_down(error: BackendDown) -> Response:
    return retried(503, f"done in this worker only, send it again: {error}", 5)


def retried(status: int, detail: str, seconds: int) -> Response:
    """Return a problem that asking again after ``seconds`` may solve."""
    response = problem(status, detail)
    response.headers["Retry-After"] = str(seconds)
    return response


def _key_reused(_: KeyReused) -> Response:
    # 422 as in the draft "The Idempotency-Key HTTP Header Field", 2.7. Answering it like the first would tell a
    # campaign whose key is the same for every customer that all its invitations went out.
    return problem(
        422,
        "Idempotency-Key: used within 24 hours for another consumerEmail, referenceNumber or business unit; takes a "
        "key of its own for each invitation",
    )


def _under_way(_: InvitationUnderWay) -> Response:
    # Not the draft's 409: Braze gives up on a 4xx.
    return retried(503, "the same invitation is being sent at this moment; ask again for what became of it", 5)


def _not_confirmed(error: TrustpilotError) -> Response:
    """Return what Braze's webhook tries again. Only 504 leaves open whether an invitation was sent."""
    if isinstance(error, Refused):
        return retried(502, f"{error}: the proxy's credentials are wrong, not the caller's", error.retry_after)
    if isinstance(error, OutcomeUnknown):
        return retried(504, f"{error}; whether the invitation was sent is not known", error.retry_after)
    return retried(429 if isinstance(error, RateLimited) else 503, str(error), error.retry_after)


def _body_unreadable(_: ClientDisconnected) -> Response:
    return problem(400, "the request's body can't be read: it ends too early, or one of its chunks is malformed")


def _http(error: HTTPException) -> Response:
    description = error.description or ""
    # What an endpoint said itself is more than what is said of any error of this kind.
    general = description == type(error).description
    response = problem(error.code or 500, _DETAILS.get(error.code or 500, description) if general else description)
    allowed = error.get_response().headers.get("Allow")
    if allowed:
        response.headers["Allow"] = allowed
        response.set_data(
            problem(405, f"{request.method} is not allowed here; this address takes {allowed}").get_data()
        )
    return response


_DETAILS = {
    404: "there is nothing at this address; reading starts at /v1/reviews?sku=…",
    413: "the request body is too large",
    414: "the URL is too long",
    415: "the body takes Content-Type: application/json",
}


def _bug(error: Exception) -> Response:
    _log.error("bug while answering request %s", CAUSE.get(), exc_info=error)
    return problem(500, "the proxy made a mistake; its log has the request id of this answer")


_PROBLEMS: dict[type[Exception], Callable[[Any], Response]] = {
    BadParameter: lambda error: problem(400, str(error)),
    UnknownBusinessUnit: lambda error: problem(404, str(error)),
    Unavailable: unavailable,
    BackendDown: _store_down,
    BadInvitation: lambda error: problem(400, str(error)),
    KeyReused: _key_reused,
    InvitationUnderWay: _under_way,
    RecordsDown: lambda error: retried(503, str(error), 30),
    LinkLate: lambda error: retried(504, str(error), 5),
    TrustpilotError: _not_confirmed,
    ClientDisconnected: _body_unreadable,
    HTTPException: _http,
    Exception: _bug,
}
