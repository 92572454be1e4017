"""HTTP to Trustpilot: pooled connections, the environment's proxies, a total time and a size that nothing exceeds."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from http.client import HTTPException
from importlib.metadata import version
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import requests
import urllib3

from proxy.events import CallEnded, CallStarted, Report, unheard
from proxy.trustpilot.call_deadline import AbortableAdapter, DeadlineSweeper
from proxy.trustpilot.errors import Malformed, Response, TimedOut, TrustpilotError, Unreachable

MAX_BODY_BYTES = 8 * 1024 * 1024
"""A page of 100 long reviews with photos is well below 1 MB; more than this is not a page of reviews."""

_KINDS = {
    "reviews": "reviews",
    "batch-summaries": "summaries",
    "deletions": "deletions",
    "accesstoken": "token",
    "email-invitations": "invitation",
}

_SHOP_KINDS = {"reviews": "feed", "summaries": "shop_summaries"}

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
        self._certificates = certificates()
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
        timeout: float | None = None,
    ) -> Response:
        """Return the answer, whatever its status; redirects are not followed.

        ``timeout`` shortens the total time, in seconds. Raises :class:`Unreachable`, :class:`TimedOut`, or
        :class:`Malformed` for a body over the cap; their ``received`` tells whether Trustpilot may have acted on the
        request all the same.
        """
        kind, started = kind_of(url), time.monotonic()
        outcome, size = "failed", 0
        self._report(CallStarted(kind))
        try:
            seconds = self.timeout if timeout is None else min(timeout, self.timeout)
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
                answer = self._adapter.send(
                    request,
                    stream=True,
                    timeout=(seconds, seconds),
                    verify=self._certificates,
                    proxies=self._proxies.for_url(request.url or ""),
                )
                with answer:
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
    """Return what a call to ``url`` is for, as one of a few words."""
    path = url.partition("?")[0]
    last = path.rpartition("/")[2]
    if "/private/product-reviews/" in path and last in _SHOP_KINDS:
        return _SHOP_KINDS[last]
    return _KINDS.get(last, "other")


def kinds() -> list[str]:
    """Return every word of :func:`kind_of`."""
    return [*dict.fromkeys([*_KINDS.values(), *_SHOP_KINDS.values()]), "other"]


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
        exceptions = [entry.strip() for entry in self._proxies.get("no", "").lower().split(",") if entry.strip()]
        self._everyone = "*" in exceptions
        self._names = [entry.lstrip("*").lstrip(".") for entry in exceptions]
        self._networks = [network for entry in exceptions if (network := _network(entry))]

    def for_url(self, url: str) -> dict[str, str]:
        """Return the proxy that a call to ``url`` takes, in requests' form; empty when it takes none."""
        if not self._proxies:
            return {}
        address = urlsplit(url)
        proxy = self._proxies.get(address.scheme) or self._proxies.get("all")
        if not proxy or self._everyone or self._is_excepted(address.hostname or "", address.port):
            return {}
        return {address.scheme: proxy}

    def _is_excepted(self, host: str, port: int | None) -> bool:
        for asked in (host, f"{host}:{port}"):
            if any(asked == name or asked.endswith("." + name) for name in self._names):
                return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def certificates() -> str | bool:
    """Return the file or folder of the certificates to trust, ``True`` for requests' own."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry.strip(), strict=False) if "/" in entry else None
    except ValueError:
        return None
