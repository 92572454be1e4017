"""The access log: one event per request."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from random import getrandbits
from typing import TYPE_CHECKING

from proxy.api import STARTED, Application, Headers, PrebuiltResponse, route_of
from proxy.clock import CAUSE
from proxy.events import Report, RequestFinished

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    Write = object
    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

REQUEST_ID = "HTTP_X_REQUEST_ID"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SENDER = re.compile(r"[A-Za-z0-9._-]{1,40}")
_CACHE_STATES = frozenset({"hit", "stale", "miss"})


class AccessLog:
    """Reports :class:`RequestFinished` for every request.

    It is reported when the answer is ready and before its first byte leaves, so that a caller who has the answer
    finds it counted by this worker. Every request has an id from here on: the layers below find it in
    ``X-Request-Id``. Every answer gets it too, and ``Server-Timing``, the time since the request came.
    """

    def __init__(self, app: Application, report: Report) -> None:
        self._app = app
        self._report = report

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes] | PrebuiltResponse:
        started = environ[STARTED] = time.monotonic()
        given = environ.get(REQUEST_ID, "")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else new_request_id()
        environ[REQUEST_ID] = request_id
        CAUSE.set(request_id)
        seen: list[tuple[str, Headers]] = []

        def note(status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None) -> Write:
            headers = [*headers, *_own_headers(request_id, started)]
            seen.append((status, headers))
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        try:
            answer = self._app(environ, note)  # type: ignore[arg-type]  # typeshed's StartResponse is not a plain function
        except BaseException:
            # Above everything that turns exceptions into answers: the connection ends without one.
            self._report(_finished(environ, "500 ", [], time.monotonic() - started))
            raise
        if isinstance(answer, PrebuiltResponse):
            answer.own.extend(_own_headers(request_id, started))
            seen.append((answer.status, answer.own))
        self._report(_finished(environ, *seen[-1], time.monotonic() - started))
        return answer


def _own_headers(request_id: str, started: float) -> tuple[tuple[str, str], tuple[str, str]]:
    timing = f"total;dur={(time.monotonic() - started) * 1000:.1f}"
    return ("X-Request-Id", request_id), ("Server-Timing", timing)


def new_request_id() -> str:
    """Return an id that no other request has."""
    # It has to be different, not secret. Written as a UUID (RFC 9562, version 4), which tells it from a token.
    digits = f"{getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _finished(environ: WSGIEnvironment, status: str, headers: Headers, seconds: float) -> RequestFinished:
    # By the names as this application writes them.
    fields = dict(headers)
    cache = fields.get("X-Cache", "none")
    method = environ["REQUEST_METHOD"]
    return RequestFinished(
        request_id=environ[REQUEST_ID],
        method=method if method in _METHODS else "other",
        route=route_of(environ.get("PATH_INFO", "")),
        status=int(status[:3]),
        cache=cache if cache in _CACHE_STATES else "none",
        age=int(fields.get("Age", 0)),
        seconds=seconds,
        bytes=0 if method == "HEAD" else int(fields.get("Content-Length", 0)),
        skus=_skus(environ.get("QUERY_STRING", "")),
        sender=_sender(environ.get("HTTP_X_BRAZE_SENDER_VERSION", "")),
        replayed=fields.get("Idempotency-Replayed") == "true",
    )


def _skus(query: str) -> int:
    count = 0
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name in ("sku", "skus"):
            count += 1 + value.count(",") + value.upper().count("%2C")
    return count


def _sender(version: str) -> str:
    return version if version and _SENDER.fullmatch(version) else ""
