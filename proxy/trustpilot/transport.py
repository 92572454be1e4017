"""HTTP to Trustpilot: pooled connections, a bounded number at once, a total time and a size that nothing exceeds."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from typing import Any, Protocol

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from proxy.events import Report, unheard
from proxy.trustpilot.errors import Busy, Malformed, TimedOut, TrustpilotError, Unreachable
from proxy.trustpilot.outbound import EnvironmentProxies, certificates
from proxy.trustpilot.reports import CallBegan, CallEnded, kind_of

MAX_BODY_BYTES = 8 * 1024 * 1024
"""A page of 100 long reviews with photos is well below 1 MB; more than this is not a page of reviews."""

FIREWALL = "Trustpilot's firewall turns this proxy away with 403"

USER_AGENT = f"connected-content-proxy/{version('connected-content-proxy')}"
"""Trustpilot's firewall turns clients away that do not name themselves."""

_CHUNK = 65_536


@dataclass(frozen=True)
class Reply:
    """A whole answer. Header names are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_firewall_page(self) -> bool:
        """Whether a 403 is a page for people. The API's own is JSON; see :class:`TurnedAway`."""
        if self.status != 403:
            return False
        return "html" in self.headers.get("Content-Type", "").lower() or self.body.lstrip().startswith(b"<")


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
        # Neither a .netrc's credentials in place of ours, nor proxies that are read anew for each call.
        self._session.trust_env = False
        self._session.verify = certificates()
        self._session.headers["User-Agent"] = USER_AGENT
        # A cookie would bind every later call to one of Trustpilot's machines, and grow with each answer.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._proxies = EnvironmentProxies()
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
                    proxies=self._proxies.for_url(url),
                    **request,
                )
                with response:
                    body = _read(response)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                # Before the connection stood nothing was sent. After it, even a reset may come after the request was
                # read.
                received = watch.connected
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

    Socket timeouts start anew with every byte, so they do not hold against a peer that drips. ``connected``: the
    connection stands, through a proxy's tunnel and the TLS handshake, so that the request may have been sent.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self.connected = False
        self._socket: socket.socket | None = None
        self._opened: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._sever)
        self._timer.daemon = True

    def __enter__(self) -> _Watch:
        _current.watch = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        _current.watch = None
        self._drop_opened()

    def opened(self, sock: socket.socket) -> None:
        """Watch over ``sock`` while it becomes a connection."""
        # A TLS handshake takes the descriptor away from ``sock`` at its very beginning; a second one stays.
        self._socket = self._opened = socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))
        self._check()

    def stands(self, sock: socket.socket) -> None:
        """Watch over ``sock``, on which the request is sent next."""
        self._socket = sock
        self._drop_opened()
        self._check()
        self.connected = True

    def _check(self) -> None:
        if self.expired:
            raise TimeoutError("the call's time was up before it was connected")

    def _drop_opened(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _sever(self) -> None:
        self.expired = True
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                # Closed in the same moment: there is nothing left to sever.
                return


class _Severable:
    """Tells the current watch which socket the call uses, as soon as there is one."""

    sock: Any

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]  # mixed into urllib3's connections below
        if (watch := _watching()) is not None:
            try:
                watch.opened(sock)
            except TimeoutError:
                sock.close()
                raise
        return sock

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # as above
        if (watch := _watching()) is not None:
            watch.stands(self.sock)

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        # A kept-alive connection does not connect again.
        if self.sock is not None and (watch := _watching()) is not None:
            watch.stands(self.sock)
        super().putrequest(*args, **kwargs)  # type: ignore[misc]  # as above


def _watching() -> _Watch | None:
    watch: _Watch | None = getattr(_current, "watch", None)
    return watch


class _SeverableHTTP(_Severable, HTTPConnection):
    pass


class _SeverableHTTPS(_Severable, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _SeverableHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _SeverableHTTPS


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class _SeverableAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> urllib3.ProxyManager:
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        # A SOCKS proxy brings connections of its own; the mere timeouts hold there.
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager
