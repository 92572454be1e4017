"""The store in this process's memory, bounded in bytes; the least recently used copies leave first."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from cachetools import LRUCache

from proxy.cache.entry import Entry, Key

_OVERHEAD = 520
"""Bytes a held entry costs beside its value and its key's text: the entry, its three floats, the key tuple,
and its places in the cache's two dictionaries. Measured by ``tests/cache/test_memory.py``."""


def weight(key: Key, entry: Entry) -> int:
    """Return the bytes of memory that holding ``entry`` takes."""
    return sys.getsizeof(entry.value) + sys.getsizeof(key.product) + sys.getsizeof(key.part) + _OVERHEAD


class MemoryStore:
    """Holds entries up to ``max_bytes`` in all, in this process only."""

    def __init__(self, max_bytes: int, report_eviction: Callable[[], None] = lambda: None) -> None:
        self._lock = threading.Lock()
        self._entries = _Entries(max_bytes, report_eviction)

    def get(self, key: Key) -> Entry | None:
        """Return the entry held for ``key`` and mark it as used."""
        with self._lock:
            weighed = self._entries.get(key)
            return weighed[1] if weighed else None

    def put(self, key: Key, entry: Entry) -> None:
        """Hold ``entry``; one that is larger than the whole store is not held."""
        size = weight(key, entry)
        with self._lock:
            if size > self._entries.maxsize:
                self._entries.pop(key, None)
            else:
                self._entries[key] = (size, entry)

    def forget(self, product: str) -> None:
        """Drop every part of ``product``."""
        with self._lock:
            for key in [key for key in self._entries if key.product == product]:
                del self._entries[key]

    def is_reachable(self) -> bool:
        """Memory always is."""
        return True

    @property
    def held_bytes(self) -> int:
        """The bytes held now, by :func:`weight`."""
        return int(self._entries.currsize)

    def __len__(self) -> int:
        return len(self._entries)


class _Entries(LRUCache[Key, tuple[int, Entry]]):
    """cachetools' LRU cache, weighing entries in bytes and telling when one had to leave."""

    def __init__(self, max_bytes: int, report_eviction: Callable[[], None]) -> None:
        super().__init__(max_bytes, getsizeof=lambda weighed: weighed[0])
        self._report_eviction = report_eviction

    def popitem(self) -> tuple[Key, tuple[int, Entry]]:
        evicted = super().popitem()
        self._report_eviction()
        return evicted
