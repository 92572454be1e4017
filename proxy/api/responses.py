"""A 200: the JSON body, and the headers that say how fresh it is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import getrandbits
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from flask import Flask, Response, g, request

from proxy.cache import Freshness, State
from proxy.clock import Deadline, Now

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_STATES = {state: state.name.lower() for state in State}

STARTED = "proxy.started"
"""In the WSGI environment: when the request came, on the monotonic clock. Without it, it comes when Flask has it."""

SOURCES = "proxy.sources"
"""In the WSGI environment, once answered: the :class:`Sources` of an answer that says how fresh it is."""


NO_SNIFFING = ("X-Content-Type-Options", "nosniff")
"""Keeps browsers from guessing types."""

TAKES_PREBUILT = "proxy.takes_prebuilt"
"""In the WSGI environment, true where the server takes a :class:`PrebuiltResponse` instead of ``start_response``."""

Headers = Sequence[tuple[str, str]]


class PrebuiltResponse(NamedTuple):
    """A finished answer, as ready to travel as it can be."""

    status: str
    """As ``start_response`` takes it."""
    common: bytes
    """The header fields that it shares with others, written already."""
    own: Headers
    """The rest of its headers, ``Content-Length`` among them. Those of the connection are the server's."""
    body: bytes


def written(headers: Headers) -> bytes:
    """Return header fields as they travel, each with its line end."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers]).encode("latin-1")


Application = Callable[["WSGIEnvironment", "StartResponse"], "Iterable[bytes] | PrebuiltResponse"]
"""A WSGI application that may return a :class:`PrebuiltResponse` to a server that takes one."""


class Collected:
    """What a WSGI application answers, once it is called with this as its ``start_response``."""

    def __init__(self) -> None:
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self._chunks: list[bytes] = []

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: object = None, /
    ) -> Callable[[bytes], object]:
        """Begin the answer, or begin it anew; see PEP 3333."""
        self.status, self.headers = status, headers
        return self._chunks.append

    def body(self, answer: Iterable[bytes]) -> bytes:
        """Return the whole body of what the application returned, and close it."""
        try:
            self._chunks.extend(answer)
        finally:
            if close := getattr(answer, "close", None):
                close()
        return b"".join(self._chunks)


@dataclass(frozen=True, slots=True)
class Sources:
    """What an answer was made from: the products, as surrogate keys, and their freshness."""

    surrogate_keys: tuple[str, ...]
    """The names under which the cache holds the products; a change of one of them makes the answer invalid."""
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class Reply:
    """A 200, as a small WSGI application: what Flask too takes for an answer."""

    headers: list[tuple[str, str]]
    body: bytes
    sources: Sources | None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer with it."""
        if self.sources is not None:
            environ[SOURCES] = self.sources
        start_response("200 OK", self.headers)
        return (self.body,)


def answer(
    body: Mapping[str, Any] | str,
    sources: Sources | None,
    now: Now,
    ignored: str = "",
    *,
    content_type: str = "application/json",
) -> Reply:
    """Return ``body``, an object as JSON. Made of nothing (empty in place of an error) it is not fresh either."""
    written = body.encode("utf-8", "replace") if isinstance(body, str) else msgspec.json.encode(body)
    moment = now()
    freshness = Freshness(State.MISS, moment, moment) if sources is None else sources.freshness
    headers = [("Content-Type", content_type), ("Content-Length", str(len(written)))]
    headers += freshness_headers(freshness, moment)
    if ignored:
        headers.append(("X-Ignored-Parameters", ignored))
    return Reply([*headers, NO_SNIFFING], written, sources)


def freshness_headers(freshness: Freshness, moment: float) -> list[tuple[str, str]]:
    """Return the headers that say how fresh an answer is at ``moment`` (seconds since the epoch)."""
    return [
        ("X-Cache", _STATES[freshness.state]),
        ("Age", str(max(0, int(moment - freshness.as_of)))),
        ("Cache-Control", f"private, max-age={int(freshness.remaining(moment))}"),
    ]


def own_headers(request_id: str, started: float) -> list[tuple[str, str]]:
    """Return the headers that are one request's own: its id, and the time since it came."""
    return [
        ("X-Request-Id", request_id),
        ("Server-Timing", f"total;dur={(time.monotonic() - started) * 1000:.1f}"),
    ]


def request_id(given: str) -> str:
    """Return the id that the caller gave, if it is fit to be shown and logged, else a new one."""
    if given and _REQUEST_ID.fullmatch(given):
        return given
    return new_request_id()


def new_request_id() -> str:
    """Return an id that no other request has."""
    # It has to be different, not secret. Written as a UUID (RFC 9562, version 4), which tells it from a token.
    digits = f"{getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def deadline(seconds: float) -> Deadline:
    """Return the moment by which this request must be answered, ``seconds`` from when it came."""
    return Deadline(g.started + seconds)


def register_headers(app: Flask) -> None:
    """Give every answer its request id, its timing, and the header that keeps browsers from guessing types."""

    def start() -> None:
        g.request_id = request_id(request.headers.get("X-Request-Id", ""))
        g.started = request.environ.get(STARTED) or time.monotonic()

    def finish(response: Response) -> Response:
        response.headers.update([*own_headers(g.request_id, g.started), NO_SNIFFING])
        return response

    app.before_request(start)
    app.after_request(finish)
