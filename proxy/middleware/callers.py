"""Who calls: looked at before anything else, by address (``PROXY_ALLOWED_CIDRS``) and by a secret in the query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from proxy.api.auth import OPEN_PATHS
from proxy.api.errors import problem
from proxy.api.responses import Application, PrebuiltResponse
from proxy.api.routes import SECRET_IN_QUERY, route_of
from proxy.settings import Network

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

IN_PROCESS = "proxy.in_process"
"""In the WSGI environment, true for a call that this process makes to itself. No caller can set it: what comes over
the network and is not a standard variable begins with ``HTTP_``."""


class AllowedNetworks:
    """Lets requests from ``networks`` pass, and those for the open health paths, which load balancers ask for.

    A call from within the process passes as well: who asked for it has passed, or runs a command on this machine.

    Behind ``hops`` trusted proxies the caller is the address that the outermost of them wrote into
    ``X-Forwarded-For``. Each of them appends the address it was called from, so what stands further left is the
    caller's own word and is not looked at.
    """

    def __init__(self, app: Application, networks: Sequence[Network], hops: int) -> None:
        self._app = app
        self._networks = networks
        self._hops = hops

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes] | PrebuiltResponse:
        """Answer one request."""
        if environ.get("PATH_INFO") in OPEN_PATHS or IN_PROCESS in environ or self._allows(environ):
            return self._app(environ, start_response)
        refusal = problem(403, "calls are not taken from this address")
        refusal.headers["X-Request-Id"] = environ.get("HTTP_X_REQUEST_ID", "")
        return refusal(environ, start_response)

    def _allows(self, environ: WSGIEnvironment) -> bool:
        address = caller_address(environ, self._hops)
        if address is None:
            return False
        return any(address in network for network in self._networks if network.version == address.version)


def caller_address(environ: WSGIEnvironment, hops: int) -> IPv4Address | IPv6Address | None:
    """Return who calls; ``None`` when the trusted proxies did not say, so somebody came past them."""
    if not hops:
        return _address(environ.get("REMOTE_ADDR", ""))
    chain = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
    return _address(chain[-hops].strip()) if len(chain) >= hops else None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 callers as ::ffff:a.b.c.d.
    if isinstance(address, IPv6Address) and address in _MAPPED:
        return address.ipv4_mapped
    return address


_MAPPED = IPv6Network("::ffff:0:0/96")


class SecretFromQuery:
    """Takes the secret that the drop-in URLs may carry as ``apikey=`` out of the query, into the header ``apikey``.

    It sits in front of all that reads, keeps, repeats or tells the query, so none of it ever sees the secret, and an
    answer is shared with those who send the header. A header that is there already counts, and not the query.
    """

    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes] | PrebuiltResponse:
        """Answer one request."""
        query = environ.get("QUERY_STRING", "")
        if query and route_of(environ.get("PATH_INFO", "")) in SECRET_IN_QUERY:
            self._move(query, environ)
        return self._app(environ, start_response)

    def _move(self, query: str, environ: WSGIEnvironment) -> None:
        kept, secrets = [], []
        for pair in query.split("&"):
            name, _, value = pair.partition("=")
            if unquote_plus(name) == "apikey":
                secrets.append(unquote_plus(value))
            else:
                kept.append(pair)
        if not secrets:
            return
        environ["QUERY_STRING"] = "&".join(kept)
        for raw in ("RAW_URI", "REQUEST_URI"):
            environ.pop(raw, None)
        if secrets[0]:
            environ.setdefault("HTTP_APIKEY", secrets[0])
