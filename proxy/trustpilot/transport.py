"""HTTP to Trustpilot: pooled connections, the environment's proxies, a total time and a size that nothing exceeds.

Socket timeouts start anew with every byte, so they do not hold against a peer that drips: one sweeper per process
aborts the connections of calls whose time is up.
"""

from __future__ import annotations

import heapq
import io
import os
import select
import socket
import threading
import time
from collections.abc import Mapping
from http.client import HTTPConnection as PlainConnection
from http.client import HTTPException, HTTPResponse, IncompleteRead, LineTooLong, UnknownProtocol
from importlib.metadata import version
from ipaddress import ip_address, ip_network
from itertools import count
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # the types lack the second
    getproxies_environment,
    proxy_bypass_environment,
)

import gevent
import requests
import urllib3
from gevent.monkey import get_original, is_module_patched
from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from proxy.clock import Deadline
from proxy.events import CallEnded, CallStarted, Report, unheard
from proxy.trustpilot import Malformed, Response, TimedOut, TrustpilotError, Unreachable

MAX_BODY_BYTES = 8 * 1024 * 1024
"""A page of 100 long reviews with photos is well below 1 MB; more than this is not a page of reviews."""

_KINDS = {
    "reviews": "reviews",
    "batch-summaries": "summaries",
    "deletions": "deletions",
    "accesstoken": "token",
    "email-invitations": "invitation",
    "private reviews": "feed",
    "private summaries": "shop_summaries",
}
"""What a call is for, by the end of its path."""

KINDS = [*_KINDS.values(), "other"]

_HEADERS = {
    # Trustpilot's firewall turns clients away that do not name themselves.
    "User-Agent": f"connected-content-proxy/{version('connected-content-proxy')}",
    "Accept-Encoding": "gzip, deflate",
}

_FAILED = (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError)


class Transport:
    """Sends requests. Safe to use from many threads or greenlets at once."""

    def __init__(self, *, timeout: float, concurrency: int, report: Report = unheard) -> None:
        """``timeout``: most seconds that a call may take. ``concurrency``: how many connections are kept."""
        self.timeout = timeout
        self._report = report
        self._deadlines = DeadlineSweeper()
        self._proxies = EnvironmentProxies()
        # The adapter and not a session: nothing is read from the environment or a .netrc for each call, and no cookie
        # is kept, which would bind every later call to one of Trustpilot's machines and grow with each answer.
        self._adapter = AbortableAdapter(pool_connections=4, pool_maxsize=concurrency)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        data: bytes | None = None,
        deadline: Deadline | None = None,
    ) -> Response:
        """Return the answer, whatever its status; redirects are not followed.

        ``deadline`` shortens the total time. Raises :class:`Unreachable`, :class:`TimedOut`, or
        :class:`Malformed` for a body over the cap; their ``received`` tells whether Trustpilot may have acted on the
        request all the same.
        """
        kind, started = kind_of(url), time.monotonic()
        outcome, size = "failed", 0
        self._report(CallStarted(kind))
        try:
            seconds = self.timeout if deadline is None else min(deadline.at - started, self.timeout)
            response = self._send(_prepared(method, url, headers, data), max(0.001, seconds))
            outcome, size = str(response.status), len(response.body)
        except TrustpilotError as error:
            outcome = type(error).__name__.lower()
            raise
        finally:
            # Also when the thread is stopped from outside, so that what began has ended.
            self._report(CallEnded(kind, outcome, time.monotonic() - started, size))
        return response

    def _send(self, request: requests.PreparedRequest, seconds: float) -> Response:
        with self._deadlines.after(seconds) as deadline:
            try:
                proxies = self._proxies.for_url(request.url or "")
                with self._adapter.answer(request, seconds, proxies) as answer:
                    body = answer.read(MAX_BODY_BYTES + 1, decode_content=True)
            except _FAILED as error:
                # Before the connection stood nothing was sent. After it, even a reset may come after the request was
                # read.
                received = deadline.connected
                if deadline.expired or _is_timeout(error):
                    raise TimedOut("Trustpilot did not answer in time", received=received) from error
                raise Unreachable("Trustpilot could not be reached", received=received) from error
            # A body without a length ends quietly where it was cut off.
            if deadline.expired:
                raise TimedOut("Trustpilot did not answer in time", received=True)
        if len(body) > MAX_BODY_BYTES:
            raise Malformed("Trustpilot's answer was too large", received=True)
        return Response(answer.status, answer.headers, body)


def kind_of(url: str) -> str:
    """Return what a call to ``url`` is for, as one of :data:`KINDS`."""
    path = url.partition("?")[0]
    private = "private " if "/private/product-reviews/" in path else ""
    return _KINDS.get(private + path.rpartition("/")[2], "other")


