"""Who may call: HTTP Basic, or a secret alone as Bearer, ``X-Api-Key`` or ``apikey``."""

from __future__ import annotations

import hmac
from collections.abc import Iterator

from flask import Flask, Request, Response, request

from proxy.api.errors import problem
from proxy.settings import Credential, Settings

OPEN_PATHS = frozenset({"/healthz", "/readyz"})


def register_credentials(app: Flask, settings: Settings) -> None:
    """Refuse every request without a credential before it reaches its endpoint."""

    def check() -> Response | None:
        if request.path in OPEN_PATHS:
            return None
        if settings.allow_anonymous and request.method in ("GET", "HEAD", "OPTIONS"):
            return None
        if is_known(request, settings.credentials):
            return None
        response = problem(401, "no or a wrong credential; show one as HTTP Basic, Bearer, X-Api-Key or apikey")
        response.headers["WWW-Authenticate"] = 'Basic realm="Connected Content proxy", charset="UTF-8"'
        return response

    app.before_request(check)


def is_known(asked: Request, credentials: tuple[Credential, ...]) -> bool:
    """Tell whether the request shows one of ``credentials``."""
    return caller(asked, credentials) is not None


def caller(asked: Request, credentials: tuple[Credential, ...]) -> Credential | None:
    """Return which of ``credentials`` the request shows; takes as long for a near miss as for a far one."""
    shown = list(_shown(asked))
    known: Credential | None = None
    for name, secret in shown:
        for credential in credentials:
            same_secret = _same(secret, credential.secret)
            same_name = name is None or _same(name, credential.name)
            if same_secret and same_name:
                known = credential
    return known


def _shown(asked: Request) -> Iterator[tuple[str | None, str]]:
    """Yield the ``(name, secret)`` pairs shown; a secret alone has no name."""
    for header in ("X-Api-Key", "apikey"):
        if secret := asked.headers.get(header):
            yield None, secret
    authorization = asked.authorization
    if authorization is None:
        return
    if authorization.type == "basic":
        yield authorization.username or "", authorization.password or ""
    elif authorization.type == "bearer" and authorization.token:
        yield None, authorization.token


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))
