"""Everything that is not a 200, as ``application/problem+json`` (RFC 9457), in one place."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from proxy.cache import StoreDown
from proxy.http.parameters import BadParameter
from proxy.reviews import Unavailable

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
    app.register_error_handler(Unavailable, unavailable)
    app.register_error_handler(StoreDown, _store_down)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _bug)


def _store_down(error: StoreDown) -> Response:
    response = problem(503, f"done in this worker only, send it again: {error}")
    response.headers["Retry-After"] = "5"
    return response


def _http(error: HTTPException) -> Response:
    response = problem(error.code or 500, _DETAILS.get(error.code or 500, error.description or ""))
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
}


def _bug(error: Exception) -> Response:
    _log.error("bug while answering request %s", g.get("request_id"), exc_info=error)
    return problem(500, "the proxy made a mistake; its log has the request id of this answer")
