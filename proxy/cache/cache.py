"""The cache's promises, told as steps: find the copy, judge its age, fly for a new one, hold what came back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from cachetools import TLRUCache

from proxy.cache.entry import Entry, Key, Lifetimes
from proxy.cache.flight import Flight, Flights
from proxy.cache.freshness import Freshness, State
from proxy.cache.store import Store
from proxy.clock import Deadline, Now, Priority


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch brought: the bytes to hold, and whether they hold anything for the product.

    ``source`` is what the bytes were made from, so that who waits for them need not read them again.
    """

    value: bytes
    found: bool
    source: object = None


@dataclass(frozen=True, slots=True)
class Cached:
    """A copy to answer with."""

    value: bytes
    freshness: Freshness
    source: object = None
    """What the bytes were made from, where they were fetched just now."""


@dataclass(frozen=True, slots=True)
class Updated:
    """What to hold in place of a copy. ``refresh``: serve it as stale, so that the next read has it fetched anew."""

    value: bytes
    refresh: bool


class Fetch(Protocol):
    """Gets what is to be held. ``priority``: whether somebody waits for it, as there is no copy to answer with."""

    def __call__(self, *, priority: Priority) -> Fetched:
        """Return what was fetched, or raise why it could not be."""


SETBACK_SECONDS = 1.0
"""After a failed refresh its key is left alone this long: a copy is held, so nobody needs the next attempt sooner."""


@dataclass(frozen=True, slots=True)
class _Setback:
    """A failed fetch, and how long its key is left alone. ``answers``: who has no copy gets ``error`` too."""

    error: Exception
    seconds: float
    answers: bool


