"""The WSGI layer in front of the app."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.api.responses import STARTED, TAKES_WHOLE, Whole, freshness_headers, own_headers, request_id
from proxy.cache import DeadlinePassed, State
from proxy.cache.flight import Flight
from proxy.clock import Deadline, Now
from proxy.middleware.held import HeldAnswers
from proxy.middleware.making import finished
from proxy.middleware.ready import Asked, Ready

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_READS = "/v1/"


class Lane:
    """Answers exact repeats of a read, and lets those who ask the same at once share one answer.

    Everything else passes through. Answers keep their status, body and headers, but for the request's own id and
    timing, and ``X-Cache``, ``Age`` and ``Cache-Control``, which say how fresh the answer is when it is repeated.
    """

    def __init__(self, app: WSGIApplication, held: HeldAnswers, now: Now, deadline_seconds: float) -> None:
        self._app = app
        self._held = held
        self._now = now
        self._deadline_seconds = deadline_seconds
        self._lock = threading.Lock()
        self._under_way: dict[Asked, Flight[Ready | None]] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes] | Whole:
        """Answer one request."""
        if environ["REQUEST_METHOD"] != "GET" or not environ["PATH_INFO"].startswith(_READS):
            return self._app(environ, start_response)
        started = time.monotonic()
        asked = Asked.of(environ)
        ready = self._held.get(asked)
        if ready is None:
            environ[STARTED] = started
            ready = self._shared(asked, environ, Deadline(started + self._deadline_seconds))
        own = own_headers(request_id(environ.get("HTTP_X_REQUEST_ID", "")), started)
        own.append(("Content-Length", str(len(ready.body))))
        own += freshness_headers(ready.made_of.freshness, self._now()) if ready.made_of else ready.as_told
        if TAKES_WHOLE in environ:
            return Whole(ready.status, ready.fields.written, own, ready.body)
        start_response(ready.status, [*ready.fields.pairs, *own])
        return (ready.body,)

    def forget(self, product: str) -> None:
        """Drop what was made from ``product``; who asks from now on shares nothing with those who asked before."""
        self._held.forget(product)
        with self._lock:
            self._under_way.clear()

    def clear(self) -> None:
        """Drop everything, as when the credentials change."""
        self._held.clear()
        with self._lock:
            self._under_way.clear()

    def _shared(self, asked: Asked, environ: WSGIEnvironment, deadline: Deadline) -> Ready:
        """Return the answer that somebody else is just having made, or have it made."""
        with self._lock:
            flight = self._under_way.get(asked)
            own: Flight[Ready | None] = Flight()
            if flight is None:
                self._under_way[asked] = own
        if flight is None:
            return self._led(asked, environ, own)
        try:
            ready = flight.wait(deadline)
        except DeadlinePassed:
            ready = None
        # Without an answer to share each asks for itself; its deadline runs from when it came.
        return ready or self._made(asked, environ)

    def _led(self, asked: Asked, environ: WSGIEnvironment, flight: Flight[Ready | None]) -> Ready:
        shared: Ready | None = None
        try:
            ready = self._made(asked, environ)
            # A bug's answer points to the log by its request id, which only one of them would have.
            shared = None if ready.status.startswith("500") else ready
            return ready
        finally:
            # Also when this greenlet is killed: nobody may be left waiting.
            with self._lock:
                if self._under_way.get(asked) is flight:
                    del self._under_way[asked]
            flight.land(shared)

    def _made(self, asked: Asked, environ: WSGIEnvironment) -> Ready:
        """Have the app answer, and hold the answer if it may be repeated."""
        since = self._held.mark()
        ready = finished(self._app, environ, gzip=asked.gzip)
        made_of = ready.made_of
        if made_of is not None and made_of.freshness.state is not State.STALE:
            repeated = replace(made_of, freshness=replace(made_of.freshness, state=State.HIT))
            self._held.hold(asked, replace(ready, made_of=repeated), since)
        return ready
