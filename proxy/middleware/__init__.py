"""The WSGI layers in front of Flask, from the outside in: access log, allowed networks, and the secret in a query.

The innermost one is the response cache, beside this. Who calls is known by address (``PROXY_ALLOWED_CIDRS``), looked
at before anything else; and by a secret: HTTP Basic, or the secret alone as Bearer, ``X-Api-Key``, ``apikey``, or in
the query of a drop-in URL. No page of another site has a caller change anything.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote_plus, urlsplit

from flask import Response
from werkzeug.datastructures import Authorization
from werkzeug.exceptions import NotFound

from proxy.api import (
    DROP_IN_BATCH_SUMMARIES,
    RIGHT_FOR,
    SECRET_IN_QUERY,
    STARTED,
    Application,
    Headers,
    PrebuiltResponse,
    problem,
    route_of,
)
from proxy.clock import CAUSE
from proxy.events import Report, RequestFinished, new_request_id
from proxy.settings import Credential, Network, Settings

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    Write = object
    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

REQUEST_ID = "HTTP_X_REQUEST_ID"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SENDER = re.compile(r"[A-Za-z0-9._-]{1,40}")
_CACHE_STATES = frozenset({"hit", "stale", "miss"})

IN_PROCESS = "proxy.in_process"
"""In the WSGI environment, true for a call that this process makes to itself. No caller can set it: what comes over
the network and is not a standard variable begins with ``HTTP_``."""

OPEN_PATHS = frozenset({"/healthz", "/readyz"})

_READING = "/v1/"
_DESCRIBING = frozenset({"/openapi.json", "/docs"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WANTED = "no or a wrong credential; show one as HTTP Basic, Bearer, X-Api-Key or apikey"


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


def _finished(environ: WSGIEnvironment, status: str, headers: Headers, seconds: float) -> RequestFinished:
    # By the names as this application writes them.
    fields = dict(headers)
    cache = fields.get("X-Cache", "none")
    method, sender = environ["REQUEST_METHOD"], environ.get("HTTP_X_BRAZE_SENDER_VERSION", "")
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
        sender=sender if sender and _SENDER.fullmatch(sender) else "",
        replayed=fields.get("Idempotency-Replayed") == "true",
    )


def _skus(query: str) -> int:
    count = 0
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name in ("sku", "skus"):
            count += 1 + value.count(",") + value.upper().count("%2C")
    return count


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
        if environ.get("PATH_INFO") in OPEN_PATHS or IN_PROCESS in environ or self._allows(environ):
            return self._app(environ, start_response)
        return problem(403, "calls are not taken from this address")(environ, start_response)

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
        query = environ.get("QUERY_STRING", "")
        # Its name may be percent-encoded; without either sign it is not there.
        may_hold_it = "apikey" in query or "%" in query
        if may_hold_it and route_of(environ.get("PATH_INFO", "")) in SECRET_IN_QUERY:
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


def refusing(settings: Settings) -> Callable[[WSGIEnvironment], Response | None]:
    """Return what refuses a request without a credential, or from another site's page; ``None``: it may pass."""

    def refusal(environ: WSGIEnvironment) -> Response | None:
        # Not Flask's path, which begins with one slash however many the request has.
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        if path in OPEN_PATHS:
            return None
        if method not in _SAFE_METHODS and _is_cross_site(environ):
            return problem(
                403, "sent by a page of another site; only this proxy's own pages may change anything here"
            )
        if not _is_anonymous_reading(path, method):
            known = caller(environ, settings.credentials)
            if known is None:
                return unauthorized()
            right = RIGHT_FOR.get(route_of(path))
            if right and right not in known.rights:
                return problem(403, f"the credential may not do this; it takes one with the right {right}")
        if path.startswith("//") or not path.startswith("/"):
            # Flask would answer //metrics as /metrics, past a front that keeps that one inside.
            raise NotFound
        return None

    def _is_anonymous_reading(path: str, method: str) -> bool:
        reads = path.startswith(_READING) or path in _DESCRIBING
        by = method in _SAFE_METHODS or route_of(path) == DROP_IN_BATCH_SUMMARIES
        return settings.allow_anonymous and reads and by

    def unauthorized() -> Response:
        detail = _WANTED
        if settings.allow_anonymous:
            without = "" if settings.credentials else ", and PROXY_CREDENTIALS holds none"
            detail = f"this needs a credential{without}; PROXY_ALLOW_ANONYMOUS opens reading under /v1 only"
        response = problem(401, detail)
        response.headers["WWW-Authenticate"] = 'Basic realm="Connected Content proxy", charset="UTF-8"'
        return response

    return refusal


def _is_cross_site(environ: WSGIEnvironment) -> bool:
    """Tell whether a browser says that another site's page has it send this.

    A browser adds a stored Basic credential to whatever any page has it send. Servers such as Braze's and
    Trustpilot's send neither header. ``Sec-Fetch-Site`` counts first: it is the browser's own comparison, and holds
    behind a front that changes ``Host``. Browsers send it over TLS only, and ``Origin`` with each POST.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:
        return False
    try:
        claimed = urlsplit(origin)
        own = urlsplit(f"{claimed.scheme}://{environ.get('HTTP_HOST', '')}")
        return not claimed.hostname or _host(claimed) != _host(own)
    except ValueError:
        return True


def _host(address: SplitResult) -> tuple[str | None, int | None]:
    return address.hostname, address.port or _DEFAULT_PORTS.get(address.scheme)


def caller(environ: WSGIEnvironment, credentials: tuple[Credential, ...]) -> Credential | None:
    """Return which of ``credentials`` the request shows; takes as long for a near miss as for a far one.

    Of several with the same secret it is the one with the most rights.
    """
    shown = list(_shown(environ))
    known: Credential | None = None
    for name, secret in shown:
        for credential in credentials:
            same_secret = _same(secret, credential.secret)
            same_name = name is None or _same(name, credential.name)
            if same_secret and same_name and (known is None or len(known.rights) < len(credential.rights)):
                known = credential
    return known


def _shown(environ: WSGIEnvironment) -> Iterator[tuple[str | None, str]]:
    """Yield the ``(name, secret)`` pairs shown; a secret alone has no name."""
    for header in ("HTTP_X_API_KEY", "HTTP_APIKEY"):
        if secret := environ.get(header):
            yield None, secret
    authorization = Authorization.from_header(environ.get("HTTP_AUTHORIZATION"))
    if authorization is None:
        return
    if authorization.type == "basic":
        yield authorization.username or "", authorization.password or ""
    elif authorization.type == "bearer" and authorization.token:
        yield None, authorization.token


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))
