"""The outermost WSGI layer: sees every request and its answer, whichever layer below gives it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from proxy.api.responses import Application, Headers, Whole, request_id
from proxy.api.routes import route_of
from proxy.events import Report
from proxy.middleware.answered import Answered
from proxy.middleware.lines import CAUSE

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    Write = object
    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

REQUEST_ID = "HTTP_X_REQUEST_ID"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SENDER = re.compile(r"[A-Za-z0-9._-]{1,40}")
_CACHE_STATES = frozenset({"hit", "stale", "miss"})


class Observing:
    """Reports :class:`~proxy.middleware.answered.Answered` for every request.

    It is reported when the answer is ready and before its first byte leaves, so that a caller who has the answer
    finds it counted. Every request has an id from here on: the layers below find it in ``X-Request-Id``.
    """

    def __init__(self, app: Application, report: Report) -> None:
        self._app = app
        self._report = report

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes] | Whole:
        """Answer one request."""
        started = time.perf_counter()
        environ[REQUEST_ID] = request_id(environ.get(REQUEST_ID, ""))
        CAUSE.set(environ[REQUEST_ID])
        seen: list[tuple[str, Headers]] = []

        def noted(status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None) -> Write:
            seen.append((status, headers))
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        try:
            answer = self._app(environ, noted)  # type: ignore[arg-type]  # typeshed's StartResponse is not a plain function
        except BaseException:
            # Above everything that turns exceptions into answers: the connection ends without one.
            self._report(_answered(environ, "500 ", [], time.perf_counter() - started))
            raise
        status, headers = (answer.status, answer.own) if isinstance(answer, Whole) else seen[-1]
        self._report(_answered(environ, status, headers, time.perf_counter() - started))
        return answer


def _answered(environ: WSGIEnvironment, status: str, headers: Headers, seconds: float) -> Answered:
    # By the names as this application writes them.
    told = dict(headers)
    cache = told.get("X-Cache", "none")
    method = environ["REQUEST_METHOD"]
    return Answered(
        request_id=environ[REQUEST_ID],
        method=method if method in _METHODS else "other",
        route=route_of(environ.get("PATH_INFO", "")),
        status=int(status[:3]),
        cache=cache if cache in _CACHE_STATES else "none",
        age=int(told.get("Age", 0)),
        seconds=seconds,
        bytes=0 if method == "HEAD" else int(told.get("Content-Length", 0)),
        skus=_skus(environ.get("QUERY_STRING", "")),
        sender=_sender(environ.get("HTTP_X_BRAZE_SENDER_VERSION", "")),
        replayed=told.get("Idempotency-Replayed") == "true",
    )


def _skus(query: str) -> int:
    """Count the SKUs in a raw query string."""
    count = 0
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name in ("sku", "skus"):
            count += 1 + value.count(",") + value.upper().count("%2C")
    return count


def _sender(version: str) -> str:
    return version if version and _SENDER.fullmatch(version) else ""
