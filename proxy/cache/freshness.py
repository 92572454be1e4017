"""Freshness is one policy: fresh since an entry was fetched or last confirmed, then stale, then gone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from proxy.cache.entry import Entry


class State(IntEnum):
    """What may be done with an entry, and what the ``X-Cache`` header says of an answer; from best to worst.

    A ``MISS`` is gone, or was never there: it takes a fetch.
    """

    HIT = 0
    STALE = 1
    MISS = 2


@dataclass(frozen=True, slots=True)
class Freshness:
    """The state, age and remaining freshness of an answer. Moments are seconds since the epoch."""

    state: State
    stored_at: float
    """When the oldest of it was fetched."""
    fresh_until: float
    gone_at: float = math.inf
    """From then on the answer must not be shown, however stale an answer may be."""
    confirmed_at: float = -math.inf
    """When all of it was last known to be what a fetch would bring."""

    @property
    def as_of(self) -> float:
        """Return the moment that its age counts from."""
        return max(self.stored_at, self.confirmed_at)

    def remaining(self, now: float) -> float:
        """Return the seconds it stays fresh, after a clock set back at most what it had at first."""
        return max(0.0, min(self.fresh_until - now, self.fresh_until - self.as_of))

    def with_(self, other: Freshness) -> Freshness:
        """Return the freshness of an answer made from both: the worse state, the older, the sooner to go."""
        return Freshness(
            max(self.state, other.state),
            min(self.stored_at, other.stored_at),
            min(self.fresh_until, other.fresh_until),
            min(self.gone_at, other.gone_at),
            min(self.as_of, other.as_of),
        )


@dataclass(frozen=True)
class Lifetimes:
    """The policy, in seconds: ``CACHE_FRESH_SECONDS`` and its siblings."""

    fresh: float
    stale: float
    missing: float

    def state(self, entry: Entry | None, now: float) -> State:
        """Tell whether ``entry`` may be answered, and whether without asking Trustpilot again.

        An entry from further ahead than it may be fresh is not: the clock was set back, and its age is unknown.
        """
        if entry is None or now >= self.gone_at(entry):
            return State.MISS
        fresh_until = self.fresh_until(entry)
        is_fresh = now < fresh_until and entry.as_of - now <= fresh_until - entry.as_of
        return State.HIT if is_fresh else State.STALE

    def fresh_until(self, entry: Entry) -> float:
        """Return the moment from which ``entry`` is fetched anew."""
        return min(entry.as_of + (self.fresh if entry.found else self.missing), entry.outdated_at)

    def gone_at(self, entry: Entry) -> float:
        """Return the moment from which ``entry`` is not answered any more. Without reviews it has no stale phase.

        A stale page still shows real reviews; a stale "nothing" would only hide a product's first one.
        """
        return entry.as_of + (max(self.fresh, self.stale) if entry.found else self.missing)

    def freshness(self, entry: Entry, state: State) -> Freshness:
        """Return the freshness of an answer made from ``entry``."""
        return Freshness(state, entry.fetched_at, self.fresh_until(entry), self.gone_at(entry), entry.confirmed_at)

    @property
    def longest(self) -> float:
        """Return how long any entry may be answered."""
        return max(self.fresh, self.stale, self.missing)
