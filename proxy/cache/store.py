"""What a place to keep copies has to offer."""

from __future__ import annotations

from typing import Protocol

from proxy.cache.entry import Entry, Key


class Store(Protocol):
    """Keeps entries by key. It may forget any of them at any time, and never returns a wrong one."""

    def get(self, key: Key) -> Entry | None:
        """Return the entry held for ``key``, gone or not, or ``None``."""

    def put(self, key: Key, entry: Entry) -> None:
        """Hold ``entry`` for ``key`` in place of what was held."""

    def forget(self, product: str) -> None:
        """Drop every part of ``product``."""

    def is_reachable(self) -> bool:
        """Tell whether the store can be used right now, for ``/readyz``."""
