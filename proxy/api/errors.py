"""Everything that is not a 200, as ``application/problem+json`` (RFC 9457), in one place."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus

from flask import Flask, Response, g, request
from werkzeug.exceptions import ClientDisconnected, HTTPException

from proxy.api.parameters import BadParameter, UnknownBusinessUnit
from proxy.cache import BackendDown
from proxy.invitations import BadInvitation, InvitationUnderWay, KeyReused, LinkLate, RecordsDown
from proxy.reviews import Unavailable
from proxy.trustpilot import TrustpilotError
from proxy.trustpilot.errors import OutcomeUnknown, RateLimited, Refused

_log = logging.getLogger(__name__)


def problem(status: int, detail: str) -> Response:
    """Return a problem. ``found`` is false so that a template's ``{% if x.found %}`` needs no second case."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "found": False}
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    return Response(text, status, content_type="application/problem+json", headers={"Cache-Control": "no-store"})


def unavailable(error: Unavailable) -> Response:
    """Return the 503 or 504 that Braze retries: nothing could be had and no copy is held."""
    response = problem(504 if error.late else 503, str(error))
    response.headers["X-Cache"] = "miss"
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def register_problems(app: Flask) -> None:
    """Turn every exception a view may raise into its answer."""
    app.register_error_handler(
        BadParameter,
        lambda error: problem(400, str(error)),
    )
    app.register_error_handler(UnknownBusinessUnit, lambda error: problem(404, str(error)))
    app.register_error_handler(Unavailable, unavailable)
    app.register_error_handler(BackendDown, _store_down)
    app.register_error_handler(BadInvitation, lambda error: problem(400, str(error)))
    app.register_error_handler(KeyReused, _key_reused)
    app.register_error_handler(InvitationUnderWay, _under_way)
    app.register_error_handler(RecordsDown, lambda error: retried(503, str(error), 30))
    app.register_error_handler(LinkLate, lambda error: retried(504, str(error), 5))
    app.register_error_handler(TrustpilotError, _not_confirmed)
    app.register_error_handler(ClientDisconnected, _body_unreadable)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _bug)


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
    _log.error("bug while answering request %s", g.get("request_id"), exc_info=error)
    return problem(500, "the proxy made a mistake; its log has the request id of this answer")
