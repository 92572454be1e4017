"""Puts a finished answer on the connection in one write, past what gunicorn does for answers it does not know.

gunicorn checks every header of every answer anew and writes head and body apart. For an answer that is repeated
thousands of times that is most of its cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gunicorn import SERVER, util
from gunicorn.workers.base_async import ALREADY_HANDLED

from proxy.api.responses import TAKES_PREBUILT, Application, PrebuiltResponse, written
from proxy.clock import Now

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class PrebuiltSender:
    """Takes a :class:`~proxy.api.responses.PrebuiltResponse` from ``app`` on each connection that is to be kept."""

    def __init__(self, app: Application, worker: Any, now: Now) -> None:
        """``worker``: gunicorn's, which keeps connections for as long as it is ``alive``."""
        self._app = app
        self._worker = worker
        self._keeps = bool(worker.cfg.keepalive)
        self._now = now
        self._second = 0
        self._connection_fields = b""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if (
            environ["SERVER_PROTOCOL"] == "HTTP/1.1"
            and environ.get("HTTP_CONNECTION", "keep-alive").lower() == "keep-alive"
            and self._keeps
            and self._worker.alive
        ):
            environ[TAKES_PREBUILT] = True
        answer = self._app(environ, start_response)
        if not isinstance(answer, PrebuiltResponse):
            return answer
        connection, message = environ["gunicorn.socket"], self._message(answer)
        # Most answers fit into the connection's buffer. sendall costs several times as much, even when they do.
        sent = connection.send(message)
        if sent < len(message):
            connection.sendall(message[sent:])
        handled: Iterable[bytes] = ALREADY_HANDLED
        return handled

    def _message(self, answer: PrebuiltResponse) -> bytes:
        status = answer.status.encode("latin-1")
        head = (b"HTTP/1.1 ", status, self._of_connection(), answer.common, written(answer.own), b"\r\n")
        return b"".join((*head, answer.body))

    def _of_connection(self) -> bytes:
        """Return the header fields that gunicorn puts into every answer; made once a second, for the date."""
        second = int(self._now())
        if second != self._second:
            fields = f"\r\nServer: {SERVER}\r\nDate: {util.http_date(second)}\r\nConnection: keep-alive\r\n"
            self._connection_fields = fields.encode("latin-1")
            self._second = second
        return self._connection_fields
