"""The cache's promises, told as steps: find the copy, judge its age, fly for a new one, hold what came back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.cache.entry import Entry, Key, Lifetimes
from proxy.cache.flight import Flight, Flights
from proxy.cache.freshness import Freshness, State
from proxy.cache.store import Store
from proxy.timing import Deadline, Now


@dataclass(frozen=True, slots=True)
class Fresh:
    """What a fetch brought: the bytes to hold, and whether they hold anything for the product."""

    value: bytes
    found: bool


@dataclass(frozen=True, slots=True)
class Held:
    """A copy to answer with."""

    value: bytes
    freshness: Freshness


Fetch = Callable[[], Fresh]


class Cache:
    """Answers from copies, and fetches each key once, however many ask for it."""

    def __init__(self, store: Store, flights: Flights[Entry], lifetimes: Lifetimes, now: Now) -> None:
        self._store = store
        self._flights = flights
        self._lifetimes = lifetimes
        self._now = now

    def look_up(self, key: Key, fetch: Fetch) -> Lookup:
        """Find the copy for ``key``; where it is stale or gone, see to it that ``fetch`` is under way.

        Returns at once: look several keys up first, then wait for them, and their fetches run side by side.
        """
        now = self._now()
        entry = self._store.get(key)
        if entry is None or entry.is_gone(now):
            return Lookup(None, self._fly(key, fetch))
        if entry.is_fresh(now):
            return Lookup(_held(entry, State.HIT), None)
        self._fly(key, fetch)
        return Lookup(_held(entry, State.STALE), None)

    def peek(self, key: Key) -> Held | None:
        """Return the copy for ``key`` if there is one that is not gone; never fetch."""
        now = self._now()
        entry = self._store.get(key)
        if entry is None or entry.is_gone(now):
            return None
        return _held(entry, State.HIT if entry.is_fresh(now) else State.STALE)

    def forget(self, product: str) -> None:
        """Drop all copies of ``product``, also those that are just being fetched."""
        self._flights.ground(product)
        self._store.forget(product)

    def _fly(self, key: Key, fetch: Fetch) -> Flight[Entry]:
        def job(flight: Flight[Entry]) -> Entry:
            fresh = fetch()
            entry = self._lifetimes.entry(fresh.value, found=fresh.found, now=self._now())
            if not flight.grounded:
                self._store.put(key, entry)
            return entry

        return self._flights.join(key, job)


class Lookup:
    """A copy that is there already, or a flight that will bring it."""

    def __init__(self, held: Held | None, flight: Flight[Entry] | None) -> None:
        self._held = held
        self._flight = flight

    @property
    def is_ready(self) -> bool:
        """Whether there is a copy already, so that :meth:`wait` returns at once."""
        return self._held is not None

    def wait(self, deadline: Deadline) -> Held:
        """Return the copy, waiting for the flight until ``deadline``.

        Raises :class:`DeadlinePassed`, or what the fetch raised.
        """
        if self._held is None:
            assert self._flight is not None, "a look-up has a copy or a flight"  # noqa: S101  # an invariant
            self._held = _held(self._flight.wait(deadline), State.MISS)
        return self._held


def _held(entry: Entry, state: State) -> Held:
    return Held(entry.value, Freshness(state, entry.stored_at, entry.fresh_until))
