"""The response cache: repeats an exact answer from ready bytes, before Flask, and lets identical requests share one.

A request reads as: the same was answered and may be repeated: repeat it; the same is being answered: wait for it;
else have the app answer, and store what may be repeated: a fresh answer while it is fresh, a stale one for a moment.
What refuses callers, by address say, has to stand before it.
"""

from __future__ import annotations

import math
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from proxy.api import (
    SOURCES,
    STARTED,
    TAKES_PREBUILT,
    Headers,
    PrebuiltResponse,
    Sources,
)
from proxy.cache import Call, DeadlinePassed, Freshness, State
from proxy.clock import Deadline, Now

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_READS = "/v1/"
STALE_SECONDS = 1.0
"""How long a stale response is repeated at most: its refresh may have failed, and the next one needs a request."""

_CHANGES_REMEMBERED = 1000
_OVERHEAD = 1000
"""Bytes a stored response costs beside its body and its request's text. Measured by
``tests/middleware/test_response_cache.py``."""

_INDEX_OVERHEAD = 300
"""Bytes that a surrogate key's place in the index costs, where it has one response."""

SMALLEST_COMPRESSED = 1000
"""Bytes: a smaller body fits into one network packet either way."""

_GZIP_LEVEL, _GZIP_BITS, _GZIP_MEMORY, _AS_GZIP = 6, 13, 6, 16
"""As zlib takes them. Measured: 20 µs for 2 KB, 70 with its own window of 15 bits, for as few bytes."""

_BY_AGE = frozenset({"x-cache", "age", "cache-control"})
_LEFT_OUT = _BY_AGE | {"content-length"}


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


class RequestKey(NamedTuple):
    """All of a GET that its answer depends on. Two requests that differ in a credential never share an answer."""

    path: str
    query: str
    authorization: str | None
    x_api_key: str | None
    apikey: str | None
    gzip: bool

    @classmethod
    def of(cls, environ: WSGIEnvironment) -> RequestKey:
        get = environ.get
        return cls(
            environ["PATH_INFO"],
            get("QUERY_STRING", ""),
            get("HTTP_AUTHORIZATION"),
            get("HTTP_X_API_KEY"),
            get("HTTP_APIKEY"),
            accepts_gzip(get("HTTP_ACCEPT_ENCODING", "")),
        )

    def __repr__(self) -> str:
        # It holds credentials, and a repr ends up in logs.
        return f"RequestKey({self.path!r})"