class Cache:
    """Answers from copies, and fetches each key once, however many ask for it."""

    def __init__(
        self,
        store: Store,
        flights: Flights[Cached],
        lifetimes: Lifetimes,
        now: Now,
        lasting: tuple[type[Exception], ...] = (),
    ) -> None:
        """``lasting``: what a fetch may raise that asking again would not change; it is remembered like "nothing"."""
        self._store = store
        self._flights = flights
        self._lifetimes = lifetimes
        self._now = now
        self._lasting = lasting
        self._setbacks: TLRUCache[Key, _Setback] = TLRUCache(
            10_000, lambda _, setback, at: at + setback.seconds, timer=now
        )
        self._setbacks_lock = threading.Lock()
        store.when_changed(flights.ground)
        store.when_changed(self._forget_setbacks)

    def get_or_fetch(self, key: Key, fetch: Fetch) -> Lookup:
        """Find the copy for ``key``; where it is stale or gone, see to it that ``fetch`` is under way.

        Returns at once: look several keys up first, then wait for them, and their fetches run side by side.
        """
        held = self.get(key)
        if held is None:
            return Lookup(None, self._failed(key) or self._fly(key, fetch, priority=Priority.FOREGROUND))
        if held.freshness.state is State.STALE and self._setback(key) is None:
            self._fly(key, fetch, priority=Priority.BACKGROUND)
        return Lookup(held, None)

    def refresh(self, key: Key, fetch: Fetch) -> Lookup:
        """Find a fresh copy for ``key``, or see to it that ``fetch`` is under way: a stale one is not enough."""
        held = self.get(key)
        if held is not None and held.freshness.state is State.HIT:
            return Lookup(held, None)
        return Lookup(None, self._failed(key) or self._fly(key, fetch, priority=Priority.BACKGROUND))

    def refetch(self, key: Key, fetch: Fetch) -> Lookup:
        """Have ``fetch`` called although a fresh copy is held, which is stale from now on.

        Raises :class:`StoreDown`.
        """
        now = self._now()

        def changed(part: str, entry: Entry) -> Entry:
            return replace(entry, fresh_until=min(entry.fresh_until, now)) if part == key.part else entry

        self._store.revise(key.product, changed)
        return Lookup(None, self._fly(key, fetch, priority=Priority.FOREGROUND))

    def get(self, key: Key) -> Cached | None:
        """Return the copy for ``key`` if there is one that is not gone; never fetch."""
        now = self._now()
        entry = self._store.get(key)
        if entry is None or entry.is_gone(now):
            return None
        return _held(entry, State.HIT if entry.is_fresh(now) else State.STALE)

    def invalidate(self, product: str) -> None:
        """Drop all copies of ``product``, also those that are just being fetched. Raises :class:`StoreDown`."""
        self._store.forget(product)

    def update(self, product: str, change: Callable[[str, Cached], Updated | None]) -> None:
        """Put all copies of ``product`` through ``change``, which gets a part's name and its copy.

        ``None`` drops the copy. What is just being fetched is not held. Raises :class:`StoreDown`.
        """

        def changed(part: str, entry: Entry) -> Entry | None:
            now = self._now()
            revised = change(part, _held(entry, State.HIT if entry.is_fresh(now) else State.STALE))
            if revised is None:
                return None
            fresh_until = min(entry.fresh_until, now) if revised.refresh else entry.fresh_until
            return replace(entry, value=revised.value, fresh_until=fresh_until)

        self._store.revise(product, changed)

    def scan(self, prefix: str, look: Callable[[str, str, bytes], None]) -> None:
        """Show ``look`` the product, the part and the value of every copy of the products named ``prefix…``.

        Raises :class:`StoreDown`.
        """
        self._store.search(prefix, lambda product, part, entry: look(product, part, entry.value))

    def _fly(self, key: Key, fetch: Fetch, *, priority: Priority) -> Flight[Cached]:
        def job() -> Cached:
            lease = self._store.take(key)
            if isinstance(lease, Entry):
                return _held(lease, State.MISS)
            try:
                fresh = fetch(priority=priority)
            except Exception as error:
                # A refresh is the first to be refused. Who waits elsewhere without a copy may still fetch it.
                lease.give_up(error if priority is Priority.FOREGROUND else None)
                self._set_back(key, error, priority=priority)
                raise
            entry = self._lifetimes.entry(fresh.value, found=fresh.found, now=self._now())
            lease.bring(entry)
            return replace(_held(entry, State.MISS), source=fresh.source)

        return self._flights.join(key, job)

    def _failed(self, key: Key) -> Flight[Cached] | None:
        """Return a flight that failed already, where a fetch would only fail the same way again."""
        setback = self._setback(key)
        if setback is None or not setback.answers:
            return None
        flight: Flight[Cached] = Flight()
        flight.crash(setback.error)
        return flight

    def _set_back(self, key: Key, error: Exception, *, priority: Priority) -> None:
        lasts = isinstance(error, self._lasting)
        seconds = self._lifetimes.missing if lasts else SETBACK_SECONDS
        with self._setbacks_lock:
            # Why a copy was not refreshed says nothing once the copy is gone.
            self._setbacks[key] = _Setback(error, seconds, answers=lasts and priority is Priority.FOREGROUND)

    def _setback(self, key: Key) -> _Setback | None:
        with self._setbacks_lock:
            return self._setbacks.get(key)

    def _forget_setbacks(self, product: str) -> None:
        with self._setbacks_lock:
            for key in [key for key in self._setbacks if key.product == product]:
                self._setbacks.pop(key, None)


class Lookup:
    """A copy that is there already, or a flight that will bring it."""

    def __init__(self, held: Cached | None, flight: Flight[Cached] | None) -> None:
        self._held = held
        self._flight = flight

    @property
    def is_ready(self) -> bool:
        """Whether there is a copy already, so that :meth:`wait` returns at once."""
        return self._held is not None

    def wait(self, deadline: Deadline) -> Cached:
        """Return the copy, waiting for the flight until ``deadline``.

        Raises :class:`DeadlinePassed`, what the fetch raised, or :class:`FailedElsewhere`.
        """
        if self._held is None:
            assert self._flight is not None, "a look-up has a copy or a flight"  # noqa: S101  # an invariant
            self._held = self._flight.wait(deadline)
        return self._held


def _held(entry: Entry, state: State) -> Cached:
    return Cached(entry.value, Freshness(state, entry.stored_at, entry.fresh_until, entry.gone_at))
