"""L1, this process's memory, in front of a backend that others may share.

Before each read of L1 the changes of others are applied to it, so what one process updates, invalidates or fetches is
in the next answer of every other. What began before a change is never stored after it: in L1 by ``_version``, in the
backend by its generation. While the backend is down the process serves on from L1 and fetches for itself.

:class:`Feed` is what is heard of the others: their changes in time for the next read, and the end of a lock at once.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import NamedTuple

from cachetools import TTLCache
from msgspec.structs import replace

from proxy.cache.backend import Backend, BackendDown, Change, Lock
from proxy.cache.entry import Ages, BadEnvelope, Entry, FailedElsewhere, Key, Lifetimes, State, pack, unpack
from proxy.cache.memory import L1, L1Entry, weight
from proxy.clock import Now, Spawn, in_turns

WRITE_BACK_SECONDS = 5.0
"""How long what the backend did not take is kept from it, until it is tried again."""

_ATTEMPTS = 100
_REMEMBERED = 100_000
_log = logging.getLogger(__name__)


class Found(NamedTuple):
    """What was found for a key, and the generation that its product has; 0 while the backend is down."""

    entry: Entry | None
    generation: int


class FetchLock(NamedTuple):
    """The right to fetch one key, among all processes that share the backend, until it expires.

    ``lock`` is ``None`` while the backend is down.
    """

    key: Key
    lock: Lock | None
    generation: int
    version: int


class Tiered:
    """Entries by key: in L1, up to ``l1_bytes``, and in the backend behind it."""

    def __init__(
        self,
        backend: Backend,
        lifetimes: Lifetimes,
        now: Now,
        spawn: Spawn,
        *,
        l1_bytes: int,
        fetch_seconds: float,
        report_eviction: Callable[[], None] = lambda: None,
    ) -> None:
        """``fetch_seconds``: longer than any fetch takes."""
        self.lifetimes = lifetimes
        self.backend = backend
        self._now = now
        self._fetch_seconds = fetch_seconds
        self._remember_seconds = max(lifetimes.longest, 2 * fetch_seconds)
        self._lock = threading.Lock()
        self._l1 = L1(l1_bytes, report_eviction)
        self._versions: TTLCache[str, int] = TTLCache(_REMEMBERED, 2 * fetch_seconds, timer=time.monotonic)
        self._version = 0
        """Counts the changes; whatever began before the last one of its product is not put into L1."""
        self._bad: TTLCache[Key, bool] = TTLCache(1000, 2 * fetch_seconds, timer=time.monotonic)
        self.when_changed: list[Callable[[str], None]] = []
        """Called with each product that is invalidated or updated, here or by another process."""
        self.when_refreshed: list[Callable[[str], None]] = []
        """Called likewise with each product of which a part landed, once that part can be read."""
        self.when_missed: list[Callable[[], None]] = []
        """Called when others may have changed something that was not heard."""
        self._confirmed: Callable[[Key], tuple[float, float]] = lambda _key: (0.0, 0.0)
        self._ages = Ages(0, 0, 0, 0.0, 0.0)
        self._ages_until = 0.0
        self.feed = Feed(backend, spawn, self._on_change, self._miss)

    def get(self, key: Key) -> Found:
        """Return the best entry there is for ``key``, whatever its state."""
        self.feed.drain()
        cached = self._in_l1(key)
        found = Found(cached.entry, cached.generation) if cached is not None else Found(None, 0)
        if cached is None or not self._is_checked(cached):
            with suppress(BackendDown):
                found = self._ask(key)
            cached = self._in_l1(key)
        if cached is not None:
            cached.is_read = True
        return found if found.entry is None else Found(self._as_confirmed(key, found.entry), found.generation)

    def drop_l1(self, product: str) -> None:
        """Keep nothing of ``product`` in L1; what the backend has stays."""
        with self._lock:
            self._l1.drop(product)

    def was_read(self, product: str) -> bool:
        """Tell whether what L1 has of ``product`` was asked for since it was put there, or confirmed."""
        return any(cached.is_read for cached in self._l1_parts(product).values())

    def parts(self, product: str) -> tuple[dict[str, Entry], int]:
        """Return every cached part of ``product``, and its generation. Raises :class:`BackendDown`."""
        kept = self.backend.read(product)
        entries = {part: self._unpacked(Key(product, part), envelope) for part, envelope in kept.parts.items()}
        parts = {part: entry for part, entry in entries.items() if entry is not None}
        for part, each in self._l1_parts(product).items():
            if each.generation >= kept.generation and (part not in parts or each.entry.as_of > parts[part].as_of):
                parts[part] = each.entry
        return parts, kept.generation

    def put(self, key: Key, entry: Entry, generation: int) -> bool:
        """Cache ``entry`` unless its product changed since ``generation``; tell whether it is cached.

        Raises :class:`BackendDown`.
        """
        version = self._version
        kept = self._write(key, entry, generation, None) and self._keep(key, entry, generation, version)
        if kept:
            for listener in self.when_refreshed:
                listener(key.product)
        return kept

    def confirm_with(self, confirmed: Callable[[Key], tuple[float, float]]) -> None:
        """Ask ``confirmed`` of each key from when to when all that happened to it is known to be cached."""
        self._confirmed = confirmed

    def acquire_lock(self, key: Key, generation: int) -> FetchLock | Entry:
        """Return the right to fetch ``key``, or the fresh entry that makes fetching needless.

        Waits while another process fetches it. Raises :class:`FailedElsewhere` when that fetch fails.
        """
        version = self._version
        try:
            while True:
                # With the generation in its name: who fetches since before a change keeps nobody from fetching after.
                ended = self.feed.acquire(f"{generation}:{key.product}:{key.part}", self._fetch_seconds)
                if not isinstance(ended, Lock) and ended.outcome:
                    raise FailedElsewhere.unpack(ended.outcome)
                # It may have landed since it was looked for.
                entry, current = self._ask(key)
                entry = entry and self._as_confirmed(key, entry)
                if entry is not None and self.lifetimes.state(entry, self._now()) is State.HIT:
                    if isinstance(ended, Lock):
                        self.backend.release(ended)
                    return entry
                if isinstance(ended, Lock):
                    if current == generation:
                        return FetchLock(key, ended, generation, version)
                    self.backend.release(ended)
                generation, version = current, self._version
        except BackendDown:
            return FetchLock(key, None, generation, version)

    def update(self, product: str, change: Callable[[str, Entry], Entry | None]) -> None:
        """Put every cached part of ``product`` through ``change``; what is just being fetched is not stored.

        ``change`` gets a part's name and its entry, and returns the entry to cache instead, or ``None`` to drop the
        part. Raises :class:`BackendDown` when only this process's could be changed.
        """
        try:
            generation, parts = self._replaced(product, change)
        except BackendDown:
            cached = {part: each.entry for part, each in self._l1_parts(product).items()}
            self._apply(product, _updated(cached, change), 0)
            raise
        self._apply(product, parts, generation)

    def invalidate(self, product: str) -> None:
        """Drop every part of ``product``, also those that are just being fetched.

        Raises :class:`BackendDown` when only this process's could be dropped.
        """
        generation: int | None = 0
        try:
            generation = self.backend.replace(product, {}, None, ttl=self._remember_seconds)
        finally:
            self._apply(product, {}, generation or 0)

    def scan(self, prefix: str, look: Callable[[str, str, Entry], None]) -> None:
        """Show ``look`` every cached part of the products named ``prefix…``, some perhaps twice.

        Raises :class:`BackendDown` when only this process's could be shown.
        """
        for key, cached in self._l1_entries(prefix):
            look(key.product, key.part, cached)
        for product, part, envelope in self.backend.scan(prefix):
            entry = self._unpacked(Key(product, part), envelope)
            if entry is not None:
                look(product, part, entry)

    def confirm(self, key: Key, at: float) -> bool:
        """Note that what is cached for ``key`` is still what a fetch would bring, as of ``at``; tell whether it is.

        Raises :class:`BackendDown`.
        """
        entry, generation = self._ask(key)
        if entry is None or entry.outdated_at < math.inf:
            return False
        return self.put(key, replace(entry, confirmed_at=max(at, entry.confirmed_at)), generation)

    @property
    def l1_bytes(self) -> int:
        """Return the bytes that L1 holds now."""
        return int(self._l1.currsize)

    def __len__(self) -> int:
        return len(self._l1)

    def ages(self) -> Ages:
        """Return how old the entries of L1 are, or were a moment ago.

        Each takes 3 µs: of ten thousand it is found out every ten seconds, and others have their turn in between.
        """
        if time.monotonic() >= self._ages_until:
            entries = in_turns(self._as_confirmed(key, cached) for key, cached in self._l1_entries(""))
            self._ages = Ages.of(entries, self.lifetimes, self._now())
            self._ages_until = time.monotonic() + len(self) / 1000
        return self._ages

    def commit(self, lock: FetchLock, entry: Entry) -> None:
        """Cache what ``lock``'s fetch brought, unless its product changed meanwhile; wake all who wait for it."""
        seconds = math.inf
        try:
            kept = self._write(lock.key, entry, lock.generation, lock.lock)
        except BackendDown:
            # L1 has it; the backend gets it when it is back.
            kept, seconds = True, WRITE_BACK_SECONDS
        if kept and self._keep(lock.key, entry, lock.generation, lock.version, seconds):
            for listener in self.when_refreshed:
                listener(lock.key.product)

    def abandon(self, lock: FetchLock, error: Exception | None) -> None:
        """Wake all who wait, with the reason why there is nothing; ``None`` lets them try themselves."""
        if lock.lock is not None:
            # While the backend is down the lock ends by itself, and those who wait look after it.
            with suppress(BackendDown):
                self.backend.release(lock.lock, FailedElsewhere.pack(error) if error else b"")

    def _ask(self, key: Key) -> Found:
        """Return the better of what the backend has and what is in L1, and give each what the other has."""
        version = self._version
        product = self.backend.read(key.product, key.part)
        envelope = product.parts.get(key.part)
        entry = None if envelope is None else self._unpacked(key, envelope)
        # Looked up only now: a fetch may have landed while the backend was asked.
        cached = self._in_l1(key)
        if cached is not None and cached.generation >= product.generation:
            if entry is None or cached.entry.as_of > entry.as_of:
                self._write_back(key, cached)
                return Found(cached.entry, product.generation)
        elif cached is not None and entry is None:
            # Changed by somebody while this process did not hear.
            with self._lock:
                self._l1.pop(key, None)
        if entry is not None:
            self._keep(key, entry, product.generation, version)
        return Found(entry, product.generation)

    def _l1_parts(self, product: str) -> dict[str, L1Entry]:
        with self._lock:
            return self._l1.parts(product)

    def _l1_entries(self, prefix: str) -> Iterator[tuple[Key, Entry]]:
        with self._lock:
            keys = [key for key in self._l1 if key.product.startswith(prefix)]
        # By key: a list of entries would keep those alive that leave L1 meanwhile.
        for key in keys:
            with self._lock:
                cached = self._l1.look(key)
            if cached is not None:
                yield key, cached.entry

    def _in_l1(self, key: Key) -> L1Entry | None:
        with self._lock:
            return self._l1.get(key)

    def _write_back(self, key: Key, cached: L1Entry) -> None:
        if self._is_checked(cached):
            return
        # Even where it is not taken: the backend was asked, and knows nothing better.
        self._check(cached)
        try:
            self._write(key, cached.entry, cached.generation, None)
        except BackendDown:
            self._check(cached, WRITE_BACK_SECONDS)

    def _write(self, key: Key, entry: Entry, generation: int, lock: Lock | None) -> bool:
        ttl = max(0.001, self.lifetimes.kept_until(entry) - self._now())
        packed = pack(entry) if self.backend.keeps_entries else b""
        return self.backend.write(key.product, key.part, packed, generation, ttl=ttl, lock=lock)

    def _replaced(self, product: str, change: Callable[[str, Entry], Entry | None]) -> tuple[int, dict[str, Entry]]:
        """Change what the backend and L1 have of ``product``, in the backend."""
        for _ in range(_ATTEMPTS):
            parts, before = self.parts(product)
            updated = _updated(parts, change)
            packed = {part: pack(entry) for part, entry in updated.items()}
            until = max(map(self.lifetimes.kept_until, updated.values()), default=0.0)
            ttl = max(self._remember_seconds, until - self._now())
            generation = self.backend.replace(product, packed, before, ttl=ttl)
            if generation is not None:
                return generation, updated
        raise BackendDown("the product is being changed by others all the time")

    def _apply(self, product: str, parts: Mapping[str, Entry], generation: int) -> None:
        """Have L1 hold ``parts`` and nothing else of ``product``, and tell the listeners that it changed."""
        with self._lock:
            self._version += 1
            self._versions[product] = self._version
            self._l1.drop(product)
            for part, entry in parts.items():
                self._put(Key(product, part), entry, generation)
        for listener in self.when_changed:
            listener(product)

    def _keep(self, key: Key, entry: Entry, generation: int, version: int, checked_seconds: float = math.inf) -> bool:
        """Put ``entry`` into L1 unless its product changed since ``version``; tell whether it is there."""
        with self._lock:
            if self._versions.get(key.product, 0) > version:
                return False
            self._put(key, entry, generation, checked_seconds)
            return True

    def _put(self, key: Key, entry: Entry, generation: int, checked_seconds: float = math.inf) -> None:
        cached = L1Entry(entry, generation, weight(key, entry.value))
        self._check(cached, checked_seconds)
        self._l1.put(key, cached)

    def _check(self, cached: L1Entry, seconds: float = math.inf) -> None:
        """Have the backend be asked about ``cached`` again after so many ``seconds``, or its own time."""
        ttl = min(seconds, self.backend.l1_ttl)
        cached.checked_until = time.monotonic() + ttl if self.backend.is_heard else 0.0

    def _is_checked(self, cached: L1Entry) -> bool:
        return self.backend.is_heard and time.monotonic() < cached.checked_until

    def _on_change(self, change: Change) -> None:
        if change.is_own or change.kind == "released":
            return
        if change.kind == "replaced":
            self._apply(change.product, {}, change.generation)
            return
        with self._lock:
            self._doubt(change.product)
        for listener in self.when_refreshed:
            listener(change.product)

    def _miss(self) -> None:
        with self._lock:
            for product in {key.product for key in self._l1}:
                self._doubt(product)
        for listener in self.when_missed:
            listener()

    def _doubt(self, product: str) -> None:
        for cached in self._l1.parts(product).values():
            cached.checked_until = 0.0

    def _as_confirmed(self, key: Key, entry: Entry) -> Entry:
        if entry.outdated_at < math.inf:
            return entry
        since, at = self._confirmed(key)
        return replace(entry, confirmed_at=at) if since <= entry.as_of < at else entry

    def _unpacked(self, key: Key, envelope: bytes) -> Entry | None:
        try:
            return unpack(envelope, self._now())
        except BadEnvelope as bad:
            # It is met until it is fetched anew, and logged once.
            with self._lock:
                first = key not in self._bad
                self._bad[key] = True
            if first:
                _log.warning("what is cached for %s is ignored: %s", key.product, bad)
            return None