def written(headers: Headers) -> bytes:
    """Return header fields as they travel, each with its line end."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers]).encode("latin-1")


class HeaderFields(NamedTuple):
    """Header fields that responses have in common: as pairs, and as they travel."""

    pairs: tuple[tuple[str, str], ...]
    written: bytes

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, pairs: tuple[tuple[str, str], ...]) -> HeaderFields:
        """Return the same fields for the same pairs, so that thousands of stored responses share them."""
        return cls(pairs, written(pairs))


class CachedResponse(Struct, frozen=True):
    """A response without how fresh it is by now."""

    status: str
    fields: HeaderFields
    body: bytes
    sources: Sources | None
    """``None`` when it must not be repeated."""
    freshness_fields: tuple[tuple[str, str], ...] = ()
    """How fresh it is, as the app said, when it has no sources."""

    @property
    def surrogate_keys(self) -> tuple[str, ...]:
        """The names of the products it was made from."""
        return self.sources.surrogate_keys if self.sources else ()

    def weight(self, key: RequestKey) -> int:
        """Return the bytes of memory that storing the response takes."""
        surrogate_keys = sum(sys.getsizeof(name) + _INDEX_OVERHEAD for name in set(self.surrogate_keys))
        # The only field that is as long as a caller likes; it is stored one by one and written.
        ignored = sum(2 * len(value) for name, value in self.fields.pairs if name == "X-Ignored-Parameters")
        own = sys.getsizeof(self.body) + sys.getsizeof(key.path) + sys.getsizeof(key.query)
        return own + surrogate_keys + ignored + _OVERHEAD


class _Stored(NamedTuple):
    response: CachedResponse
    since: float
    until: float
    weight: int


class _Invalidation(NamedTuple):
    surrogate_key: str
    stale_only: bool


class ResponseStore:
    """Responses by request key, bounded in bytes. When there is no room the oldest leaves: it expires next."""

    def __init__(self, max_bytes: int, now: Now, longest: float = math.inf) -> None:
        """``longest``: seconds a response is repeated at most, where changes elsewhere may be missed."""
        self._now = now
        self._longest = longest
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._responses: dict[RequestKey, _Stored] = {}
        self._by_surrogate_key: dict[str, set[RequestKey]] = {}
        self.stored_bytes = 0
        """By :meth:`CachedResponse.weight`."""
        self._invalidations = 0
        self._invalidated: deque[_Invalidation] = deque(maxlen=_CHANGES_REMEMBERED)
        # In the order in which they expire, so that only those of the last second are ever looked through.
        self._stale: dict[RequestKey, None] = {}

    def get(self, key: RequestKey) -> CachedResponse | None:
        # Without the lock: this is all that most requests need, and one look into a dictionary is whole by itself.
        stored = self._responses.get(key)
        # A clock set back would have it repeated for longer than it is fresh.
        if stored is None or not stored.since <= self._now() < stored.until:
            return None
        return stored.response

    def generation(self) -> int:
        """Return the moment from which a response is being made, for :meth:`put`."""
        return self._invalidations

    def put(self, key: RequestKey, response: CachedResponse, generation: int) -> None:
        """Store what may be repeated, unless one of its surrogate keys was invalidated since ``generation``."""
        if response.sources is None:
            return
        is_stale = response.sources.freshness.state is State.STALE
        until = self._repeat_until(response.sources.freshness)
        stored = _Stored(response, self._now(), until, response.weight(key))
        with self._lock:
            missed = self._invalidations - generation
            if missed > len(self._invalidated) or stored.weight > self._max_bytes:
                return
            surrogate_keys = set(response.sources.surrogate_keys)
            for invalidation in islice(reversed(self._invalidated), missed):
                if invalidation.surrogate_key in surrogate_keys and (is_stale or not invalidation.stale_only):
                    return
            self._drop(key)
            self._drop_expired_stale()
            self._responses[key] = stored
            for surrogate_key in surrogate_keys:
                self._by_surrogate_key.setdefault(surrogate_key, set()).add(key)
            if is_stale:
                self._stale[key] = None
            self.stored_bytes += stored.weight
            while self.stored_bytes > self._max_bytes:
                self._drop(next(iter(self._responses)))

    def invalidate(self, surrogate_key: str) -> None:
        """Drop the responses made from ``surrogate_key``, also those that are just being made."""
        with self._lock:
            self._note(_Invalidation(surrogate_key, stale_only=False))
            for key in list(self._by_surrogate_key.get(surrogate_key, ())):
                self._drop(key)

    def drop_stale(self, surrogate_key: str) -> None:
        """Drop the stale responses made from ``surrogate_key``, also those that are just being made."""
        with self._lock:
            self._note(_Invalidation(surrogate_key, stale_only=True))
            for key in self._stale.keys() & self._by_surrogate_key.get(surrogate_key, set()):
                self._drop(key)

    def clear(self) -> None:
        """Drop all responses, also those that are just being made: who may call, or anything else, has changed."""
        with self._lock:
            self._invalidations += _CHANGES_REMEMBERED + 1
            self._responses.clear()
            self._by_surrogate_key.clear()
            self._stale.clear()
            self.stored_bytes = 0

    def __len__(self) -> int:
        return len(self._responses)

    def _repeat_until(self, freshness: Freshness) -> float:
        longest = self._now() + self._longest
        if freshness.state is State.STALE:
            return min(freshness.gone_at, self._now() + STALE_SECONDS, longest)
        return min(freshness.fresh_until, longest)

    def _note(self, invalidation: _Invalidation) -> None:
        self._invalidations += 1
        self._invalidated.append(invalidation)

    def _drop_expired_stale(self) -> None:
        now = self._now()
        while self._stale and self._responses[key := next(iter(self._stale))].until <= now:
            self._drop(key)

    def _drop(self, key: RequestKey) -> None:
        self._stale.pop(key, None)
        stored = self._responses.pop(key, None)
        if stored is None:
            return
        self.stored_bytes -= stored.weight
        for surrogate_key in stored.response.surrogate_keys:
            keys = self._by_surrogate_key[surrogate_key]
            keys.discard(key)
            if not keys:
                del self._by_surrogate_key[surrogate_key]


class ResponseCache:
    """The WSGI layer that repeats exact reads, and lets identical requests share one response.

    ``HEAD`` is answered as ``GET``, without the body; everything else passes through. Responses keep their status,
    body and headers, but for ``X-Cache``, ``Age`` and ``Cache-Control``, which say how fresh the response is when it
    is repeated.
    """

    def __init__(
        self,
        app: WSGIApplication,
        store: ResponseStore,
        now: Now,
        deadline_seconds: float,
        *,
        hear_changes: Callable[[], None] = lambda: None,
    ) -> None:
        """``hear_changes`` has what others changed invalidated, before a response is repeated."""
        self._hear_changes = hear_changes
        self._app = app
        self._store = store
        self._now = now
        self._deadline_seconds = deadline_seconds
        self._lock = threading.Lock()
        self._calls: dict[RequestKey, Call[CachedResponse | None]] = {}
        self._late: dict[RequestKey, Call[CachedResponse | None]] = {}
        """Of calls under way, what those get whose time is up before."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes] | PrebuiltResponse:
        if environ["REQUEST_METHOD"] != "GET" or not environ["PATH_INFO"].startswith(_READS):
            return self._other(environ, start_response)
        key = RequestKey.of(environ)
        self._hear_changes()
        response = self._store.get(key)
        if response is None:
            response = self._shared(key, environ, Deadline.since(environ.get(STARTED), self._deadline_seconds))
        own = [("Content-Length", str(len(response.body)))]
        sources = response.sources
        own += sources.freshness.headers(self._now()) if sources else response.freshness_fields
        if TAKES_PREBUILT in environ:
            return PrebuiltResponse(response.status, response.fields.written, own, response.body)
        start_response(response.status, [*response.fields.pairs, *own])
        return (response.body,)

    def _other(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "HEAD" or not environ["PATH_INFO"].startswith(_READS):
            return self._app(environ, start_response)
        # Every header is what GET would send, the length of a compressed body too (RFC 9110, 8.6 and 9.3.2).
        self({**environ, "REQUEST_METHOD": "GET"}, start_response)
        return ()

    def invalidate(self, surrogate_key: str) -> None:
        """Drop what was made from ``surrogate_key``; later requests share nothing with those under way."""
        self._store.invalidate(surrogate_key)
        with self._lock:
            self._calls.clear()
            self._late.clear()

    def drop_stale(self, surrogate_key: str) -> None:
        """Drop the stale responses made from ``surrogate_key``: a refresh of it landed."""
        self._store.drop_stale(surrogate_key)

    def clear(self) -> None:
        """Drop everything, as when the credentials change."""
        self._store.clear()
        with self._lock:
            self._calls.clear()
            self._late.clear()

    def _shared(self, key: RequestKey, environ: WSGIEnvironment, deadline: Deadline) -> CachedResponse:
        """Return the response that an identical request is just having made, or have it made."""
        while True:
            with self._lock:
                call = self._calls.get(key)
                own: Call[CachedResponse | None] = Call()
                if call is None:
                    self._calls[key] = own
            if call is None:
                return self._lead(key, environ, own)
            try:
                response = call.wait(deadline)
            except DeadlinePassed:
                return self._late_response(key, environ, call)
            if response is None:
                # Without a response to share each asks for itself; its deadline runs from when it came.
                return self._make(key, environ)
            # Whoever came first ran out of time first. What it waited for may come in time for those far behind it.
            has_time = deadline.remaining() > self._deadline_seconds / 2
            if not (has_time and response.status.startswith("504")):
                return response

    def _late_response(
        self, key: RequestKey, environ: WSGIEnvironment, call: Call[CachedResponse | None]
    ) -> CachedResponse:
        """Return what is answered when the time is up: made once for all who wait for ``call``.

        They are many exactly when there is no time to make each its own.
        """
        stored = self._store.get(key)
        if stored is not None:
            return stored
        with self._lock:
            late = self._late.get(key)
            own: Call[CachedResponse | None] = Call()
            if late is None:
                self._late[key] = own
        if late is not None:
            try:
                shared = late.wait(Deadline.after(self._deadline_seconds))
            except DeadlinePassed:
                shared = None
            return shared or self._make(key, environ)
        response: CachedResponse | None = None
        try:
            response = self._make(key, environ)
            return response
        finally:
            with self._lock:
                # What was made from products may be out of date for those who come later.
                is_kept = response is not None and response.sources is None and self._calls.get(key) is call
                if not is_kept and self._late.get(key) is own:
                    del self._late[key]
            own.set_result(None if response is None or response.status.startswith("500") else response)

    def _lead(self, key: RequestKey, environ: WSGIEnvironment, call: Call[CachedResponse | None]) -> CachedResponse:
        shared: CachedResponse | None = None
        try:
            # Working an answer out takes several times as long as repeating one. Those that came meanwhile and can be
            # answered at once are, and whoever is to be worked out waits in the order in which they came.
            time.sleep(0)
            response = self._make(key, environ)
            # A bug's answer points to the log by its request id, which only one of them would have.
            shared = None if response.status.startswith("500") else response
            return response
        finally:
            # Also when this greenlet is killed: nobody may be left waiting.
            with self._lock:
                if self._calls.get(key) is call:
                    del self._calls[key]
                self._late.pop(key, None)
            call.set_result(shared)

    def _make(self, key: RequestKey, environ: WSGIEnvironment) -> CachedResponse:
        generation = self._store.generation()
        response = _finished(self._app, environ, compress=key.gzip)
        sources = response.sources
        if sources is not None:
            # What was a miss is a hit when it is repeated; what was stale stays so.
            freshness = sources.freshness
            if freshness.state is State.MISS:
                repeated = Sources(sources.surrogate_keys, replace(freshness, state=State.HIT))
                self._store.put(key, replace(response, sources=repeated), generation)
            else:
                self._store.put(key, response, generation)
        return response


def _finished(app: WSGIApplication, environ: WSGIEnvironment, *, compress: bool) -> CachedResponse:
    """Return the app's whole response, compressed if the caller takes that and the body is worth it."""
    collected = Collected()
    body = collected.body(app(environ, collected))
    headers = collected.headers
    sources: Sources | None = environ.get(SOURCES)
    kept = [(name, value) for name, value in headers if name.lower() not in _LEFT_OUT]
    # What is not made of copies has no age that goes on.
    freshness_fields = () if sources else tuple(pair for pair in headers if pair[0].lower() in _BY_AGE)
    if len(body) >= SMALLEST_COMPRESSED:
        kept.append(("Vary", "Accept-Encoding"))
        if compress:
            kept.append(("Content-Encoding", "gzip"))
            body = compressed(body)
    return CachedResponse(collected.status, HeaderFields.of(tuple(kept)), body, sources, freshness_fields)


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether a caller who sends this ``Accept-Encoding`` takes gzip (RFC 9110, 12.5.3)."""
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, *parameters = [piece.strip() for piece in part.split(";")]
        weights[coding] = min((_weight(parameter) for parameter in parameters), default=1.0)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def compressed(body: bytes) -> bytes:
    """Return ``body`` as gzip, the same bytes each time."""
    # A window no larger than it can use: making the usual one ready takes longer than compressing a block.
    bits = _GZIP_BITS if len(body) <= 1 << _GZIP_BITS else zlib.MAX_WBITS
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _AS_GZIP + bits, _GZIP_MEMORY)
    return compressor.compress(body) + compressor.flush()


def _weight(parameter: str) -> float:
    """Return the weight that ``q=…`` gives; what can't be read gives none."""
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
