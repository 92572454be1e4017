"""Has the app answer a request to the end, and makes the answer ready to be sent and repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.api.responses import MADE_OF, MadeOf
from proxy.middleware.compression import SMALLEST_WORTH, compressed
from proxy.middleware.ready import Fields, Ready

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

_EACH_ITS_OWN = frozenset({"content-length", "x-request-id", "server-timing"})
_BY_AGE = frozenset({"x-cache", "age", "cache-control"})
_LEFT_OUT = _EACH_ITS_OWN | _BY_AGE


def finished(app: WSGIApplication, environ: WSGIEnvironment, *, gzip: bool) -> Ready:
    """Return the app's whole answer, compressed if the caller takes that and the body is worth it."""
    told: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: object = None, /
    ) -> Callable[[bytes], object]:
        told.append((status, headers))
        return written.append

    answered = app(environ, start_response)
    try:
        written.extend(answered)
    finally:
        if close := getattr(answered, "close", None):
            close()
    body = b"".join(written)
    status, headers = told[-1]
    made_of: MadeOf | None = environ.get(MADE_OF)
    kept = [(name, value) for name, value in headers if name.lower() not in _LEFT_OUT]
    # What is not made of copies has no age that goes on.
    fresh = () if made_of else tuple(pair for pair in headers if pair[0].lower() in _BY_AGE)
    if len(body) >= SMALLEST_WORTH:
        kept.append(("Vary", "Accept-Encoding"))
        if gzip:
            kept.append(("Content-Encoding", "gzip"))
            body = compressed(body)
    return Ready(status, Fields.of(tuple(kept)), body, made_of, fresh)
