"""Answers plain GETs on a connection, past what gunicorn does for requests and answers of any kind.

For each request gunicorn makes a parser, a request, a response and two timers, checks every header of the answer and
writes head and body apart: together that takes longer than repeating an answer. What is not plain is gunicorn's, with
the bytes that came, and so is then the rest of its connection. Both read a request with gunicorn's C parser under
gunicorn's limits, so that a request means the same whoever answers it.
"""

from __future__ import annotations

import io
import logging
import os
import re
import select
import socket
import time
from typing import TYPE_CHECKING, Any

import gevent
from gevent.monkey import get_original
from gunicorn import SERVER, util
from gunicorn.http.wsgi import base_environ
from gunicorn_h1c import IncompleteError, ParseError, parse_request

from proxy.api import TAKES_PREBUILT, Application, PrebuiltResponse
from proxy.clock import Now
from proxy.middleware.response_cache import Collected, written

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

REQUEST_SECONDS = 30
"""For one request from its headers to the last byte of its answer. An invitation takes the longest, about half."""

_SWEEP_SECONDS = 1.0
_RECEIVED_AT_ONCE = 8192
_READABLE = 1
_PLAIN_TARGET = re.compile(rb"/[!\"$-~]*")
"""A path and a query in printable ASCII, without a fragment. With an absolute URL gunicorn knows what to do."""

_GUNICORNS = frozenset({"CONTENT-LENGTH", "TRANSFER-ENCODING", "EXPECT", "UPGRADE"})
"""Fields that say more of a request than what it asks for."""

_MOST_NAMES = 1000
_UNCOUNTED = frozenset({"204", "304"})
"""Statuses of answers without a body and its length (RFC 9110, 8.6)."""

_Poll = get_original("select", "poll")
"""It asks the system at once. gevent's own would have others go on meanwhile."""

_log = logging.getLogger(__name__)