def _prepared(method: str, url: str, headers: Mapping[str, str], data: bytes | None) -> requests.PreparedRequest:
    # By hand: the URL is encoded already, and requests would take both apart and put them together for each call.
    request = requests.PreparedRequest()
    request.method, request.url, request.body = method, url, data
    request.headers = {**_HEADERS, **headers}  # type: ignore[assignment]  # nobody looks for one in another case
    if data is not None:
        request.headers["Content-Length"] = str(len(data))
    return request


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


class EnvironmentProxies:
    """``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, in either case, as they are now.

    Read once: requests would read them anew for each call, and a proxy could come and go between two calls.
    """

    def __init__(self) -> None:
        self._proxies = getproxies_environment()
        exceptions = [entry.strip() for entry in self._proxies.pop("no", "").split(",") if entry.strip()]
        if "*" in exceptions:
            self._proxies = {}
        self._exceptions = {"no": ",".join(entry.lstrip("*") for entry in exceptions)}
        self._networks = [entry for entry in exceptions if "/" in entry]

    def for_url(self, url: str) -> dict[str, str]:
        """Return the proxy that a call to ``url`` takes, in requests' form; empty when it takes none."""
        if not self._proxies:
            return {}
        address = urlsplit(url)
        proxy = self._proxies.get(address.scheme) or self._proxies.get("all")
        if (
            not proxy
            or proxy_bypass_environment(address.netloc, self._exceptions)
            or any(_is_within(address.hostname or "", network) for network in self._networks)
        ):
            return {}
        return {address.scheme: proxy}


