"""Entries that are fresh, stale or gone; one fetch per key; backends behind one small protocol.

A look-up reads as: find the entry; fresh: answer it; stale: answer it and refresh in the background; gone: join
the one call for its key and wait for it, but only until the deadline.
"""

from proxy.cache.backend import Backend, BackendDown
from proxy.cache.cache import Cache, Cached, Call, DeadlinePassed, Fetched, Group, Lookup, Updated
from proxy.cache.entry import Entry, FailedElsewhere, Freshness, Key, Lifetimes, Pace, State
from proxy.cache.memory import MemoryBackend
from proxy.cache.tiered import Tiered

__all__ = [
    "Backend",
    "BackendDown",
    "Cache",
    "Cached",
    "Call",
    "DeadlinePassed",
    "Entry",
    "FailedElsewhere",
    "Fetched",
    "Freshness",
    "Group",
    "Key",
    "Lifetimes",
    "Lookup",
    "MemoryBackend",
    "Pace",
    "State",
    "Tiered",
    "Updated",
]