def _updated(parts: Mapping[str, Entry], change: Callable[[str, Entry], Entry | None]) -> dict[str, Entry]:
    updated = {part: change(part, entry) for part, entry in parts.items()}
    return {part: entry for part, entry in updated.items() if entry is not None}


_LONGEST_NAP_SECONDS = 1.0
"""A holder that died tells nobody: after this long the lock is tried again."""

_PAUSE_SECONDS = 0.05


class Feed:
    """Passes a backend's changes on to listeners and to those who wait for a lock."""

    def __init__(
        self, backend: Backend, spawn: Spawn, on_change: Callable[[Change], None], on_gap: Callable[[], None]
    ) -> None:
        """``on_change`` is called with each change, this process's own too, some perhaps twice.

        ``on_gap`` is called when changes were missed: whatever was read before may be old.
        """
        self._on_change = on_change
        self._on_gap = on_gap
        self._backend = backend
        self._spawn = spawn
        self._cursor = 0
        self._are_last: Callable[[], bool] = lambda: False
        self._lock = threading.Lock()
        self._waiters: dict[str, list[queue.SimpleQueue[Change | None]]] = {}
        """By lock, where each who waits hears of its end; of ``None``, that nobody knows."""
        self._is_pumping = False

    def drain(self) -> None:
        """Pass on all that has happened by now."""
        if self._are_last():
            return
        try:
            changes = self._backend.changes(self._cursor)
        except BackendDown:
            return
        if not changes.complete:
            self._on_gap()
        for change in changes.items:
            self._on_change(change)
        # Only now: another thread that finds nothing new has to find it passed on.
        self._cursor, self._are_last = max(self._cursor, changes.cursor), changes.are_last
        if self._waiters:
            self._wake(changes.items, complete=changes.complete)

    def acquire(self, name: str, ttl: float) -> Lock | Change:
        """Take the lock ``name``, or wait until its holder is done and return how it ended.

        Raises :class:`BackendDown`.
        """
        lock = self._backend.lock(name, ttl)
        if lock is not None:
            return lock
        with self._expecting(name) as heard:
            # Once more: it may have been released before anybody here listened for it.
            while (lock := self._backend.lock(name, ttl)) is None:
                nap = _LONGEST_NAP_SECONDS if self._backend.is_heard else _PAUSE_SECONDS
                with suppress(queue.Empty):
                    if (change := heard.get(timeout=nap)) is not None:
                        return change
        return lock

    @contextmanager
    def _expecting(self, name: str) -> Iterator[queue.SimpleQueue[Change | None]]:
        heard: queue.SimpleQueue[Change | None] = queue.SimpleQueue()
        with self._lock:
            self._waiters.setdefault(name, []).append(heard)
            starts, self._is_pumping = not self._is_pumping, True
        if starts:
            self._spawn(self._pump)
        try:
            yield heard
        finally:
            with self._lock:
                self._waiters[name].remove(heard)
                if not self._waiters[name]:
                    del self._waiters[name]

    def _pump(self) -> None:
        """Drain while somebody waits for a lock: else the next read does it."""
        while True:
            with self._lock:
                if not self._waiters:
                    self._is_pumping = False
                    return
            try:
                self._backend.wait(self._cursor, _LONGEST_NAP_SECONDS)
            except BackendDown:
                time.sleep(_PAUSE_SECONDS)
            self.drain()

    def _wake(self, changes: Sequence[Change], *, complete: bool) -> None:
        with self._lock:
            for change in changes:
                for waiter in self._waiters.get(change.lock, ()) if change.lock else ():
                    waiter.put(change)
            if not complete:
                # Last: who knows how its lock ended need not try it again.
                for waiter in chain.from_iterable(self._waiters.values()):
                    waiter.put(None)
