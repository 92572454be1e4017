"""This process's memory: the bounded table of entries, and the backend of a process that shares with no other."""

from __future__ import annotations

import math
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import TypeVar

from cachetools import Cache, LRUCache, TLRUCache
from msgspec import Struct

from proxy.cache.backend import DAY_SECONDS, EXACT_SECONDS, Changes, Lock, Product, Usage, Use, Window
from proxy.cache.entry import Entry, Key

T = TypeVar("T")

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


class L1Entry(Struct, gc=False):
    """An entry in L1. Until ``checked_until`` (monotonic) nothing but the feed is asked whether it is still so.

    ``is_read``: somebody asked for it since it is there.
    """

    entry: Entry
    generation: int
    weight: int
    checked_until: float = 0.0
    is_read: bool = False


class L1(LRUCache[Key, L1Entry]):
    """Entries up to ``max_bytes`` in all, the least recently used leaving first. Not safe for threads.

    ``get`` marks an entry as used; :meth:`parts` and :meth:`look` do not.
    """

    def __init__(self, max_bytes: int, report_eviction: Callable[[], None] = lambda: None) -> None:
        super().__init__(max_bytes, getsizeof=lambda cached: cached.weight)
        self._report_eviction = report_eviction
        self._parts: dict[str, list[str]] = {}

    def put(self, key: Key, cached: L1Entry) -> None:
        """Keep ``cached``; an entry that is larger than the whole table is not kept."""
        self.pop(key, None)
        if cached.weight <= self.maxsize:
            self[key] = cached
            self._parts.setdefault(key.product, []).append(key.part)

    def __delitem__(self, key: Key) -> None:
        super().__delitem__(key)
        parts = self._parts[key.product]
        parts.remove(key.part)
        if not parts:
            del self._parts[key.product]

    def popitem(self) -> tuple[Key, L1Entry]:
        evicted = super().popitem()
        self._report_eviction()
        return evicted

    def drop(self, product: str) -> None:
        """Keep nothing of ``product``."""
        for part in self._parts.get(product, [])[:]:
            del self[Key(product, part)]

    def look(self, key: Key) -> L1Entry | None:
        return Cache.__getitem__(self, key) if key in self else None

    def parts(self, product: str) -> dict[str, L1Entry]:
        """Return what is kept of ``product``, by part."""
        return {part: Cache.__getitem__(self, Key(product, part)) for part in self._parts.get(product, ())}


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
    """What a process has that shares with no other: there is nothing to hear, and all entries are in L1 already.

    ``clock``: seconds that never go back.
    """

    is_heard = True
    keeps_entries = False
    l1_ttl = math.inf

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._generations: TLRUCache[str, tuple[int, float]] = _kept(_GENERATIONS, clock)
        self._records: TLRUCache[str, tuple[bytes, float]] = _kept(_RECORDS, clock)
        self._calls = CallLog()
        self._generation = 0
        self._tokens = count()

    def read(self, product: str, part: str | None = None) -> Product:
        with self._lock:
            return Product({}, self._generations.get(product, (0, 0.0))[0])

    def write(
        self, product: str, part: str, entry: bytes, generation: int, *, ttl: float, lock: Lock | None = None
    ) -> bool:
        if lock is not None:
            self.release(lock)
        return self.read(product).generation <= generation

    def replace(self, product: str, parts: Mapping[str, bytes], generation: int | None, *, ttl: float) -> int | None:
        with self._lock:
            if generation is not None and self.read(product).generation > generation:
                return None
            self._generation = max(int(time.time() * 1_000_000), self._generation + 1)
            self._generations[product] = (self._generation, ttl)
            return self._generation

    def scan(self, prefix: str) -> Iterator[tuple[str, str, bytes]]:
        return iter(())

    def lock(self, name: str, ttl: float) -> Lock | None:
        lock = Lock(name, str(next(self._tokens)))
        return lock if self.add(f"lock:{name}", lock.token.encode(), ttl) is None else None

    def prolong(self, lock: Lock, ttl: float) -> bool:
        with self._lock:
            is_held = self.get(f"lock:{lock.name}") == lock.token.encode()
            if is_held:
                self.set(f"lock:{lock.name}", lock.token.encode(), ttl)
            return is_held

    def release(self, lock: Lock, outcome: bytes = b"") -> None:
        self.remove(f"lock:{lock.name}", lock.token.encode())

    def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        with self._lock:
            kept = self.get(key)
            if kept is None:
                self.set(key, value, ttl)
            return kept

    def set(self, key: str, value: bytes, ttl: float) -> None:
        with self._lock:
            self._records[key] = (value, ttl)

    def get(self, key: str) -> bytes | None:
        with self._lock:
            kept = self._records.get(key)
            return kept[0] if kept else None

    def remove(self, key: str, expected: bytes) -> None:
        with self._lock:
            if self.get(key) == expected:
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
        return _NOTHING

    def wait(self, since: int, seconds: float) -> None:
        time.sleep(seconds)

    def is_reachable(self) -> bool:
        return True

    def close(self) -> None:
        """There is nothing to let go of."""


_NOTHING = Changes(0, are_last=lambda: True)


def _kept(most: int, clock: Callable[[], float]) -> TLRUCache[str, tuple[T, float]]:
    return TLRUCache(most, ttu=lambda _key, value, now: now + value[1], timer=clock)