class Handover:
    """A connection that is handed over, with bytes to be read from it that came before."""

    def __init__(self, connection: Any, received: bytes) -> None:
        self._connection = connection
        self._received = received

    def recv(self, *size: int) -> bytes:
        """Return what came before, then what comes."""
        received, self._received = self._received, b""
        return received or self._connection.recv(*size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class _Open:
    """An open connection. ``until``: when it has to have moved on, by the monotonic clock."""

    __slots__ = ("connection", "is_answering", "until")

    def __init__(self, connection: Any, until: float) -> None:
        self.connection = connection
        self.until = until
        self.is_answering = False


class PlainGets:
    """Answers the plain GETs of a worker's connections, each with ``app``."""

    def __init__(self, app: Application, worker: Any, now: Now) -> None:
        """``worker``: gunicorn's, which keeps connections for as long as it is ``alive``."""
        self._app = app
        self._worker = worker
        self._now = now
        self._keep_seconds: float = worker.cfg.keepalive
        self._limits = limits(worker.cfg)
        self._environ = {**base_environ(worker.cfg), "wsgi.multithread": True, TAKES_PREBUILT: True}
        self._names: dict[bytes, str] = {}
        self._open: set[_Open] = set()
        self._second = 0
        self._connection_fields = b""

    @property
    def connections(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def serve(self, server: Any, connection: Any, address: Any) -> bytes | None:
        """Answer until the connection ends, or return the bytes with which a request begins that is not plain.

        ``server`` and ``address`` are the two ends of the connection.
        """
        if not isinstance(address, tuple):
            # Over a socket in the file system gunicorn believes a front what it says of its callers.
            return b""
        environ = self.environ_of(server, connection, address)
        hub = gevent.get_hub()
        readable = hub.loop.io(connection.fileno(), _READABLE)
        opened = _Open(connection, time.monotonic() + self._keep_seconds)
        if not self._open:
            gevent.spawn(self._sweep)
        self._open.add(opened)
        try:
            received: bytes = connection.recv(_RECEIVED_AT_ONCE)
            while received:
                asked = self.read(received, environ) if self._keeps() else None
                if asked is None:
                    return received
                opened.until, opened.is_answering = time.monotonic() + REQUEST_SECONDS, True
                self._send(connection, self._answer(asked[0]))
                opened.until, opened.is_answering = time.monotonic() + self._keep_seconds, False
                received = asked[1]
                # Either way the other connections have their turn: a fast caller's next request would starve them.
                if received:
                    gevent.sleep(0)
                else:
                    hub.wait(readable)
                    received = connection.recv(_RECEIVED_AT_ONCE)
        finally:
            self._open.discard(opened)
            readable.close()
        return None

    def read(self, received: bytes, environ: WSGIEnvironment) -> tuple[WSGIEnvironment, bytes] | None:
        """Return the WSGI environment of a plain GET, made from its connection's, and the bytes behind it."""
        if self._limits is None or not received.startswith(b"GET /"):
            return None
        try:
            request = parse_request(received, **self._limits)
        except (ParseError, IncompleteError):
            return None
        target: bytes = request["path"]
        if request["minor_version"] != 1 or not _PLAIN_TARGET.fullmatch(target):
            return None
        asked = environ.copy()
        for name, value in request["headers"]:
            key = self._names.get(name) or self._key(name)
            if not key or key in asked:
                return None
            asked[key] = value.decode("latin-1")
        if asked.get("HTTP_CONNECTION", "keep-alive").lower() != "keep-alive":
            return None
        uri = target.decode("latin-1")
        path, _, query = uri.partition("?")
        asked["wsgi.input"] = io.BytesIO()
        asked["RAW_URI"], asked["QUERY_STRING"] = uri, query
        asked["PATH_INFO"] = util.unquote_to_wsgi_str(path) if "%" in path else path
        return asked, received[request["consumed"] :]

    def _keeps(self) -> bool:
        worker = self._worker
        worker.nr += 1
        # The last request before a worker is replaced is gunicorn's to count.
        if not worker.alive or worker.nr >= worker.max_requests:
            worker.nr -= 1
            return False
        return True

    def _key(self, name: bytes) -> str:
        """Return the key of a header in a WSGI environment, empty for one that is gunicorn's to judge."""
        text = name.decode("latin-1").upper()
        if "_" in text or text in _GUNICORNS:
            return ""
        key = text.replace("-", "_") if text == "CONTENT-TYPE" else "HTTP_" + text.replace("-", "_")
        if len(self._names) < _MOST_NAMES:
            self._names[name] = key
        return key

    def environ_of(self, server: tuple[Any, ...], connection: Any, address: tuple[Any, ...]) -> WSGIEnvironment:
        """Return what the environments of a connection's requests have in common."""
        return {
            **self._environ,
            "gunicorn.socket": connection,
            "REQUEST_METHOD": "GET",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SCRIPT_NAME": "",
            "wsgi.url_scheme": "http",
            "REMOTE_ADDR": address[0],
            "REMOTE_PORT": str(address[1]),
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
        }

    def _answer(self, environ: WSGIEnvironment) -> PrebuiltResponse:
        collected = Collected()
        answer = self._app(environ, collected)
        if isinstance(answer, PrebuiltResponse):
            return answer
        body = collected.body(answer)
        status, headers = collected.status, collected.headers
        if status[:3] not in _UNCOUNTED and not any(name.lower() == "content-length" for name, _ in headers):
            headers = [*headers, ("Content-Length", str(len(body)))]
        return PrebuiltResponse(status, b"", headers, body)

    def _send(self, connection: Any, answer: PrebuiltResponse) -> None:
        status = answer.status.encode("latin-1")
        head = (b"HTTP/1.1 ", status, self._of_connection(), answer.common, written(answer.own), b"\r\n")
        message = b"".join((*head, answer.body))
        # Most answers fit into the connection's buffer. sendall costs several times as much, even when they do.
        sent = connection.send(message)
        if sent < len(message):
            connection.sendall(message[sent:])

    def _of_connection(self) -> bytes:
        """Return the header fields that gunicorn puts into every answer; made once a second, for the date."""
        second = int(self._now())
        if second != self._second:
            fields = f"\r\nServer: {SERVER}\r\nDate: {util.http_date(second)}\r\nConnection: keep-alive\r\n"
            self._connection_fields = fields.encode("latin-1")
            self._second = second
        return self._connection_fields

    def _sweep(self) -> None:
        """End the connections whose time is up, while there are any: a timer for each request costs more."""
        while self._open:
            now = time.monotonic()
            for opened in [opened for opened in self._open if opened.until < now]:
                if opened.is_answering:
                    _log.warning(
                        "a connection was closed: its request and answer took more than %d s", REQUEST_SECONDS
                    )
                elif _has_asked(opened.connection):
                    # While the worker was busy with others: its turn is next.
                    continue
                _shut(opened.connection)
            gevent.sleep(_SWEEP_SECONDS)


def limits(cfg: Any) -> dict[str, int] | None:
    """Return gunicorn's limits as its C parser takes them; ``None`` where a setting makes no GET a plain one."""
    wanted = {name: getattr(cfg, name) for name in _LIMITS}
    within = all(0 < wanted[name] <= most for name, most in _LIMITS.items())
    is_http = not cfg.is_ssl and cfg.proxy_protocol == "off"
    is_own = not cfg.forwarded_allow_ips and not os.environ.get("SCRIPT_NAME")
    takes_c_parser = cfg.http_parser in ("auto", "fast")
    return wanted if within and is_http and is_own and takes_c_parser and cfg.keepalive else None


_LIMITS = {"limit_request_line": 8190, "limit_request_fields": 32768, "limit_request_field_size": 8190}
"""Names of gunicorn's settings, each with the most that the C parser takes."""


def _has_asked(connection: Any) -> bool:
    """Tell whether there are bytes of ``connection`` that nobody has read yet."""
    waiting = _Poll()
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(0))


def _shut(connection: Any) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The caller was faster.
        return
