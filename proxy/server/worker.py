"""gunicorn's gevent worker, made fit for callers who are slow, wrong or many, and for a stop that loses nothing."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import gevent
from gevent.libev import corecext
from gevent.server import StreamServer
from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http.errors import ParseException
from gunicorn.workers.ggevent import GeventWorker

from proxy.events import Events, RequestFinished, new_request_id
from proxy.server import is_draining
from proxy.server.plain_gets import REQUEST_SECONDS, Handover, PlainGets

TURN_SECONDS = 0.5
"""For new callers and those whose answer is worked out, before those have a turn whose answer is only repeated: as
long as it takes. After 50 ms of it those had theirs again: over 3,000 connections one hit in twenty took over 2 s."""

_ACCEPTED_AT_ONCE = 1000
"""Connections taken in one turn. gevent takes 100, and then first answers everybody it has."""

_ACCEPTED_BESIDE_OTHERS = 8
"""The same where other workers take some too: fewer, so that none takes them all. gunicorn takes one a turn."""

_MANY, _TELL_SECONDS = 4, 0.01
"""With so many connections events wait so long for others, to be told together: at eight, telling each alone doubled
what a hit takes."""

_LINGER_SECONDS = 1.0
_LINGER_BYTES = 1024 * 1024

_STATUSES = {
    "LimitRequestLine": (414, "the URL is too long"),
    "LimitRequestHeaders": (431, "the headers are too large"),
    "UnsupportedTransferCoding": (501, "this transfer coding is not understood"),
    "ExpectationFailed": (417, "this expectation can't be met"),
}
_OURS = frozenset({"ConfigurationProblem", "InvalidResponseHeader", "InvalidResponseHeaderName"})
_MALFORMED = (
    400,
    "this is not an HTTP request that can be read; spaces and characters beyond ASCII in a URL have to be encoded, "
    "in Liquid with | url_param_escape",
)
_BUG = (500, "the proxy made a mistake; its log has the request id of this answer")

_log = logging.getLogger(__name__)


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """Serves thousands of connections.

    Headers have to arrive within gunicorn's ``keepalive`` seconds (its own worker sees to that), the rest within
    :data:`REQUEST_SECONDS`; a slow caller holds its connection that long and nobody else up.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # There from the start: a signal may come while the application is still being loaded.
        self._events = Events()
        self.app_extensions: dict[str, Any] = {}

    def load_wsgi(self) -> None:
        super().load_wsgi()
        app: Any = self.wsgi
        self.app_extensions = getattr(app, "extensions", {})
        self._plain_gets = PlainGets(app, self, time.time)
        self._events = self.app_extensions.get("events", self._events)
        self._events.wait_for(self._tell_soon)
        if (proxy := self.app_extensions.get("proxy")) is not None:
            proxy.start()
        lengthen_turns(TURN_SECONDS)
        # What was loaded stays; looking through it again and again held every answer up for some 40 ms.
        gc.collect()
        gc.freeze()
        # A request leaves next to nothing in circles: looking for them every 700 objects took a fortieth of a miss.
        gc.set_threshold(10_000)

    def run(self) -> None:
        """Serve until the worker is to end, and write the last lines."""
        try:
            super().run()
        finally:
            self._events.tell()

    def _tell_soon(self, tell: Callable[[], None]) -> None:
        """Have events told: at once, or with those of the next moment where there are many."""
        if self._plain_gets.connections < _MANY:
            tell()
        else:
            gevent.spawn_later(_TELL_SECONDS, tell)

    @property
    def server_class(self) -> Any:
        """Return what makes the server of a listening socket: where gunicorn looks for another kind of server."""
        return self._server

    def _server(self, listener: Any, *, spawn: Any, **_: Any) -> StreamServer:
        server = StreamServer(listener, handle=partial(self.handle, listener), spawn=spawn)
        server.max_accept = _ACCEPTED_AT_ONCE if self.cfg.workers == 1 else _ACCEPTED_BESIDE_OTHERS
        return server

    def init_signals(self) -> None:
        """Leave Ctrl-C to the master, which stops the workers in order."""
        super().init_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Go on taking connections for ``PROXY_DRAIN_SECONDS`` while ``/readyz`` says 503, then finish.

        Not at a reload: others have taken this worker's place, and nobody is to be told anything.
        """
        proxy = self.app_extensions.get("proxy")
        seconds = proxy.settings.drain_seconds if proxy and is_draining() else 0
        if seconds:
            gevent.spawn_later(seconds, super().handle_exit, sig, frame)
        else:
            super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """End at once, as the second Ctrl-C would. ``sys.exit`` in a greenlet would print a traceback."""
        try:
            self._events.tell_first()
        finally:
            os._exit(0)

    def handle_abort(self, sig: int, frame: Any) -> None:
        """End because the master heard nothing for too long, with the lines of what came before that."""
        self._events.tell_first()
        super().handle_abort(sig, frame)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Answer all requests of a connection: plain GETs here, and by gunicorn from the first that is none."""
        server = listener.getsockname()
        try:
            received = self._plain_gets.serve(server, client, addr)
        except OSError as error:
            _log.debug("the caller was gone before it could be told: %s", type(error).__name__)
            received = None
        except Exception as error:  # noqa: BLE001  # gunicorn's own way with what an application lets through
            self.handle_error(None, client, addr, error)
            received = None
        except BaseException:
            util.close(client)
            raise
        if received is None:
            util.close(client)
        else:
            # The listening socket may be closed by now; its name is known.
            listening = SimpleNamespace(getsockname=lambda: server)
            super().handle(listening, Handover(client, received), addr)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Answer one request, or close the connection when its time is up."""
        limit = gevent.Timeout(REQUEST_SECONDS)
        body = req.body = RequestBody(req.body, req)
        try:
            with limit:
                super().handle_request(listener_name, req, sock, addr)
            body.answered = True
        except gevent.Timeout as expired:
            if expired is not limit:
                raise
            _log.warning("a connection was closed: its request and answer took more than %d s", REQUEST_SECONDS)
            raise StopIteration from None

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what never reached the app as the app would: a problem, one log line, one count.

        What the caller sent is in neither: it may hold a secret.
        """
        name = type(exc).__name__
        is_theirs = isinstance(exc, ParseException) and name not in _OURS
        status, detail = _STATUSES.get(name, _MALFORMED) if is_theirs else _BUG
        request_id = new_request_id()
        if not is_theirs:
            _log.error("bug while answering request %s", request_id, exc_info=exc)
        answer, size = _problem(status, detail, request_id)
        event = RequestFinished(request_id, "other", "other", status, "none", 0, 0.0, size, 0, "", replayed=False)
        self._events.report(event)
        try:
            util.write_nonblock(client, answer)
            _linger(client)
        except OSError as error:
            _log.debug("the caller was gone before it could be told: %s", type(error).__name__)


