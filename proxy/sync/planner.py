"""Has freshness last longer while the plan has too few calls for it, and says what age is being reached."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.cache import BackendDown, Key, Lifetimes
from proxy.cache.backend import Backend
from proxy.clock import Now
from proxy.trustpilot.quota import PlanUse

EVERY_SECONDS = 60.0
TIGHT = 0.5
"""Of the day's share: from then on it is seen to that the rest lasts."""

_FOR_AGE = 0.6
"""Of the day's share, for what is only old. The rest is for callers who wait and for what changed."""

_FOR_FETCHING = 0.8
"""The same where nothing but fetching keeps copies true."""

_FOR_WHOLE = 0.3
"""Of that, for what only a fetch shows."""

_FOR_COMPARING = 0.3
"""Of the day's share, for comparing all summaries of all shops."""

COMPARE_SECONDS = 3600.0
_SKUS_COMPARED = 1000
_USED_UP = 0.85
_LONGER = 1.05
_LONGEST = 35_000.0
"""Of a quarter of an hour: a year."""

_DAY_SECONDS = 86_400
_KEY = "plan:asked"


@dataclass(eq=False)
class Demand:
    """Counts the products that are asked for where nothing confirms them: within a day, or while copies are fresh."""

    now: Now
    fresh_seconds: Callable[[], float]
    _seen: set[int] = field(default_factory=set, init=False)
    _before: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)

    def note(self, key: Key, _as_of: float, _refetch: object) -> bool:
        """Note that a stale copy was asked for, and see to nothing."""
        if self.now() >= self._until:
            self._before, self._seen = len(self._seen), set()
            self._until = self.now() + max(_DAY_SECONDS, self.fresh_seconds())
        self._seen.add(hash(key.product))
        return False

    def count(self) -> int:
        """Return how many there are."""
        return max(self._before, len(self._seen))


@dataclass(eq=False)
class Planner:
    """Sets the pace of the lifetimes, whenever it ticks.

    ``asked``: how many products are asked for again and again; ``skus_per_call``: how many a call confirms;
    ``has_feed``: calls that confirm are few.
    """

    plan_use: Callable[[], PlanUse | None]
    lifetimes: Lifetimes
    backend: Backend
    asked: Callable[[], int]
    skus_per_call: int
    has_feed: bool = False
    _is_tight: bool = field(default=False, init=False)

    def tick(self) -> None:
        """Set the pace by what is used of the day's share."""
        use, pace = self.plan_use(), self.lifetimes.pace
        if use is None:
            return
        asked, before = self.asked(), self._asked_before()
        fresh, whole = self._needed(max(1, use.share), max(asked, before))
        was_tight = self._is_tight or before > 0
        self._is_tight = use.today >= TIGHT * use.share or (was_tight and max(fresh, whole) > 1)
        if self._is_tight and asked > before:
            with contextlib.suppress(BackendDown):
                self.backend.set(_KEY, str(asked).encode(), _DAY_SECONDS)
        if not self._is_tight:
            pace.fresh = pace.whole = 1.0
            return
        if use.today >= _USED_UP * use.share:
            # More is asked for than is known here.
            fresh, whole = max(fresh, pace.fresh * _LONGER), max(whole, pace.whole * _LONGER)
        pace.fresh, pace.whole = min(fresh, _LONGEST), min(whole, _LONGEST)

    def compare_seconds(self, products: int) -> float:
        """Return how often the summaries of so many products may be compared."""
        use = self.plan_use()
        if use is None:
            return COMPARE_SECONDS
        calls = -(-max(1, products) // _SKUS_COMPARED)
        return max(COMPARE_SECONDS, calls * _DAY_SECONDS / (_FOR_COMPARING * max(1, use.share)))

    def _asked_before(self) -> int:
        """Return how many products were asked for when calls were few, before a restart or in another worker.

        Or all copies that are older than was set would be gone at a restart, and callers would wait for each.
        """
        with contextlib.suppress(BackendDown, ValueError):
            return int(self.backend.get(_KEY) or 0)
        return 0

    def _needed(self, share: int, products: int) -> tuple[float, float]:
        """Return how much longer entries have to be fresh, and to go without a fetch, for ``share`` to be enough."""
        lifetimes = self.lifetimes
        room = share * _FOR_AGE
        whole_calls = products * _DAY_SECONDS / max(lifetimes.fresh, lifetimes.stale - lifetimes.fresh)
        if self.has_feed:
            return 1.0, max(1.0, whole_calls / room)
        if self.skus_per_call == 1:
            room = share * _FOR_FETCHING
            return max(1.0, products * _DAY_SECONDS / lifetimes.fresh / room), max(1.0, whole_calls / room)
        whole = max(1.0, whole_calls / (room * _FOR_WHOLE))
        fresh_calls = products / self.skus_per_call * _DAY_SECONDS / lifetimes.fresh
        return max(1.0, fresh_calls / (room - whole_calls / whole)), whole
