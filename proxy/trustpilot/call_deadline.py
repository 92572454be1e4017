"""The total time of a call: one sweeper per process aborts the connections of calls whose time is up.

Socket timeouts start anew with every byte, so they do not hold against a peer that drips.
"""

from __future__ import annotations

import heapq
import os
import select
import socket
import threading
import time
from itertools import count
from typing import Any, Self

import urllib3
from gevent.monkey import get_original
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_poll = get_original("select", "poll")

_current = threading.local()
"""``deadline``: the deadline of the call that this thread or greenlet is making."""


class CallDeadline:
    """Aborts the connection of the call that is made inside of it when its time is up.

    ``connected``: the connection stands, through a proxy's tunnel and the TLS handshake, so that the request may have
    been sent.
    """

    def __init__(self, at: float) -> None:
        """``at``: a moment on the monotonic clock."""
        self.at = at
        self.expired = False
        self.over = False
        self.connected = False
        self._socket: socket.socket | None = None
        self._opened: socket.socket | None = None

    def __enter__(self) -> Self:
        _current.deadline = self
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        _current.deadline = None
        self._socket = None
        self._drop_opened()

    def opened(self, sock: socket.socket) -> None:
        """Abort ``sock`` while it becomes a connection."""
        # A TLS handshake takes the descriptor away from ``sock`` at its very beginning; a second one stays.
        self._socket = self._opened = socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))
        self._check()

    def stands(self, sock: socket.socket) -> None:
        """Abort ``sock``, on which the request is sent next."""
        self._socket = sock
        self._drop_opened()
        self._check()
        self.connected = True

    def abort(self) -> None:
        """End the call now."""
        self.expired = True
        if (sock := self._socket) is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                # Closed in the same moment: there is nothing left to abort.
                return

    def _check(self) -> None:
        if self.expired:
            raise TimeoutError("the call's time was up before it was connected")

    def _drop_opened(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


class DeadlineSweeper:
    """Hands out deadlines and aborts what is due, from one thread, which ends when no call is under way."""

    def __init__(self) -> None:
        self._wakes = threading.Condition()
        self._number = count()
        self._deadlines: list[tuple[float, int, CallDeadline]] = []
        self._runs = False

    def after(self, seconds: float) -> CallDeadline:
        """Return the deadline that lies ``seconds`` from now."""
        deadline = CallDeadline(time.monotonic() + seconds)
        with self._wakes:
            heapq.heappush(self._deadlines, (deadline.at, next(self._number), deadline))
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._sweep, name="call-deadlines", daemon=True).start()
            elif self._deadlines[0][2] is deadline:
                self._wakes.notify()
        return deadline

    def _sweep(self) -> None:
        with self._wakes:
            while self._deadlines:
                at, _, deadline = self._deadlines[0]
                if deadline.over:
                    heapq.heappop(self._deadlines)
                elif (left := at - time.monotonic()) > 0:
                    self._wakes.wait(left)
                else:
                    heapq.heappop(self._deadlines)
                    deadline.abort()
            self._runs = False


class _Abortable:
    """Tells the current call's deadline which socket the call uses, as soon as there is one."""

    sock: Any

    @property
    def is_connected(self) -> bool:
        """Whether the peer has not closed a kept connection, nor sent what nobody asked for."""
        if self.sock is None:
            return False
        # The kernel is asked directly: gevent's own way through its loop costs twenty times as much.
        poll = _poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]  # mixed into urllib3's connections below
        if (deadline := _deadline()) is not None:
            try:
                deadline.opened(sock)
            except TimeoutError:
                sock.close()
                raise
        return sock

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # as above
        if (deadline := _deadline()) is not None:
            deadline.stands(self.sock)

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        # A kept-alive connection does not connect again.
        if self.sock is not None and (deadline := _deadline()) is not None:
            deadline.stands(self.sock)
        super().putrequest(*args, **kwargs)  # type: ignore[misc]  # as above


def _deadline() -> CallDeadline | None:
    deadline: CallDeadline | None = getattr(_current, "deadline", None)
    return deadline


class _AbortableHTTP(_Abortable, HTTPConnection):
    pass


class _AbortableHTTPS(_Abortable, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _AbortableHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _AbortableHTTPS


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class AbortableAdapter(HTTPAdapter):
    """requests' adapter, over connections that a :class:`CallDeadline` can abort.

    Without what costs much and nobody needs: a host's pool is found once, and of an answer only its status, its
    headers and the stream of its body are kept.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._pools: dict[str, Any] = {}
        super().__init__(**kwargs)

    def get_connection_with_tls_context(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        """Return the pool of the connections to the request's host, which always takes the same way."""
        host = "/".join((request.url or "").split("/", 3)[:3])
        pool = self._pools.get(host)
        if pool is None:
            pool = self._pools[host] = super().get_connection_with_tls_context(request, *args, **kwargs)
        return pool

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002  # requests' own signature
        timeout: Any = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002  # as above
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        """Send ``request``: where no proxy is in between, straight through its host's pool and with its errors."""
        if proxies:
            return super().send(request, stream, timeout, verify, cert, proxies)
        pool = self.get_connection_with_tls_context(request, verify)
        self.cert_verify(pool, request.url, verify, cert)  # type: ignore[no-untyped-call]  # the library's
        response = pool.urlopen(
            request.method,
            request.path_url,
            body=request.body,
            headers=request.headers,
            redirect=False,
            preload_content=not stream,
            decode_content=False,
            retries=self.max_retries,
            timeout=urllib3.Timeout(*timeout),
        )
        return self.build_response(request, response)

    def build_response(self, req: PreparedRequest, resp: Any) -> Response:
        """Return an answer without cookies, encoding and history."""
        response = Response()
        response.status_code, response.raw, response.headers = resp.status, resp, resp.headers
        return response

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> urllib3.ProxyManager:
        """Return the pools of the connections through ``proxy``."""
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        # A SOCKS proxy brings connections of its own; the mere timeouts hold there.
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager
