"""The transport of a preview: calls go to this proxy's own app, in this process, and to nothing else.

There is no socket here at all, so no spelling of an address reaches another host.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from contextvars import Context
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import SplitResult, urlsplit
from wsgiref.types import WSGIApplication

from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from proxy.clock import TRIES_OUT
from proxy.middleware.callers import IN_PROCESS
from proxy.preview.braze import BodyTooLargeError, NoAnswerInTimeError, RefusedError, Request, Response

PUBLIC_NAMES = ("reviews.example.com", "api.trustpilot.com", "invitations-api.trustpilot.com")
"""Stand for this proxy in any preview: the documentation's name, and the hosts of tags about to be moved over."""

_TOKEN = "/v1/oauth/oauth-business-users-for-applications/accesstoken"  # noqa: S105  # an address
_ALL_CALLS_SECONDS = 15.0
_DEFAULT_PORTS = {"http": 80, "https": 443}

Spawn = Callable[[Callable[[], None]], None]


@dataclass(frozen=True)
class InProcessTransport:
    """Sends a template's calls to ``app``.

    ``names`` are the hosts (``host`` or ``host:port``) that stand for this proxy. ``spawn`` runs a job beside
    the caller. All calls of one preview together have 15 seconds. What fails counts nowhere: the live proxy's breaker
    stays closed and its cache as it was; and it is asked for once, however often a tag's ``:retry`` asks.
    """

    app: WSGIApplication
    names: Iterable[str]
    spawn: Spawn
    until: float = field(default_factory=lambda: time.monotonic() + _ALL_CALLS_SECONDS)
    _failed: dict[str, Response] = field(default_factory=dict)

    def send(self, request: Request) -> Response:
        """Answer ``request`` from the app; see `proxy.preview.braze.wire.Transport`."""
        parts = urlsplit(request.url)
        self._check_host(parts)
        _check_call(request.method, parts.path)
        if request.method == "GET" and request.url in self._failed:
            # Braze would ask again; asking Trustpilot again and again is no preview's business.
            return self._failed[request.url]
        left = self.until - time.monotonic()
        if left <= 0:
            raise RefusedError(f"the preview's {_ALL_CALLS_SECONDS:g} seconds for all calls are used up")
        answer: Future[Response] = Future()

        def job() -> None:
            try:
                # In an empty context: Flask before 3.1.2 takes the asking request's for this call's own.
                answer.set_result(Context().run(self._answered, request, parts))
            except Exception as error:  # noqa: BLE001  # handed to the caller, who raises it
                answer.set_exception(error)

        # Beside the caller and not in it: the app must not take this call for a part of the request that asked.
        self.spawn(job)
        try:
            response = answer.result(min(left, request.timeout_seconds))
        except TooLate as error:
            raise NoAnswerInTimeError("the proxy did not answer in time") from error
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._failed[request.url] = response
        if len(response.body) > request.max_body_bytes:
            raise BodyTooLargeError("the answer is too large")
        return response

    def _answered(self, request: Request, parts: SplitResult) -> Response:
        TRIES_OUT.set(True)
        builder = EnvironBuilder(
            method=request.method,
            path=parts.path,
            query_string=parts.query,
            base_url=f"{parts.scheme}://{parts.netloc}/",
            headers=Headers(list(request.headers.items())),
            data=request.body,
            environ_overrides={IN_PROCESS: True},
        )
        try:
            chunks, status, headers = run_wsgi_app(self.app, builder.get_environ(), buffered=True)
        finally:
            builder.close()
        body = b"".join(chunks)
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        return Response(int(status.partition(" ")[0]), dict(headers), body)

    def _check_host(self, parts: SplitResult) -> None:
        own = {_address(urlsplit(f"{parts.scheme}://{name}")) for name in (*self.names, *PUBLIC_NAMES)}
        if _address(parts) not in own:
            raise RefusedError(
                f"a preview calls this proxy only, and {parts.netloc} is not its name. "
                f"In place of the proxy's own name a tag may also have {' or '.join(PUBLIC_NAMES[:2])}"
            )


def _address(parts: SplitResult) -> tuple[str, int | None]:
    return parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)


def _check_call(method: str, path: str) -> None:
    """Let through what only reads, and the token a template may ask for."""
    if method == "POST" and path == _TOKEN:
        return
    if method == "POST":
        invites = path == "/v1/invitations" or path.endswith("/email-invitations")
        because = "it would invite a customer" if invites else "a preview only reads"
        raise RefusedError(f"not sent from a preview: {because}")
    if not path.startswith("/v1/"):
        raise RefusedError("a preview calls the proxy's reading addresses only; they start with /v1/")