def lengthen_turns(seconds: float) -> None:
    """Have gevent look for what came over connections when nothing else is to be done, or after ``seconds`` of it."""
    # It takes Python's own interval, which is how long a thread waits for another one: SQLite's writer runs in one,
    # and would wait as long after each statement.
    corecext.getswitchinterval = lambda: seconds


def _problem(status: int, detail: str, request_id: str) -> tuple[bytes, int]:
    title = HTTPStatus(status).phrase
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail, "found": False}
    body = json.dumps(problem).encode()
    head = (
        f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"Cache-Control: no-store\r\nX-Request-Id: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body, len(body)


def _linger(client: Any) -> None:
    """Take what is still on its way: closing before it is read resets the connection, and the answer is lost."""
    with gevent.Timeout(_LINGER_SECONDS, False):  # noqa: FBT003  # gevent's way to say: leave, don't raise
        taken = 0
        while taken < _LINGER_BYTES and (chunk := client.recv(65_536)):
            taken += len(chunk)


class RequestBody:
    """Stands in for gunicorn's ``body`` of a request.

    For a malformed chunk gunicorn raises errors of its own, which look to the application like its own bug. A WSGI
    application expects :class:`ValueError` or :class:`OSError` of an input that breaks off. Where the next request
    begins is not known then, so the connection has to end.
    """

    def __init__(self, body: Any, request: Any) -> None:
        """Read from ``body``, which is that of gunicorn's ``request``."""
        self._body = body
        self._request = request
        self.answered = False
        """Whether the answer has left. From then on nobody is left to be told, and the connection just ends."""

    def read(self, *size: int | None) -> bytes:
        read: bytes = self._checked(self._body.read, *size)
        return read

    def readline(self, *size: int | None) -> bytes:
        line: bytes = self._checked(self._body.readline, *size)
        return line

    def readlines(self, *size: int | None) -> list[bytes]:
        lines: list[bytes] = self._checked(self._body.readlines, *size)
        return lines

    def __iter__(self) -> RequestBody:
        return self

    def __next__(self) -> bytes:
        if line := self.readline():
            return line
        raise StopIteration

    def _checked(self, read: Any, *size: int | None) -> Any:
        try:
            return read(*size)
        except ParseException as error:
            self._request.force_close()
            if self.answered:
                # What gunicorn takes for the end of a connection.
                raise StopIteration from None
            raise ValueError("the body is malformed") from error


class GunicornLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own log without its line per request, which :func:`proxy.telemetry.logging.write_lines` writes.

    gunicorn would work out some thirty parts of each line, also where nobody reads it.
    """

    def access(self, _resp: Any, _req: Any, _environ: Any, _request_time: Any) -> None:
        """Write nothing."""
