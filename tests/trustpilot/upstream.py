"""What Trustpilot could answer, word by word, on a real socket in this process: what was asked is kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from proxy.cache import Group, MemoryBackend
from proxy.cache.backend import Window
from proxy.clock import Priority, spawn
from proxy.trustpilot import QuotaUsedUp, TrustpilotError
from proxy.trustpilot.circuit_breaker import Bulkhead, Call, CircuitBreaker
from proxy.trustpilot.client import Calls, Trustpilot
from proxy.trustpilot.private import Grant, Tokens
from proxy.trustpilot.quota import Quota
from proxy.trustpilot.transport import Transport


@dataclass(frozen=True)
class Asked:
    """One request. ``path`` is as it was sent; ``query`` is what stood behind it, in its order."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes


class Upstream:
    """Answers each request with the next of ``answers``, the last one for good; or with what ``answer`` says."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], tuple[int, object]] | None = None
        self.answers: list[tuple[int, object]] = [(200, {})]
        self.headers: dict[str, str] = {}
        self.connections = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # or the second of two small packets waits for the first one's receipt

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def _answer(self) -> None:
                outer._answer(self)

            do_GET = do_POST = _answer  # noqa: N815  # the names by which http.server calls it

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        address = urlsplit(request.path)
        asked = Asked(request.command, address.path, parse_qsl(address.query), dict(request.headers), body)
        self.asked.append(asked)
        if self.answer:
            status, answer = self.answer(asked)
        else:
            status, answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        sent = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        request.send_response(status)
        for name, value in {"Content-Length": str(len(sent)), **self.headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(sent)

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    server.start()
    try:
        yield server
    finally:
        server.close()


class Attempt:
    """A call that the breaker let pass, whose outcome is told later. Raises :class:`Paused` where it does not."""

    def __init__(self, breaker: CircuitBreaker, call: Call) -> None:
        self._made = breaker.attempt(call, Priority.FOREGROUND)
        self._made.__enter__()
        _ATTEMPTS.append(self)

    def succeeded(self) -> None:
        self._made.__exit__(None, None, None)

    def failed(self, error: TrustpilotError) -> None:
        assert not self._made.__exit__(type(error), error, None)

    def withdrawn(self) -> None:
        self.failed(QuotaUsedUp("no calls are left"))


_ATTEMPTS: list[Attempt] = []
"""Else Python would end those whose outcome nobody waits for."""


class Walk:
    """The way of a call to the API at ``url``, and what was reported on it. ``now`` is the breaker's clock."""

    def __init__(self, url: str, *, calls: int = 1000, key: str = "the key") -> None:
        self.events: list[object] = []
        self.now = 1_000_000.0
        self.transport = Transport(timeout=60, concurrency=4, report=self.events.append)
        self.bulkhead = Bulkhead(4)
        self.breaker = CircuitBreaker(lambda: self.now, report=self.events.append)
        self.quota = Quota(MemoryBackend(), [Window("hour", calls, 3600)])
        self.calls = Calls(self.transport, self.bulkhead, self.breaker, self.quota, self.events.append)
        self.client = Trustpilot(self.calls, api_url=url, api_key=key, report=self.events.append)
        grant = Grant(self.calls, api_url=url, api_key="k", api_secret="s", now=lambda: self.now)
        self.tokens = Tokens(
            grant.fetch, MemoryBackend(), Group(spawn), lambda: self.now, account="a", fetch_seconds=60
        )

    @property
    def used(self) -> int:
        """How much of the quota is used."""
        return self.quota.uses()[0].used