def _is_within(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def certificates() -> str | bool:
    """Return the file or folder of the certificates to trust, ``True`` for requests' own."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


_poll = get_original("select", "poll")


class _Current(threading.local):
    deadline: CallDeadline | None = None
    """Of the call that this thread or greenlet is making."""


_current = _Current()
_NOT_CONNECTED = "the call's time was up before it was connected"


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
        self.expired = True
        if (sock := self._socket) is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                # Closed in the same moment: there is nothing left to abort.
                return

    def _check(self) -> None:
        if self.expired:
            raise TimeoutError(_NOT_CONNECTED)

    def _drop_opened(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


class DeadlineSweeper:
    """Hands out deadlines and aborts what is due, from one thread, which ends when no call is under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakes = threading.Condition(self._lock)
        self._number = count()
        self._deadlines: list[tuple[float, int, CallDeadline]] = []
        self._runs = False

    def after(self, seconds: float) -> CallDeadline:
        deadline = CallDeadline(time.monotonic() + seconds)
        with self._lock:
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


_LONGEST_LINE, _MOST_FIELDS = 65_536, 100
"""Of an answer's head, as http.client has it."""

_NO_BODY = frozenset({204, 304})


class Answer(HTTPResponse):
    """An answer as http.client reads it, but for its head: that is read there as a mail's is, for 100 µs.

    It has as much of the face of urllib3's as its pool and :class:`~proxy.trustpilot.transport.Transport` look at.
    """

    headers: Any
    """By names in lower case; of a field that came twice the first counts."""
    version_string = "HTTP/1.1"
    _pool: Any = None
    _connection: Any = None

    def begin(self) -> None:
        status = 100
        # Any answer may be preceded by such as 103, asked for or not (RFC 9110, 15.2).
        while 100 <= status < 200:
            version, status, self.reason = self._read_status()  # type: ignore[attr-defined]  # http.client's
            fields = self._fields()
        if not version.startswith(("HTTP/1.", "HTTP/0.9")):
            raise UnknownProtocol(version)
        self.version = 10 if version in ("HTTP/1.0", "HTTP/0.9") else 11
        self.code = self.status = status
        self.headers = self.msg = fields  # type: ignore[assignment]  # http.client only calls `get`
        self.chunked = fields.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        length = fields.get("content-length", "")
        self.length = int(length) if length.isdecimal() and not self.chunked else None
        if status in _NO_BODY:
            self.length = 0
        closes: bool = self._check_close()  # type: ignore[attr-defined]  # http.client's
        self.will_close = closes or not (self.chunked or self.length is not None)

    def _fields(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        for _ in range(_MOST_FIELDS + 1):
            line = self.fp.readline(_LONGEST_LINE + 1)
            if len(line) > _LONGEST_LINE:
                raise LineTooLong("header line")
            if line in (b"\r\n", b"\n", b""):
                return fields
            name, _, value = line.decode("latin-1").partition(":")
            fields.setdefault(name.strip().lower(), value.strip())
        raise LineTooLong("head")

    @property
    def length_remaining(self) -> int | None:
        """Return how many bytes of the body are not read yet, ``None`` where nobody knows."""
        return self.length

    def read(self, amt: int | None = None, decode_content: bool = False) -> bytes:  # noqa: FBT001, FBT002  # urllib3's
        """Return the body, ``amt`` bytes at most. Raises ``HTTPException`` or urllib3's ``HTTPError``."""
        body = super().read(amt)
        if self.length and (amt is None or len(body) < amt):
            raise IncompleteRead(body, self.length)
        coding = self.headers.get("content-encoding") if decode_content else None
        if coding is None:
            return body
        # urllib3 knows all codings, and to stop unpacking at so many bytes.
        packed = urllib3.HTTPResponse(io.BytesIO(body), {"content-encoding": coding}, preload_content=False)
        return packed.read(amt, decode_content=True)

    def close(self) -> None:
        """Give the connection back to its pool, closed where something of the answer is left on it."""
        is_whole = self.isclosed()
        super().close()
        connection, self._connection = self._connection, None
        if connection is not None:
            if not is_whole:
                connection.close()
            self._pool._put_conn(connection)


class _Abortable:
    """Tells the current call's deadline which socket the call uses, as soon as there is one.

    A request leaves and an answer comes without what urllib3 looks after in either for any caller.
    """

    sock: Any
    timeout: Any
    response_class: Any = Answer

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
        deadline, left = _current.deadline, None
        if deadline is not None and is_module_patched("socket"):
            left = max(0.0, deadline.at - time.monotonic())
        sock: socket.socket | None = None
        # Before there is a socket to abort, its name is looked up, for which the system may take half a minute, and
        # each of its addresses is tried. Not by a TimeoutError: after that the next address would be.
        with gevent.Timeout(left, exception=False):
            sock = super()._new_conn()  # type: ignore[misc]  # mixed into urllib3's connections below
        if sock is None:
            raise TimeoutError(_NOT_CONNECTED)
        if deadline is not None:
            try:
                deadline.opened(sock)
            except TimeoutError:
                sock.close()
                raise
        return sock

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # as above
        if (deadline := _current.deadline) is not None:
            deadline.stands(self.sock)

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        # A kept-alive connection does not connect again.
        if self.sock is not None and (deadline := _current.deadline) is not None:
            deadline.stands(self.sock)
        super().putrequest(*args, **kwargs)  # type: ignore[misc]  # as above

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **_: Any) -> None:
        """Send a request whose headers are complete."""
        if self.sock is not None:
            self.sock.settimeout(self.timeout)
        self.putrequest(method, url, skip_accept_encoding=True)
        for name, value in headers.items():
            PlainConnection.putheader(self, name, value)  # type: ignore[arg-type]  # mixed into one
        self.endheaders(body)  # type: ignore[attr-defined]  # http.client's

    def getresponse(self) -> Any:
        """Return the answer, an :class:`Answer`, once its head is there."""
        self.sock.settimeout(self.timeout)
        return PlainConnection.getresponse(self)  # type: ignore[arg-type]  # as above


class _AbortableHTTP(_Abortable, HTTPConnection):
    pass


class _AbortableHTTPS(_Abortable, HTTPSConnection):
    pass


_ABORTABLE: dict[object, object] = {HTTPConnection: _AbortableHTTP, HTTPSConnection: _AbortableHTTPS}


class AbortableAdapter(HTTPAdapter):
    """requests' adapter, over connections that a :class:`CallDeadline` can abort.

    Without what costs much and nobody needs: a host's pool is found once, and of an answer only its status, its
    headers and its body are kept.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._verify = certificates()
        self._pools: dict[str, Any] = {}
        super().__init__(**kwargs)

    def answer(self, request: PreparedRequest, seconds: float, proxies: dict[str, str]) -> Any:
        """Send ``request``: where no proxy is in between, straight over a connection of its host's pool.

        Returns an :class:`Answer`, or urllib3's own; raises ``HTTPException`` too. The pool's own way looks after
        retries, redirects and addresses, of which there are none here.
        """
        if proxies:
            return self.send(request, stream=True, timeout=seconds, verify=self._verify, proxies=proxies)
        scheme, _, host, path = f"{request.url}/".split("/", 3)
        pool: Any = self._pools.get(scheme + host)
        if pool is None:
            # It always takes the same way.
            pool = self._pools[scheme + host] = self.get_connection_with_tls_context(request, self._verify)
            self.cert_verify(pool, request.url, self._verify, None)  # type: ignore[no-untyped-call]  # the library's
        connection = pool._get_conn()
        try:
            connection.timeout = seconds
            if connection.is_closed:
                connection.connect()
            connection.request(request.method, f"/{path[:-1]}", request.body, request.headers)
            answer: Answer = connection.getresponse()
        except BaseException:
            connection.close()
            pool._put_conn(connection)
            raise
        answer._pool, answer._connection = pool, connection
        return answer

    def build_response(self, req: PreparedRequest, resp: Any) -> Any:
        """Return the answer as it is: requests would add cookies, an encoding and a history."""
        return resp

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pool of connections to the host of a request, or through the proxy to it."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        # A SOCKS proxy brings connections of its own; the mere timeouts hold there.
        pool.ConnectionCls = _ABORTABLE.get(pool.ConnectionCls, pool.ConnectionCls)
        return pool
