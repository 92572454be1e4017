"""HTTP to Trustpilot: pooled connections, a bounded number at once, a total time and a size that nothing exceeds."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from proxy.events import Report, unheard
from proxy.trustpilot.errors import Busy, Malformed, TimedOut, TrustpilotError, Unreachable
from proxy.trustpilot.reports import CallBegan, CallEnded, kind_of

MAX_BODY_BYTES = 8 * 1024 * 1024
"""A page of 100 long reviews with photos is well below 1 MB; more than this is not a page of reviews."""

_CHUNK = 65_536


@dataclass(frozen=True)
class Reply:
    """A whole answer. Header names are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Sender(Protocol):
    """What the calls with a body of their own need; a :class:`Transport`, or a guard around one."""

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str], data: bytes, timeout: float | None = None
    ) -> Reply:
        """Return the answer, whatever its status; see :meth:`Transport.send`."""


class Transport:
    """Sends requests. Safe to use from many threads or greenlets at once."""

    def __init__(self, *, timeout: float, concurrency: int, report: Report = unheard) -> None:
        self._timeout = timeout
        self._report = report
        self._places = threading.BoundedSemaphore(concurrency)
        self._session = requests.Session()
        # An auth callable keeps requests from putting a .netrc's credentials in place of ours.
        self._session.auth = lambda request: request
        adapter = _SeverableAdapter(pool_connections=4, pool_maxsize=concurrency)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        params: list[tuple[str, str]] | None = None,
        json: object = None,
        data: bytes | None = None,
        timeout: float | None = None,
    ) -> Reply:
        """Return the answer, whatever its status; redirects are not followed.

        The body is ``json``, or ``data`` as it is. ``timeout`` shortens the total time, in seconds. Raises
        :class:`Busy`, :class:`Unreachable`, :class:`TimedOut`, or :class:`Malformed` for a body over the cap; their
        ``received`` tells whether Trustpilot may have acted on the request all the same.
        """
        until = time.monotonic() + min(self._timeout, self._timeout if timeout is None else timeout)
        if not self._places.acquire(timeout=max(0.0, until - time.monotonic())):
            raise Busy("too many calls to Trustpilot are under way")
        try:
            request = {"params": params, "json": json, "data": data, "headers": dict(headers)}
            left = max(0.001, until - time.monotonic())
            return self._reported(url, lambda: self._send(method, url, request, left))
        finally:
            self._places.release()

    def _reported(self, url: str, send: Callable[[], Reply]) -> Reply:
        kind, started = kind_of(url), time.monotonic()
        outcome, size = "failed", 0
        self._report(CallBegan(kind))
        try:
            reply = send()
            outcome, size = str(reply.status), len(reply.body)
        except TrustpilotError as error:
            outcome = type(error).__name__.lower()
            raise
        finally:
            # Also when the thread is stopped from outside, so that what began has ended.
            self._report(CallEnded(kind, outcome, time.monotonic() - started, size))
        return reply

    def _send(self, method: str, url: str, request: dict[str, Any], left: float) -> Reply:
        with _Watch(left) as watch:
            try:
                response = self._session.request(
                    method,
                    url,
                    timeout=(left, left),
                    stream=True,
                    allow_redirects=False,
                    **request,
                )
                with response:
                    body = _read(response)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                # Without a connection nothing was sent. With one, even a reset may come after the request was read.
                received = watch.socket is not None
                if watch.expired or _is_timeout(error):
                    raise TimedOut("Trustpilot did not answer in time", received=received) from error
                raise Unreachable("Trustpilot could not be reached", received=received) from error
            # A body without a length ends quietly where the watch cut it off.
            if watch.expired:
                raise TimedOut("Trustpilot did not answer in time", received=True)
        return Reply(response.status_code, response.headers, body)


def _read(response: requests.Response) -> bytes:
    """Read the decoded body as it arrives, so that a large one is left as soon as it passes the cap."""
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_content(_CHUNK):
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise Malformed("Trustpilot's answer was too large", received=True)
        chunks.append(chunk)
    return b"".join(chunks)


def _is_timeout(error: BaseException | None) -> bool:
    """Tell whether ``error`` is a timeout under any of the names that requests and urllib3 wrap it in."""
    while error is not None:
        if isinstance(error, urllib3.exceptions.NewConnectionError):
            # A refused connection, which urllib3 counts among the timeouts.
            return isinstance(error.__cause__, TimeoutError)
        if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
            return True
        if any(isinstance(part, urllib3.exceptions.TimeoutError) for part in error.args):
            return True
        error = error.__cause__ or error.__context__
    return False


_current = threading.local()
"""The watch over the call that this thread or greenlet is making."""


class _Watch:
    """Severs a call's connection when its total time is up.

    Socket timeouts start anew with every byte, so they do not hold against a peer that drips.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self.socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._sever)
        self._timer.daemon = True

    def __enter__(self) -> _Watch:
        _current.watch = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        _current.watch = None

    def _sever(self) -> None:
        self.expired = True
        if self.socket is not None:
            try:
                self.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                # Closed in the same moment: there is nothing left to sever.
                return


class _Severable:
    """Tells the current watch which socket the call uses, as soon as there is one."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # mixed into urllib3's connections below
        self._show()

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:  # a kept-alive connection does not connect again
            self._show()
        super().putrequest(*args, **kwargs)  # type: ignore[misc]  # as above

    def _show(self) -> None:
        watch: _Watch | None = getattr(_current, "watch", None)
        if watch is not None:
            if watch.expired:
                raise TimeoutError("the call's time was up before it was connected")
            watch.socket = self.sock


class _SeverableHTTP(_Severable, HTTPConnection):
    pass


class _SeverableHTTPS(_Severable, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _SeverableHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _SeverableHTTPS


class _SeverableAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
