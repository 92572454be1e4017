"""What callers see: parameters, problems, and one module per group of endpoints.

Here is what the layers around them need to know: the paths of the contract, and what of a request and its answer
travels with it. And everything that is not a 200, as ``application/problem+json`` (RFC 9457), in one place.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Flask, Response, request
from msgspec import Struct
from werkzeug.exceptions import ClientDisconnected, HTTPException

from proxy.api.parameters import BadParameter, UnknownBusinessUnit
from proxy.api.schemas import Problem
from proxy.cache import BackendDown, Freshness
from proxy.clock import CAUSE
from proxy.invitations import BadInvitation, InvitationUnderWay, KeyReused, LinkLate, RecordsDown
from proxy.reviews import Unavailable
from proxy.trustpilot import OutcomeUnknown, RateLimited, Refused, TrustpilotError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

DROP_IN_REVIEWS = "/v1/product-reviews/business-units/{bu}/reviews"
DROP_IN_SUMMARY = "/v1/product-reviews/business-units/{bu}"
DROP_IN_IMPORTED = f"{DROP_IN_SUMMARY}/imported-reviews"
DROP_IN_IMPORTED_SUMMARY = f"{DROP_IN_SUMMARY}/imported-reviews-summaries"
DROP_IN_BATCH_SUMMARIES = f"{DROP_IN_SUMMARY}/batch-summaries"
DROP_IN_BUSINESS_UNIT = "/v1/business-units/{bu}"
DROP_IN_SERVICE_REVIEWS = f"{DROP_IN_BUSINESS_UNIT}/reviews"
DROP_IN_INVITATIONS = "/v1/private/business-units/{bu}/email-invitations"
TOKEN = "/v1/oauth/oauth-business-users-for-applications/accesstoken"  # noqa: S105  # a path
PREVIEW = "/preview"

RIGHT_FOR: dict[str, str | None] = {
    "/v1/reviews": "read",
    "/v1/products": "read",
    "/v1/summary": "read",
    "/v1/fragment": "read",
    DROP_IN_REVIEWS: "read",
    DROP_IN_SUMMARY: "read",
    DROP_IN_BATCH_SUMMARIES: "read",
    DROP_IN_BUSINESS_UNIT: "read",
    DROP_IN_SERVICE_REVIEWS: "read",
    "/v1/business": "read",
    DROP_IN_IMPORTED: "read",
    DROP_IN_IMPORTED_SUMMARY: "read",
    PREVIEW: "read",
    "/v1/invitations": "invite",
    "/v1/invitation-links": "invite",
    DROP_IN_INVITATIONS: "invite",
    TOKEN: "invite",
    "/hooks/trustpilot": "hook",
    "/v1/cache/purge": "admin",
    "/metrics": "admin",
    "/status": "admin",
    "/": None,
    "/openapi.json": None,
    "/docs": None,
    "/healthz": None,
    "/readyz": None,
}
"""Every path, with the right that its caller's credential needs. ``None``: any credential will do."""

SECRET_IN_QUERY = frozenset(route for route, right in RIGHT_FOR.items() if right == "read" and "{bu}" in route)
"""The drop-in URLs that read: the secret may stand in the query, as Trustpilot takes its key there."""

PLAIN = frozenset(route for route in RIGHT_FOR if "{bu}" not in route)

_WITH_UNIT = {re.compile(re.escape(route).replace(r"\{bu\}", "[^/]+")): route for route in RIGHT_FOR.keys() - PLAIN}
_PREVIEWS = PREVIEW + "/"
_log = logging.getLogger(__name__)


@lru_cache(maxsize=256)
def route_of(path: str) -> str:
    """Return which of the contract's paths ``path`` is, ``other`` for none."""
    if path in PLAIN:
        return path
    for pattern, route in _WITH_UNIT.items():
        if pattern.fullmatch(path):
            return route
    return PREVIEW if path.startswith(_PREVIEWS) else "other"


STARTED = "proxy.started"
"""In the WSGI environment: when the request came, on the monotonic clock. Without it, it comes now."""

SOURCES = "proxy.sources"
"""In the WSGI environment, once answered: the :class:`Sources` of an answer that says how fresh it is."""


NO_SNIFFING = ("X-Content-Type-Options", "nosniff")
"""Keeps browsers from guessing types."""

TAKES_PREBUILT = "proxy.takes_prebuilt"
"""In the WSGI environment, true where the server takes a :class:`PrebuiltResponse` instead of ``start_response``."""

Headers = Sequence[tuple[str, str]]


class PrebuiltResponse(NamedTuple):
    """A finished answer, as ready to travel as it can be."""

    status: str
    """As ``start_response`` takes it."""
    common: bytes
    """The header fields that it shares with others, written already."""
    own: list[tuple[str, str]]
    """The rest of its headers, ``Content-Length`` among them. Those of the connection are the server's."""
    body: bytes


Application = Callable[["WSGIEnvironment", "StartResponse"], "Iterable[bytes] | PrebuiltResponse"]
"""A WSGI application that may return a :class:`PrebuiltResponse` to a server that takes one."""


class Sources(Struct, frozen=True):
    """What an answer was made from: the products, as surrogate keys, and their freshness."""

    surrogate_keys: tuple[str, ...]
    """The names under which the cache holds the products; a change of one of them makes the answer invalid."""
    freshness: Freshness


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
    BackendDown: lambda error: retried(503, f"done in this worker only, send it again: {error}", 5),
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
