"""A 200: the JSON body, and the headers that say how fresh it is."""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import Any

from flask import Flask, Response, g, request

from proxy.cache import Freshness
from proxy.timing import Now

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def answer(body: dict[str, Any], freshness: Freshness | None, now: Now, ignored: str = "") -> Response:
    """Return ``body`` as JSON. Without ``freshness`` (an empty answer in place of an error) nothing is fresh."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    response = Response(text, content_type="application/json")
    moment = now()
    left = max(0, int(freshness.fresh_until - moment)) if freshness else 0
    response.headers["X-Cache"] = freshness.state.name.lower() if freshness else "miss"
    response.headers["Age"] = str(max(0, int(moment - freshness.stored_at)) if freshness else 0)
    response.headers["Cache-Control"] = f"private, max-age={left}"
    if ignored:
        response.headers["X-Ignored-Parameters"] = ignored
    return response


def request_id(given: str) -> str:
    """Return the id that the caller gave, if it is fit to be shown and logged, else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


def register_headers(app: Flask) -> None:
    """Give every answer its request id, its timing, and the header that keeps browsers from guessing types."""

    def start() -> None:
        g.request_id = request_id(request.headers.get("X-Request-Id", ""))
        g.started = time.monotonic()

    def finish(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        response.headers["Server-Timing"] = f"total;dur={(time.monotonic() - g.started) * 1000:.1f}"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    app.before_request(start)
    app.after_request(finish)
