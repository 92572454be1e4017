"""The access log: one event per request, one line per request and per call to Trustpilot, and who writes them.

:class:`AccessLog` is the outermost WSGI layer and reports :class:`RequestFinished`. :func:`write_lines` makes lines
of events. :class:`BufferedHandler` puts the many lines of a busy moment on a file descriptor in few writes.
"""

from __future__ import annotations

import logging
import os
import re
import select
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from random import getrandbits
from typing import TYPE_CHECKING

from proxy.api.responses import STARTED, Application, Headers, PrebuiltResponse
from proxy.api.routes import route_of
from proxy.clock import CAUSE
from proxy.events import CallEnded, Happened, Report, RequestFinished

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    Write = object
    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

REQUEST_ID = "HTTP_X_REQUEST_ID"

REQUESTS, UPSTREAM = "proxy.requests", "proxy.upstream"
"""The loggers of the two kinds of lines."""

_MOST_LINES = 500
_PIECE = select.PIPE_BUF
"""Bytes that a pipe takes in one piece, whoever else writes into it (POSIX, write): several workers share one."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SENDER = re.compile(r"[A-Za-z0-9._-]{1,40}")
_CACHE_STATES = frozenset({"hit", "stale", "miss"})

_requests = logging.getLogger(REQUESTS)
_upstream = logging.getLogger(UPSTREAM)


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


def write_lines(happened: Sequence[Happened]) -> None:
    """Write an event's line at level info; other events have lines of their own where they happen, or none.

    Lines of other kinds, warnings say, don't wait for these. Each has its time.
    """
    requests, calls = _requests.isEnabledFor(logging.INFO), _upstream.isEnabledFor(logging.INFO)
    for event, at, cause in happened:
        if isinstance(event, RequestFinished) and requests:
            _handle(_requests, "answered", at, _of_request(event))
        elif isinstance(event, CallEnded) and calls:
            _handle(_upstream, "called Trustpilot", at, _of_call(event, cause))
    for handler in logging.getLogger("proxy").handlers:
        handler.flush()


def _handle(logger: logging.Logger, message: str, at: float, fields: dict[str, object]) -> None:
    # Not by logger.info, which would look for the line of code that calls it and take the time anew.
    record = logging.LogRecord.__new__(logging.LogRecord)
    record.__dict__.update(_RECORD)
    record.name, record.msg, record.created, record.msecs = logger.name, message, at, at % 1 * 1000
    record.fields = fields
    logger.handle(record)


_RECORD = logging.LogRecord("", logging.INFO, "", 0, "", None, None).__dict__
"""What records of these lines have in common: finding it out for each takes as long as writing the line."""


def _of_request(event: RequestFinished) -> dict[str, object]:
    return {
        "request_id": event.request_id,
        "method": event.method,
        "route": event.route,
        "status": event.status,
        "cache": event.cache,
        "skus": event.skus,
        "ms": round(event.seconds * 1000, 1),
        "bytes": event.bytes,
        "sender": event.sender,
    }


def _of_call(event: CallEnded, cause: str) -> dict[str, object]:
    return {
        "request_id": cause,
        "kind": event.kind,
        "outcome": event.outcome,
        "ms": round(event.seconds * 1000, 1),
        "bytes": event.bytes,
    }


class BufferedHandler(logging.Handler):
    """Writes lines in the order they come, each in one piece. Never waits for another writer, and never raises.

    Those of the loggers named in ``buffered`` and below ``WARNING`` wait for :meth:`flush`, which whoever logs there
    has to call; any other line is written at once, after those that wait. Lines that can't be written are lost, and
    the next line that can be is preceded by their number. Few writes, because each wakes whoever reads the log, which
    costs more than making the line.
    """

    def __init__(self, descriptor: int, buffered: frozenset[str]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._buffered = buffered
        self._waiting: deque[str] = deque()
        self._writing = threading.Lock()
        self._lost = 0

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a line, without the library's lock: making one touches nothing that is shared, and a deque is safe."""
        kept = self.filter(record)
        if kept:
            # Since Python 3.12 a filter may return another record.
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, now or soon."""
        try:
            self._waiting.append(self.format(record))
        except Exception:  # noqa: BLE001  # logging's own way: a line that can't be made must not fail an answer
            self.handleError(record)
            return
        if (
            record.levelno >= logging.WARNING
            or record.name not in self._buffered
            or len(self._waiting) >= _MOST_LINES
        ):
            self.flush()

    def flush(self) -> None:
        """Write all lines that wait; also called when the process ends."""
        # A signal's handler may come here in the middle of a write. Who holds the lock looks again once it is free.
        while self._waiting and self._writing.acquire(blocking=False):
            try:
                self._write([self._waiting.popleft() for _ in range(len(self._waiting))])
            finally:
                self._writing.release()

    def _write(self, lines: list[str]) -> None:
        notice = [self._lost_notice()] if self._lost else []
        written = -len(notice)
        try:
            for count, piece in _pieces([*notice, *lines]):
                rest = piece
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
                written += count
                self._lost = 0
        except OSError:
            # There is no other place to tell it; it is told here as soon as that goes again.
            self._lost += len(lines) - max(written, 0)

    def _lost_notice(self) -> str:
        message = "%d lines before this one could not be written"
        return self.format(logging.LogRecord(__name__, logging.ERROR, "", 0, message, (self._lost,), None))


def _pieces(lines: list[str]) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines together, as many as stay in one piece, and how many they are."""
    piece, count = b"", 0
    for line in lines:
        encoded = line.encode("utf-8", "backslashreplace") + b"\n"
        if count and len(piece) + len(encoded) > _PIECE:
            yield count, piece
            piece, count = b"", 0
        piece += encoded
        count += 1
    yield count, piece
