"""Keeps what is cached true within the plan: calls grow with what changes, not with products and time.

The validator confirms products by their counts, a hundred in one call. Where there is an API secret the feed confirms
a whole shop in one call, and a comparison of all summaries finds what a feed does not show. Here is when each is due.
The work for a shop is done in one process of all at a time, whoever has the backend's lock; nobody waits for it.

What people had deleted at Trustpilot leaves all stores: "You must delete" it (Trustpilot: Data Solutions).
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from proxy.cache import Key, Lifetimes
from proxy.cache.backend import FOR_GOOD_SECONDS, Backend, BackendDown, Lock
from proxy.cache.entry import SKEW_SECONDS
from proxy.clock import Now, Spawn, attempt, in_turns
from proxy.events import Deleted, FeedRead, Report, unheard
from proxy.reviews import Updates
from proxy.sync.feed import UNORDERED_SECONDS, FeedReader, OutOfOrder, Shops, ShopState
from proxy.sync.whole_shop import Backfill, Comparison
from proxy.trustpilot import NotFound, QuotaUsedUp, Rejected, TrustpilotError
from proxy.trustpilot.quota import PlanUse

COMPARE_SECONDS = 3600.0
_DELETIONS_SECONDS = 3600.0
_OVERLAP_SECONDS = 86_400.0
_FIRST_SECONDS = 30 * 86_400.0
"""How far back the first look goes: what is cached may have been so by an earlier proxy."""

_DELETIONS = "sync:deletions"
_MOST_PAGES = 1000

_LOOK_SECONDS = 2.0
_LOCK = "sync"
_LOCK_SECONDS = 15.0
"""When the process that has the lock is killed, another goes on after so long; while it lives it renews the lock.

Sooner where copies are fresh for less.
"""

_RETRY_SECONDS = 15.0
_REFUSED_SECONDS = 3600.0

_log = logging.getLogger(__name__)

_List = Callable[[float, str | None], tuple[list[str], str | None]]
"""Returns the ids of what was deleted since a moment, a page at a time, and the token of the next."""


@dataclass(eq=False)
class Deletions:
    """Looks once an hour, from the last look on with a day's overlap."""

    reviews: _List
    consumers: _List
    updates: Updates
    backend: Backend
    business_units: Sequence[str]
    now: Now
    report: Report = unheard
    _removed: dict[str, float] = field(default_factory=dict, init=False)
    """When what was removed already was so, which the overlap lists again."""

    def is_due(self) -> bool:
        """Tell whether nobody has looked for an hour. Raises :class:`~proxy.cache.BackendDown`."""
        return self.now() >= self._last() + _DELETIONS_SECONDS

    def remove(self) -> None:
        """Remove what was deleted since the last look.

        Raises :class:`~proxy.trustpilot.TrustpilotError` or :class:`~proxy.cache.BackendDown`.
        """
        at, last = self.now(), self._last()
        since = (last or at - _FIRST_SECONDS) - _OVERLAP_SECONDS
        self._remove(self.reviews, since, self.updates.remove_reviews)
        self._remove(self.consumers, since, self.updates.remove_consumers)
        self.backend.set(_DELETIONS, repr(at).encode(), FOR_GOOD_SECONDS)
        self._removed = {name: when for name, when in self._removed.items() if when > since - _DELETIONS_SECONDS}

    def _remove(self, list_: _List, since: float, remove: Callable[[str, list[str]], None]) -> None:
        token: str | None = None
        for _ in range(_MOST_PAGES):
            listed, token = list_(since, token)
            names = [name for name in listed if name not in self._removed]
            for unit in in_turns(self.business_units if names else ()):
                remove(unit, names)
            self._removed.update(dict.fromkeys(names, self.now()))
            self.report(Deleted(len(names)))
            if token is None:
                return

    def _last(self) -> float:
        kept = self.backend.get(_DELETIONS)
        try:
            last = float(kept) if kept else 0.0
        except ValueError:
            return 0.0
        # Where the clock was set back, nobody would look before it is that late again.
        return last if last <= self.now() + SKEW_SECONDS else 0.0


