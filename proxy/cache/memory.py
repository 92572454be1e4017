"""The backend in this process's memory, and the bounded table of entries that it and the cache's L1 are made of."""

from __future__ import annotations

import math
import sys
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Generic, TypeVar

from cachetools import Cache, LRUCache, TLRUCache

from proxy.cache.backend import (
    CHANGES_REMEMBERED,
    DAY_SECONDS,
    EXACT_SECONDS,
    Change,
    Changes,
    Lock,
    Product,
    Usage,
    Use,
    Window,
)
from proxy.cache.entry import Key

V = TypeVar("V")
W = TypeVar("W")

_OVERHEAD = 1100
"""Bytes an entry costs beside its value and its key's text: the entry, its floats, the key tuple, its places in the
table's two dictionaries and among its product's parts, and what the allocator loses between them. Measured by
``tests/cache/test_memory.py``."""

_HOLES = 10
"""Entries of different sizes leave holes between them that few others fit into: at most a tenth of what they take."""

_RECORDS = 100_000
"""About 60 MB. Beyond it the records used least recently are forgotten before their time."""

_GENERATIONS = 100_000
_TRIMMED_AT = 10_000


def weight(key: Key, value: bytes) -> int:
    """Return the bytes of memory that keeping ``value`` takes."""
    size = sys.getsizeof(value) + sys.getsizeof(key.product) + sys.getsizeof(key.part) + _OVERHEAD
    return size + size // _HOLES


class EntryTable(Generic[V]):
    """Values by key up to ``max_bytes`` in all, the least recently used leaving first. Not safe for threads."""

    def __init__(self, max_bytes: int, report_eviction: Callable[[], None] = lambda: None) -> None:
        self._entries: _Entries[V] = _Entries(max_bytes, report_eviction)

    def get(self, key: Key) -> V | None:
        """Return the value of ``key`` and mark it as used."""
        weighed = self._entries.get(key)
        return weighed[1] if weighed else None

    def put(self, key: Key, value: V, kept: bytes) -> None:
        """Keep ``value``, which weighs as ``kept`` does; one that is larger than the whole table is not kept."""
        size = weight(key, kept)
        if size > self._entries.maxsize:
            self._entries.pop(key, None)
        else:
            self._entries[key] = (size, value)

    def drop(self, key: Key) -> None:
        self._entries.pop(key, None)

    def parts(self, product: str) -> dict[str, V]:
        """Return the values kept of ``product`` by part, without marking them."""
        return {key.part: self._entries.unmarked(key) for key in self._entries.keys_of(product)}

    def keys(self, prefix: str) -> list[Key]:
        """Return the keys of the products that begin with ``prefix``."""
        return [key for key in self._entries if key.product.startswith(prefix)]

    def values(self) -> list[V]:
        """Return all values, without marking them."""
        return [self._entries.unmarked(key) for key in self._entries]

    @property
    def size(self) -> int:
        """The bytes kept now, by :func:`weight`."""
        return int(self._entries.currsize)

    def __len__(self) -> int:
        return len(self._entries)


class _Entries(LRUCache[Key, tuple[int, V]]):
    """cachetools' LRU cache, weighing entries in bytes, with an index by product."""

    def __init__(self, max_bytes: int, report_eviction: Callable[[], None]) -> None:
        super().__init__(max_bytes, getsizeof=lambda weighed: weighed[0])
        self._report_eviction = report_eviction
        self._keys: dict[str, list[Key]] = {}

    def __setitem__(self, key: Key, weighed: tuple[int, V]) -> None:
        new = key not in self
        super().__setitem__(key, weighed)
        if new:
            self._keys.setdefault(key.product, []).append(key)

    def __delitem__(self, key: Key) -> None:
        super().__delitem__(key)
        keys = self._keys[key.product]
        keys.remove(key)
        if not keys:
            del self._keys[key.product]

    def keys_of(self, product: str) -> list[Key]:
        return list(self._keys.get(product, ()))

    def unmarked(self, key: Key) -> V:
        return Cache.__getitem__(self, key)[1]

    def popitem(self) -> tuple[Key, tuple[int, V]]:
        evicted = super().popitem()
        self._report_eviction()
        return evicted


def _kept(most: int, clock: Callable[[], float]) -> TLRUCache[str, tuple[W, float]]:
    """Return a table of values, each with the seconds that it is kept."""
    return TLRUCache(most, ttu=lambda _key, value, now: now + value[1], timer=clock)


