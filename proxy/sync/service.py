"""Does what is due, in one process of all at a time: whoever has the backend's lock. Nobody waits for it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from proxy.cache.backend import Backend, BackendDown, Lock
from proxy.clock import Now, Spawn
from proxy.events import FeedRead, Report, unheard
from proxy.sync.backfill import Backfill
from proxy.sync.comparison import Comparison
from proxy.sync.deletions import Deletions
from proxy.sync.feed import FeedReader, OutOfOrder
from proxy.sync.planner import COMPARE_SECONDS
from proxy.sync.shops import Shops, ShopState
from proxy.trustpilot.errors import NoAccess, NotFound, QuotaUsedUp, Rejected, TrustpilotError

_LOOK_SECONDS = 2.0
_LOCK = "sync"
_LOCK_SECONDS = 15.0
"""When the process that has the lock is killed, another goes on after so long; while it lives it renews the lock.

Sooner where copies are fresh for less.
"""

_RETRY_SECONDS = 15.0
_REFUSED_SECONDS = 3600.0
_UNORDERED_SECONDS = 86_400.0

_log = logging.getLogger(__name__)


class Sync:
    """The feed of each shop once per ``CACHE_FRESH_SECONDS``, its summaries and the deletions once an hour."""

    def __init__(
        self,
        backend: Backend,
        shops: Shops,
        deletions: Deletions,
        spawn: Spawn,
        now: Now,
        fresh_seconds: Callable[[], float],
        *,
        feed: FeedReader | None = None,
        comparison: Comparison | None = None,
        backfill: Backfill | None = None,
        compare_seconds: Callable[[int], float] = lambda _products: COMPARE_SECONDS,
        report: Report = unheard,
    ) -> None:
        """Without ``feed`` and what comes with it, which take an API secret, only deletions are looked for."""
        self._backfill = backfill
        self._compare_seconds = compare_seconds
        self._backend = backend
        self._shops = shops
        self._deletions = deletions
        self._spawn = spawn
        self._now = now
        self._fresh_seconds = fresh_seconds
        self._feed = feed
        self._comparison = comparison
        self._report = report
        self._retry_at: dict[str, float] = {}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin; called once, after the fork."""
        self._spawn(self._run)

    def stop(self) -> None:
        """End soon."""
        self._stopped.set()

    def states(self) -> dict[str, ShopState]:
        """Return what is known of each shop whose feed is read; nothing while the backend is down."""
        if self._feed is None:
            return {}
        with contextlib.suppress(BackendDown):
            return {unit: self._shops.load(unit) for unit in self._shops.business_units}
        return {}

    @property
    def has_feed(self) -> bool:
        """Whether there is a feed to read."""
        return self._feed is not None

    def counts(self) -> dict[str, int]:
        """Return of how many shops the feed is read, and all reviews are cached, as this process saw them last."""
        states = [self._shops.seen(unit) for unit in self._shops.business_units]
        behind = self._now() - 2 * self._fresh_seconds() - _LOOK_SECONDS
        return {
            "shops": len(states),
            "read_by_feed": sum(state.confirmed_at > behind for state in states),
            "whole": sum(state.is_backfilled for state in states),
        }

    def is_backfilled(self, business_unit: str) -> bool:
        """Tell whether all reviews of a shop are cached, or never will be. Raises :class:`BackendDown`."""
        state = self._shops.load(business_unit)
        return self._backfill is None or state.is_backfilled or self._now() < state.unreadable_until

    def progress(self, business_unit: str) -> tuple[int, int]:
        """Return how many reviews of a shop were read, and how many there are. Raises :class:`BackendDown`."""
        read = self._backfill.progress(business_unit).reviews if self._backfill else 0
        return read, self._shops.load(business_unit).reviews

    def round(self) -> None:
        """Look at what others did, and do what is due unless another process does."""
        try:
            due = [unit for unit in self._shops.business_units if self._is_due(unit, self._shops.load(unit))]
            deletions = self._may("deletions") and self._deletions.is_due()
            if not due and not deletions:
                return
            seconds = min(_LOCK_SECONDS, max(1.0, self._fresh_seconds()))
            lock = self._backend.lock(_LOCK, seconds)
            if lock is None:
                return
            done = threading.Event()
            self._spawn(lambda: self._prolong(lock, seconds, done))
            try:
                for unit in due:
                    self._attempt(unit, lambda unit=unit: self._see_to(unit))  # type: ignore[misc]  # bound now
                if deletions:
                    self._attempt("deletions", self._deletions.remove)
            finally:
                done.set()
                self._backend.release(lock)
        except BackendDown:
            # Reported where the backend is asked. Copies grow stale meanwhile, and are confirmed when it is back.
            return

    def _prolong(self, lock: Lock, seconds: float, done: threading.Event) -> None:
        """Renew ``lock`` until all is ``done``."""
        while not done.wait(seconds / 3):
            with contextlib.suppress(BackendDown):
                self._backend.prolong(lock, seconds)

    def _attempt(self, name: str, work: Callable[[], None]) -> None:
        """Do something whose failure is nobody else's."""
        try:
            work()
        except TrustpilotError:
            # Reported where the call was made.
            self._retry_at[name] = self._now() + _RETRY_SECONDS
        except BackendDown:
            raise
        except Exception:  # noqa: BLE001  # a fault in one shop's data must not end the work for the others
            self._retry_at[name] = self._now() + _RETRY_SECONDS
            _log.exception("sync of %s failed", name)

    def _may(self, name: str) -> bool:
        return self._now() >= self._retry_at.get(name, 0.0)

    def _is_due(self, unit: str, state: ShopState) -> bool:
        if self._feed is None or not self._may(unit) or self._now() < state.unreadable_until:
            return False
        return self._is_feed_due(state) or self._is_backfill_due(unit, state)

    def _is_feed_due(self, state: ShopState) -> bool:
        return self._now() >= state.confirmed_at + self._fresh_seconds()

    def _is_backfill_due(self, unit: str, state: ShopState) -> bool:
        ready = self._backfill is not None and state.compared_at > 0 and self._may(f"{unit} backfill")
        return ready and not state.is_backfilled

    def _see_to(self, unit: str) -> None:
        state = self._shops.load(unit)  # another process may have been quicker
        if self._feed is None or not self._is_due(unit, state):
            return
        try:
            if self._is_feed_due(state):
                before = state
                state = self._feed.read(unit, state)
                self._shops.save(unit, state)
                if self._comparison is not None and self._now() >= before.compared_at + self._compare_seconds(
                    before.products
                ):
                    state = self._comparison.compare(unit, state)
                    self._shops.save(unit, state)
            if self._backfill is not None and self._is_backfill_due(unit, state):
                self._shops.save(unit, self._backfill.step(unit, state, self._stopped.is_set))
        except OutOfOrder:
            self._leave_alone(unit, state, _UNORDERED_SECONDS, "is not newest first")
            self._report(FeedRead("out_of_order"))
            return
        except QuotaUsedUp as error:
            # Of the day or the hour: the feed is before the backfill, and nothing stops it for that.
            self._retry_at[f"{unit} backfill"] = self._now() + error.retry_after
            raise
        except (NoAccess, NotFound, Rejected) as error:
            self._leave_alone(unit, state, _REFUSED_SECONDS, f"can't be read: {error}")
            self._report(FeedRead("failed"))
            return
        except TrustpilotError:
            self._report(FeedRead("failed"))
            raise

    def _leave_alone(self, unit: str, state: ShopState, seconds: float, why: str) -> None:
        self._shops.save(unit, ShopState(unreadable_until=self._now() + seconds, compared_at=state.compared_at))
        _log.warning("the feed of business unit %s %s; its products are confirmed by their counts", unit, why)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.round()
            self._stopped.wait(min(_LOOK_SECONDS, max(0.05, self._fresh_seconds() / 4)))
