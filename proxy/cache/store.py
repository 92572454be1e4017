"""What a place to keep copies has to offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from proxy.cache.entry import Entry, Key

Change = Callable[[str, Entry], Entry | None]
"""Gets a part's name and its entry; returns the entry to hold instead, or ``None`` to drop the part."""

Look = Callable[[str, str, Entry], None]
"""Gets a product's name, a part's name and its entry."""


class StoreDown(Exception):
    """The shared store can't be had, so others who share it could not be told."""


class FailedElsewhere(Exception):
    """The fetch that another process made for all of us failed. ``retry_after`` is in whole seconds."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Lease(Protocol):
    """The right to fetch one key. Among all who share a store one flight at a time holds it."""

    def bring(self, entry: Entry) -> None:
        """Hold ``entry``, unless its product changed since the lease was taken; wake all who wait for it."""

    def give_up(self, error: Exception | None) -> None:
        """Wake all who wait, with the reason why there is nothing to bring; ``None`` lets them try themselves."""


class Store(Protocol):
    """Keeps entries by key. It may forget any of them at any time, and never returns a wrong one."""

    trust_seconds: float
    """How long what was read here may be repeated without asking again, if no change of it is told meanwhile."""

    def get(self, key: Key) -> Entry | None:
        """Return the entry held for ``key``, gone or not, or ``None``."""

    def take(self, key: Key) -> Lease | Entry:
        """Return the right to fetch ``key``, or the fresh entry that makes fetching needless.

        Waits while another process fetches it. Raises :class:`FailedElsewhere` when that fetch fails.
        """

    def forget(self, product: str) -> None:
        """Drop every part of ``product``, also those that are just being fetched.

        Raises :class:`StoreDown` when that could only be done in this process.
        """

    def revise(self, product: str, change: Change) -> None:
        """Put every held part of ``product`` through ``change``; what is just being fetched is not held.

        Raises :class:`StoreDown` when that could only be done in this process.
        """

    def search(self, prefix: str, look: Look) -> None:
        """Show ``look`` every held part of the products whose names begin with ``prefix``, some perhaps twice.

        Raises :class:`StoreDown` when that could only be done in this process.
        """

    def when_changed(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with each product that is forgotten or revised, here or by another process."""

    def when_refreshed(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with each product of which a fresh part landed, here or by another process.

        Only once that part can be read. It may be called when nothing landed.
        """

    def is_reachable(self) -> bool:
        """Tell whether the store can be used right now, for ``/readyz``."""
