"""Copies that are fresh, stale or gone; one flight per key; stores behind one small protocol.

A look-up reads as: find the copy; fresh: answer it; stale: answer it and refresh in the background; gone: join
the one flight for its key and wait for it, but only until the deadline.
"""

from proxy.cache.cache import Cache, Cached, Fetched, Lookup, Updated
from proxy.cache.entry import Entry, Key, Lifetimes
from proxy.cache.flight import DeadlinePassed, Flights
from proxy.cache.freshness import Freshness, State
from proxy.cache.memory_store import MemoryStore
from proxy.cache.store import FailedElsewhere, Store, StoreDown

__all__ = [
    "Cache",
    "Cached",
    "DeadlinePassed",
    "Entry",
    "FailedElsewhere",
    "Fetched",
    "Flights",
    "Freshness",
    "Key",
    "Lifetimes",
    "Lookup",
    "MemoryStore",
    "State",
    "Store",
    "StoreDown",
    "Updated",
]