@dataclass(eq=False)
class Sync:
    """The feed of each shop once per ``CACHE_FRESH_SECONDS``, its summaries and the deletions once an hour.

    Without ``feed`` and what comes with it, which take an API secret, only deletions are looked for.
    """

    backend: Backend
    shops: Shops
    deletions: Deletions
    spawn: Spawn
    now: Now
    fresh_seconds: Callable[[], float]
    feed: FeedReader | None = None
    comparison: Comparison | None = None
    backfill: Backfill | None = None
    compare_seconds: Callable[[int], float] = lambda _products: COMPARE_SECONDS
    report: Report = unheard
    _retry_at: dict[str, float] = field(default_factory=dict, init=False)
    _stopped: threading.Event = field(default_factory=threading.Event, init=False)

    def start(self) -> None:
        self.spawn(self._run)

    def stop(self) -> None:
        self._stopped.set()

    def states(self) -> dict[str, ShopState]:
        """Return what is known of each shop whose feed is read; nothing while the backend is down."""
        if self.feed is None:
            return {}
        with contextlib.suppress(BackendDown):
            return {unit: self.shops.load(unit) for unit in self.shops.business_units}
        return {}

    def counts(self) -> dict[str, int]:
        """Return of how many shops the feed is read, and all reviews are cached, as this process saw them last."""
        states = [self.shops.seen(unit) for unit in self.shops.business_units]
        behind = self.now() - 2 * self.fresh_seconds() - _LOOK_SECONDS
        return {
            "shops": len(states),
            "read_by_feed": sum(state.confirmed_at > behind for state in states),
            "whole": sum(state.is_backfilled for state in states),
        }

    def is_backfilled(self, business_unit: str) -> bool:
        """Tell whether all reviews of a shop are cached, or never will be. Raises :class:`BackendDown`."""
        state = self.shops.load(business_unit)
        return self.backfill is None or state.is_backfilled or self.now() < state.unreadable_until

    def progress(self, business_unit: str) -> tuple[int, int]:
        """Return how many reviews of a shop were read, and how many there are. Raises :class:`BackendDown`."""
        read = self.backfill.progress(business_unit).reviews if self.backfill else 0
        return read, self.shops.load(business_unit).reviews

    def round(self) -> None:
        """Look at what others did, and do what is due unless another process does."""
        try:
            due = [unit for unit in self.shops.business_units if self._is_due(unit, self.shops.load(unit))]
            deletions = self._may("deletions") and self.deletions.is_due()
            if not due and not deletions:
                return
            seconds = min(_LOCK_SECONDS, max(1.0, self.fresh_seconds()))
            lock = self.backend.lock(_LOCK, seconds)
            if lock is None:
                return
            done = threading.Event()
            self.spawn(lambda: self._prolong(lock, seconds, done))
            try:
                for unit in due:
                    self._attempt(unit, partial(self._see_to, unit))
                if deletions:
                    self._attempt("deletions", self.deletions.remove)
            finally:
                done.set()
                self.backend.release(lock)
        except BackendDown:
            # Reported where the backend is asked. Copies grow stale meanwhile, and are confirmed when it is back.
            return

    def _prolong(self, lock: Lock, seconds: float, done: threading.Event) -> None:
        while not done.wait(seconds / 3):
            with contextlib.suppress(BackendDown):
                self.backend.prolong(lock, seconds)

    def _attempt(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except (NotFound, Rejected) as error:
            self._retry_at[name] = self.now() + _REFUSED_SECONDS
            _log.warning("sync of %s is left alone for an hour: %s", name, error)
        except TrustpilotError:
            # Reported where the call was made.
            self._retry_at[name] = self.now() + _RETRY_SECONDS
        except BackendDown:
            raise
        except Exception:  # noqa: BLE001  # a fault in one shop's data must not end the work for the others
            self._retry_at[name] = self.now() + _RETRY_SECONDS
            _log.exception("sync of %s failed", name)

    def _may(self, name: str) -> bool:
        return self.now() >= self._retry_at.get(name, 0.0)

    def _is_due(self, unit: str, state: ShopState) -> bool:
        if self.feed is None or not self._may(unit) or self.now() < state.unreadable_until:
            return False
        return self._is_feed_due(state) or self._is_backfill_due(unit, state)

    def _is_feed_due(self, state: ShopState) -> bool:
        return self.now() >= state.confirmed_at + self.fresh_seconds()

    def _is_backfill_due(self, unit: str, state: ShopState) -> bool:
        ready = self.backfill is not None and state.compared_at > 0 and self._may(f"{unit} backfill")
        return ready and not state.is_backfilled

    def _see_to(self, unit: str) -> None:
        state = self.shops.load(unit)  # another process may have been quicker
        if self.feed is None or not self._is_due(unit, state):
            return
        try:
            if self._is_feed_due(state):
                before = state
                state = self.feed.read(unit, state)
                self.shops.save(unit, state)
                if self.comparison is not None and self.now() >= before.compared_at + self.compare_seconds(
                    before.products
                ):
                    state = self.comparison.compare(unit, state)
                    self.shops.save(unit, state)
            if self.backfill is not None and self._is_backfill_due(unit, state):
                self.shops.save(unit, self.backfill.step(unit, state, self._stopped.is_set))
        except OutOfOrder:
            self._leave_alone(unit, state, UNORDERED_SECONDS, "is not newest first")
            self.report(FeedRead("out_of_order"))
            return
        except QuotaUsedUp as error:
            # Of the day or the hour: the feed is before the backfill, and nothing stops it for that.
            self._retry_at[f"{unit} backfill"] = self.now() + error.retry_after
            raise
        except (NotFound, Rejected) as error:
            self._leave_alone(unit, state, _REFUSED_SECONDS, f"can't be read: {error}")
            self.report(FeedRead("failed"))
            return
        except TrustpilotError:
            self.report(FeedRead("failed"))
            raise

    def _leave_alone(self, unit: str, state: ShopState, seconds: float, why: str) -> None:
        until = self.now() + seconds
        self.shops.save(unit, ShopState(compared_at=state.compared_at, unreadable_until=until, skus=state.skus))
        _log.warning("the feed of business unit %s %s; its products are confirmed by their counts", unit, why)

    def _run(self) -> None:
        while not self._stopped.is_set():
            attempt(self.round)
            self._stopped.wait(min(_LOOK_SECONDS, max(0.05, self.fresh_seconds() / 4)))


PACE_SECONDS = 60.0
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

_SKUS_COMPARED = 1000
_USED_UP = 0.85
_LONGER = 1.05
_LONGEST = 35_000.0
"""Of a quarter of an hour: a year."""

_DAY_SECONDS = 86_400
_ASKED = "plan:asked"


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
                self.backend.set(_ASKED, str(asked).encode(), _DAY_SECONDS)
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
            return int(self.backend.get(_ASKED) or 0)
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