class CallLog:
    """Moments of calls, in order, and how many there were on each day."""

    def __init__(self) -> None:
        self._moments: list[float] = []
        self._days: dict[int, int] = {}
        self._before_today: dict[tuple[int, int], int] = {}
        """Calls on the days before one, by that day and the length of the window."""

    def add(self, moment: float, now: float, calls: int = 1, *, by_day: bool = True) -> None:
        """Log ``calls``. One before the newest is logged with that: the log stays in order."""
        self._moments += [max(moment, self._moments[-1] if self._moments else moment)] * calls
        day = int(now // DAY_SECONDS)
        self._days[day] = self._days.get(day, 0) + calls * by_day
        old = bisect_right(self._moments, now - EXACT_SECONDS)
        if old > _TRIMMED_AT:
            del self._moments[:old]

    def use(self, window: Window, now: float) -> Use:
        if window.seconds > EXACT_SECONDS:
            used = self._used_before(int(now // DAY_SECONDS), window) + self._days.get(int(now // DAY_SECONDS), 0)
            return Use(window, used, 0.0) if used < window.calls else days_use(self._days, window, now)
        first = bisect_right(self._moments, now - window.seconds)
        used = len(self._moments) - first
        if used < window.calls:
            return Use(window, used, 0.0)
        # Were it less than the window holds already, there is room for one more only when so many have left.
        leaves = self._moments[first + used - window.calls] if window.calls else now
        return Use(window, used, leaves + window.seconds - now)

    def _used_before(self, today: int, window: Window) -> int:
        """Return the calls in ``window`` before ``today``, added up once a day: it is asked twice for each call."""
        length = window.seconds // DAY_SECONDS
        if (today, length) not in self._before_today:
            self._before_today = {key: used for key, used in self._before_today.items() if key[0] == today}
            within = (calls for day, calls in self._days.items() if today - length < day < today)
            self._before_today[today, length] = sum(within)
        return self._before_today[today, length]


def counts_by_day(windows: Sequence[Window]) -> bool:
    """Tell whether one of ``windows`` is counted by the day."""
    return any(window.seconds > EXACT_SECONDS for window in windows)


def days_use(days: Mapping[int, int], window: Window, now: float) -> Use:
    """Return how much of ``window`` is used, given the calls by day since the epoch."""
    length = window.seconds // DAY_SECONDS
    today = int(now // DAY_SECONDS)
    counted = {day: calls for day, calls in days.items() if day > today - length}
    used = sum(counted.values())
    over, frees_in = used - window.calls, 0.0
    if over < 0:
        return Use(window, used, frees_in)
    for day in sorted(counted):
        if over < 0:
            break
        over -= counted[day]
        frees_in = (day + length) * DAY_SECONDS - now
    return Use(window, used, frees_in)


class MemoryBackend:
    """Keeps everything in this process only. ``clock``: seconds that never go back."""

    is_heard = True
    l1_ttl = math.inf

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        """``max_bytes``: of entries. 0: none, where the cache above keeps them in the same memory anyway."""
        self.keeps_entries = max_bytes > 0
        self._clock = clock
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._entries: EntryTable[tuple[bytes, float]] = EntryTable(max_bytes)
        self._generations: TLRUCache[str, tuple[int, float]] = _kept(_GENERATIONS, clock)
        self._records: TLRUCache[str, tuple[bytes, float]] = _kept(_RECORDS, clock)
        self._locks: dict[str, tuple[str, float]] = {}
        """By name, the token of the holder and until when it holds."""
        self._calls = CallLog()
        self._generation = 0
        self._tokens = count()
        self._changes: deque[Change] = deque(maxlen=CHANGES_REMEMBERED)
        self._cursor = 0

    def read(self, product: str, part: str | None = None) -> Product:
        with self._lock:
            now = self._clock()
            if part is None:
                parts = self._entries.parts(product)
            else:
                entry = self._entries.get(Key(product, part))
                parts = {part: entry} if entry else {}
            kept = {name: entry for name, (entry, until) in parts.items() if now < until}
            return Product(kept, self._generation_of(product))

    def write(
        self, product: str, part: str, entry: bytes, generation: int, *, ttl: float, lock: Lock | None = None
    ) -> bool:
        with self._lock:
            kept = self._generation_of(product) <= generation
            if kept:
                self._entries.put(Key(product, part), (entry, self._clock() + ttl), entry)
            if lock is not None:
                self._unlock(lock)
            lock_name = lock.name if lock else ""
            self._note(Change("written" if kept else "released", product, generation, lock_name))
            return kept

    def replace(self, product: str, parts: Mapping[str, bytes], generation: int | None, *, ttl: float) -> int | None:
        with self._lock:
            if generation is not None and self._generation_of(product) > generation:
                return None
            self._generation += 1
            self._generations[product] = (self._generation, ttl)
            for part in self._entries.parts(product):
                self._entries.drop(Key(product, part))
            for part, entry in parts.items():
                self._entries.put(Key(product, part), (entry, self._clock() + ttl), entry)
            self._note(Change("replaced", product, self._generation))
            return self._generation

    def scan(self, prefix: str) -> Iterator[tuple[str, str, bytes]]:
        with self._lock:
            keys = self._entries.keys(prefix)
        for key in keys:
            entry = self.read(*key).parts.get(key.part)
            if entry is not None:
                yield key.product, key.part, entry

    def lock(self, name: str, ttl: float) -> Lock | None:
        with self._lock:
            _, until = self._locks.get(name, ("", 0.0))
            now = self._clock()
            if now < until:
                return None
            lock = Lock(name, str(next(self._tokens)))
            self._locks[name] = (lock.token, now + ttl)
            return lock

    def prolong(self, lock: Lock, ttl: float) -> bool:
        with self._lock:
            is_held = self._unlock(lock)
            if is_held:
                self._locks[lock.name] = (lock.token, self._clock() + ttl)
            return is_held

    def release(self, lock: Lock, outcome: bytes = b"") -> None:
        with self._lock:
            if self._unlock(lock):
                self._note(Change("released", lock=lock.name, outcome=outcome))

    def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        with self._lock:
            kept = self._records.get(key)
            if kept is None:
                self._records[key] = (value, ttl)
            return kept[0] if kept else None

    def set(self, key: str, value: bytes, ttl: float) -> None:
        with self._lock:
            self._records[key] = (value, ttl)

    def get(self, key: str) -> bytes | None:
        with self._lock:
            kept = self._records.get(key)
            return kept[0] if kept else None

    def remove(self, key: str, expected: bytes) -> None:
        with self._lock:
            kept = self._records.get(key)
            if kept and kept[0] == expected:
                del self._records[key]

    def count(self, windows: Sequence[Window], calls: int = 1, *, missed: Sequence[float] = ()) -> Usage:
        with self._lock:
            now = self._clock()
            by_day = counts_by_day(windows)
            for age in sorted(missed, reverse=True):
                self._calls.add(now - age, now, by_day=by_day)
            uses = tuple(self._calls.use(window, now) for window in windows)
            if not calls or any(use.used + calls > use.window.calls for use in uses):
                return Usage(counted=False, uses=uses)
            self._calls.add(now, now, calls, by_day=by_day)
            return Usage(counted=True, uses=tuple(self._after(use, calls, now) for use in uses))

    def _after(self, use: Use, calls: int, now: float) -> Use:
        """Return ``use`` once so many more ``calls`` are logged: only of a full window more has to be found out."""
        used = use.used + calls
        return use._replace(used=used) if used < use.window.calls else self._calls.use(use.window, now)

    def changes(self, since: int) -> Changes:
        if since == self._cursor:
            return Changes(since)
        with self._lock:
            missed = self._cursor - since
            items = tuple(islice(self._changes, max(0, len(self._changes) - missed), None))
            return Changes(self._cursor, items, complete=missed <= len(self._changes))

    def wait(self, since: int, seconds: float) -> None:
        with self._lock:
            self._condition.wait_for(lambda: self._cursor != since, seconds)

    def is_reachable(self) -> bool:
        return True

    def close(self) -> None:
        """There is nothing to let go of."""

    def _generation_of(self, product: str) -> int:
        raised = self._generations.get(product)
        return raised[0] if raised else 0

    def _unlock(self, lock: Lock) -> bool:
        token, until = self._locks.get(lock.name, ("", 0.0))
        if token != lock.token:
            return False
        del self._locks[lock.name]
        return self._clock() < until

    def _note(self, change: Change) -> None:
        self._cursor += 1
        self._changes.append(change._replace(is_own=True))
        self._condition.notify_all()
