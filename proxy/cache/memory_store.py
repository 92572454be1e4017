"""The store in this process's memory, bounded in bytes; the least recently used copies leave first."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable

from cachetools import Cache, LRUCache

from proxy.cache.entry import Entry, Key
from proxy.cache.store import Change, Look
from proxy.clock import Now

_OVERHEAD = 1100
"""Bytes a held entry costs beside its value and its key's text: the entry, its three floats, the key tuple, its
places in the cache's two dictionaries and among its product's parts, and what the allocator loses between them.
Measured by ``tests/cache/test_memory.py``."""


_HOLES = 10
"""Copies of different sizes leave holes between them that few others fit into: a tenth of what they take, at most."""


def weight(key: Key, entry: Entry) -> int:
    """Return the bytes of memory that holding ``entry`` takes."""
    size = sys.getsizeof(entry.value) + sys.getsizeof(key.product) + sys.getsizeof(key.part) + _OVERHEAD
    return size + size // _HOLES


class MemoryStore:
    """Holds entries up to ``max_bytes`` in all, in this process only."""

    trust_seconds = math.inf  # nobody else changes them

    def __init__(self, max_bytes: int, now: Now, report_eviction: Callable[[], None] = lambda: None) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._entries = _Entries(max_bytes, report_eviction)
        self._leases: dict[str, set[MemoryLease]] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._refresh_listeners: list[Callable[[str], None]] = []

    def get(self, key: Key) -> Entry | None:
        """Return the entry held for ``key`` and mark it as used."""
        with self._lock:
            weighed = self._entries.get(key)
            return weighed[1] if weighed else None

    def put(self, key: Key, entry: Entry) -> None:
        """Hold ``entry``; one that is larger than the whole store is not held."""
        with self._lock:
            self._put(key, entry)

    def take(self, key: Key) -> MemoryLease | Entry:
        """Return the right to fetch ``key``, or the entry that landed while the caller was on its way here."""
        entry = self.get(key)
        if entry is not None and entry.is_fresh(self._now()):
            return entry
        return self.lease(key)

    def lease(self, key: Key) -> MemoryLease:
        """Return the right to put ``key`` until its product is forgotten or revised."""
        lease = MemoryLease(self, key)
        with self._lock:
            self._leases.setdefault(key.product, set()).add(lease)
        return lease

    def land(self, lease: MemoryLease, entry: Entry | None) -> None:
        """End ``lease``, holding ``entry`` unless the lease was voided meanwhile."""
        product = lease.key.product
        with self._lock:
            leases = self._leases.get(product, set())
            valid = lease in leases
            leases.discard(lease)
            if not leases:
                self._leases.pop(product, None)
            refreshed = valid and entry is not None and self._is_newer(lease.key, entry)
            if valid and entry is not None:
                self._put(lease.key, entry)
        if refreshed:
            self.report_refresh(product)

    def forget(self, product: str) -> None:
        """Drop every part of ``product``, also those that are just being fetched."""
        self.revise(product, lambda _part, _entry: None)

    def revise(self, product: str, change: Change) -> None:
        """Put every held part of ``product`` through ``change``; what is just being fetched is not held."""
        with self._lock:
            self._leases.pop(product, None)
            for key in self._entries.parts_of(product):
                revised = change(key.part, self._entries[key][1])
                if revised is None:
                    self._entries.pop(key, None)
                else:
                    self._put(key, revised)
        for listener in self._listeners:
            listener(product)

    def search(self, prefix: str, look: Look) -> None:
        """Show ``look`` every held part of the products whose names begin with ``prefix``."""
        with self._lock:
            keys = [key for key in self._entries if key.product.startswith(prefix)]
        for key in keys:
            with self._lock:
                entry = self._entries.unmarked(key)
            if entry is not None:
                look(key.product, key.part, entry)

    def when_changed(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with each product that is forgotten or revised."""
        self._listeners.append(listener)

    def when_refreshed(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with each product of which a fresh part landed."""
        self._refresh_listeners.append(listener)

    def report_refresh(self, product: str) -> None:
        """Tell the listeners that a fresh part of ``product`` landed, here or where this process reads it from."""
        for listener in self._refresh_listeners:
            listener(product)

    def is_reachable(self) -> bool:
        """Memory always is."""
        return True

    @property
    def held_bytes(self) -> int:
        """The bytes held now, by :func:`weight`."""
        return int(self._entries.currsize)

    def __len__(self) -> int:
        return len(self._entries)

    def _is_newer(self, key: Key, entry: Entry) -> bool:
        """Tell whether ``entry`` is fresh and newer than what is held, and not the same read from Redis once more."""
        weighed = self._entries.get(key)
        return entry.is_fresh(self._now()) and (weighed is None or weighed[1].stored_at < entry.stored_at)

    def _put(self, key: Key, entry: Entry) -> None:
        size = weight(key, entry)
        if size > self._entries.maxsize:
            self._entries.pop(key, None)
        else:
            self._entries[key] = (size, entry)


class MemoryLease:
    """The right to fetch one key. One process's flights see to it that only one holds it."""

    def __init__(self, store: MemoryStore, key: Key) -> None:
        self.key = key
        self._store = store

    def bring(self, entry: Entry) -> None:
        """Hold ``entry``, unless its product was forgotten since the lease was taken."""
        self._store.land(self, entry)

    def give_up(self, error: Exception | None) -> None:
        """Hold nothing. Those who wait in this process wait for the flight, not for the lease."""
        self.drop()

    def drop(self) -> None:
        """Hold nothing."""
        self._store.land(self, None)


class _Entries(LRUCache[Key, tuple[int, Entry]]):
    """cachetools' LRU cache, weighing entries in bytes and telling when one had to leave."""

    def __init__(self, max_bytes: int, report_eviction: Callable[[], None]) -> None:
        super().__init__(max_bytes, getsizeof=lambda weighed: weighed[0])
        self._report_eviction = report_eviction
        self._parts: dict[str, list[Key]] = {}

    def __setitem__(self, key: Key, weighed: tuple[int, Entry]) -> None:
        new = key not in self
        super().__setitem__(key, weighed)
        if new:
            self._parts.setdefault(key.product, []).append(key)

    def __delitem__(self, key: Key) -> None:
        super().__delitem__(key)
        parts = self._parts[key.product]
        parts.remove(key)
        if not parts:
            del self._parts[key.product]

    def parts_of(self, product: str) -> list[Key]:
        """Return the keys held of ``product``."""
        return list(self._parts.get(product, ()))

    def unmarked(self, key: Key) -> Entry | None:
        """Return the entry held for ``key`` without marking it as used."""
        return Cache.__getitem__(self, key)[1] if key in self else None

    def popitem(self) -> tuple[Key, tuple[int, Entry]]:
        evicted = super().popitem()
        self._report_eviction()
        return evicted
