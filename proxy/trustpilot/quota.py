"""The quota: how many calls may be made in Trustpilot's two moving windows, counted by all who share the backend.

Trustpilot recommends at most 833 calls per 5 minutes and 10,000 per hour ("API rate limits"): in no stretch of 5
minutes are there more.

While the backend is down each process counts alone, against its part of what was left of each window: the workers of
one machine divide that. Once the backend is back each hands in the calls it made meanwhile. Another worker's may come
later, so what the others could have made stays reserved for as long as such calls are in the window.

What is left of the plan's year is spread over the days that are left of it. Who waits is never refused because of it;
what may be answered from a stale copy is, so that freshness gets longer instead of calls more.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from proxy.cache.backend import DAY_SECONDS, FOR_GOOD_SECONDS, Backend, BackendDown, Use, Window
from proxy.cache.memory import CallLog
from proxy.clock import Now, Priority
from proxy.trustpilot import QuotaUsedUp

BACKGROUND_SHARE = 0.8
"""Of a window, for refreshing what can still be served stale. The rest is for products that are not cached."""


@dataclass
class _WindowState:
    """What one window may still hold while the backend is down, and for a window's time after that."""

    known: int = 0
    known_at: float = -math.inf
    room: int = 0
    reserve: int = 0
    settles_at: float = -math.inf


class Quota:
    """Lets calls pass while every window has room; foreground ones to the last, background ones up to 80 %."""

    def __init__(
        self,
        backend: Backend,
        windows: Sequence[Window],
        *,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
        plan: Plan | None = None,
    ) -> None:
        """``workers`` of this machine share it. ``clock``: seconds that never go back, as the wall clock may.

        Without a ``plan`` there is no limit by the year.
        """
        self._plan = plan
        self._backend = backend
        self._windows = windows
        self._workers = workers
        self._clock = clock
        self._lock = threading.Lock()
        self._own = CallLog()
        self._states = {window: _WindowState() for window in windows}
        self._down = False
        self._missed: deque[float] = deque()
        """Moments of calls made while the backend was down, not handed in yet."""

    def spend(self, *, priority: Priority, free: bool = False) -> None:
        """Count one call in every window, a ``free`` one not in the plan.

        Raises :class:`QuotaUsedUp`, which says when there is room again.
        """
        with self._lock:
            # The backend's clock may jump too; this process alone never exceeds a window, whatever it says.
            self._refuse_beyond(self._own_uses(), priority)
            limits = [self._limited(window, priority, self._current(window).reserve) for window in self._windows]
            free = free and not self._missed
        plan = [] if free or self._plan is None else self._plan.windows(priority)
        usage = self._count([*limits, *plan], 1)
        if usage is None:
            self._spend_alone(priority)
        elif usage[0]:
            with self._lock:
                self._own.add(self._clock(), self._clock())
        else:
            uses = [use._replace(window=window) for use, window in zip(usage[1], [*limits, *plan], strict=True)]
            self._refuse_beyond(uses[: len(limits)])
            for use in uses[len(limits) :]:
                if use.used >= use.window.calls:
                    raise _used_up(use)

    def uses(self) -> list[Use]:
        """Return how much of each window is used, with what is reserved for calls not handed in yet."""
        usage = self._count(self._windows, 0)
        with self._lock:
            if usage is None:
                return [self._estimate(window) for window in self._windows]
            return [self._with_reserve(use, own) for use, own in zip(usage[1], self._own_uses(), strict=True)]

    def plan_use(self) -> PlanUse | None:
        """Return how much of the plan is used, ``None`` where there is no limit by the year."""
        if self._plan is None:
            return None
        self._count([*self._windows, *self._plan.windows()], 0)
        return self._plan.use()

    def _count(self, windows: Sequence[Window], calls: int) -> tuple[bool, Sequence[Use]] | None:
        """Ask the backend, and hand in what was missed; ``None`` while it is down."""
        with self._lock:
            now = self._clock()
            missed = list(self._missed)
            self._missed.clear()
        try:
            counted, uses = self._backend.count(windows, calls, missed=[now - moment for moment in missed])
        except BackendDown:
            # Reported where the backend is asked; here it only means to count alone.
            with self._lock:
                self._missed.extendleft(reversed(missed))
                if not self._down:
                    self._begin_outage()
            return None
        with self._lock:
            now = self._clock()
            if self._plan is not None and len(uses) > len(self._windows):
                self._plan.note(uses[len(self._windows) :])
            for window, use in zip(self._windows, uses, strict=False):
                state = self._states[window]
                state.known, state.known_at = use.used, now
                if self._down:
                    state.settles_at = now + window.seconds
            self._down = False
        return counted, uses

    def _spend_alone(self, priority: Priority) -> None:
        with self._lock:
            for window in self._windows:
                kept_back = -(-(window.calls - self._limited(window, priority).calls) // self._workers)
                if self._missed_in(window) >= self._current(window).room - kept_back:
                    raise _used_up(self._estimate(window))
            now = self._clock()
            self._own.add(now, now)
            self._missed.append(now)

    def _begin_outage(self) -> None:
        self._down = True
        now = self._clock()
        for window, own in zip(self._windows, self._own_uses(), strict=True):
            state = self._current(window)
            recent = state.known_at > now - window.seconds
            left = window.calls - state.reserve - (state.known if recent else 0)
            part = max(0, left) // self._workers
            state.room = self._missed_in(window) + min(part, window.calls // self._workers - own.used)
            state.reserve += (self._workers - 1) * part

    def _current(self, window: Window) -> _WindowState:
        """Return the state of ``window`` as of now: what has left the window counts no more."""
        now = self._clock()
        state = self._states[window]
        longest = max(each.seconds for each in self._windows)
        while self._missed and self._missed[0] <= now - longest:
            self._missed.popleft()
        if self._down and state.known_at <= now - window.seconds:
            state.room = window.calls // self._workers
        if not self._down and state.settles_at <= now:
            state.reserve = 0
        return state

    def _estimate(self, window: Window) -> Use:
        state, missed, now = self._current(window), self._missed_in(window), self._clock()
        used = window.calls - self._workers * max(0, state.room - missed)
        oldest = self._missed[-missed] if missed else max(state.known_at, now - window.seconds)
        return Use(window, used, max(0.0, oldest + window.seconds - now))

    def _with_reserve(self, use: Use, own: Use) -> Use:
        window = own.window
        used = min(window.calls, max(use.used + self._states[window].reserve, own.used))
        return Use(window, used, max(use.frees_in, own.frees_in))

    def _missed_in(self, window: Window) -> int:
        since = self._clock() - window.seconds
        return sum(moment > since for moment in self._missed)

    def _own_uses(self) -> list[Use]:
        return [self._own.use(window, self._clock()) for window in self._windows]

    def _limited(self, window: Window, priority: Priority, reserve: int = 0) -> Window:
        if priority is Priority.FOREGROUND and not reserve:
            return window
        share = 1.0 if priority is Priority.FOREGROUND else BACKGROUND_SHARE
        return window._replace(calls=max(0, math.floor(window.calls * share) - reserve))

    def _refuse_beyond(self, uses: Sequence[Use], priority: Priority = Priority.FOREGROUND) -> None:
        for use in uses:
            if use.used >= self._limited(use.window, priority).calls:
                raise _used_up(use)


def _used_up(use: Use) -> QuotaUsedUp:
    wait = max(1, math.ceil(use.frees_in))
    return QuotaUsedUp(f"the budget of {use.window.calls} calls per {use.window.name} is used up", retry_after=wait)


YEAR_DAYS = 365

_TODAY_SECONDS = DAY_SECONDS + 1
"""Beyond a day calls are counted by the day, midnight to midnight: of such a window one second longer, today's."""

_YEAR_SECONDS = YEAR_DAYS * DAY_SECONDS
_BOUNDLESS = 10**12
_LEAST_DAYS = 7
"""When the first year is over, what was not used is spread over so many days."""

_SHARES: Mapping[Priority, float] = {Priority.FEED: 1.0, Priority.VALIDATION: 0.9, Priority.BACKFILL: 0.8}
"""Of the day's share. Others have no part: who waits, and what is known to have changed."""

_KEY = "plan:start"


@dataclass(frozen=True)
class PlanUse:
    """How much of the plan is used. ``share`` is what today may have, ``days`` how long the plan has been counted."""

    limit: int
    used: int
    today: int
    share: int
    days: int

    @property
    def days_until_used_up(self) -> float | None:
        """Return in how many days it would be used up if it went on as up to now, ``None``: not within the year."""
        left = self.limit - self.used
        a_day = self.used / max(1, min(self.days, YEAR_DAYS))
        days = left / a_day if a_day else float(YEAR_DAYS)
        return max(0.0, days) if days < YEAR_DAYS - self.days else None


class Plan:
    """Counts a year's calls, together with all who share the backend."""

    def __init__(self, backend: Backend, calls: int, now: Now) -> None:
        self._backend = backend
        self._calls = calls
        self._now = now
        self._started: int | None = None
        self._today = self._year = 0

    def windows(self, priority: Priority = Priority.FOREGROUND) -> list[Window]:
        """Return what a call of ``priority`` is counted in, and how much there may be."""
        day = year = _BOUNDLESS
        self._days()  # the year begins with the first call
        if priority is not Priority.FOREGROUND:
            year = self._calls
        if priority in _SHARES:
            day = int(self.use().share * _SHARES[priority])
        return [Window("day", day, _TODAY_SECONDS), Window("year", year, _YEAR_SECONDS)]

    def note(self, uses: Sequence[Use]) -> None:
        """Take over how much of :meth:`windows` is used."""
        self._today, self._year = (use.used for use in uses)

    def use(self) -> PlanUse:
        """Return how much was used when that was noted last."""
        days = self._days()
        left = max(0, self._calls - (self._year - self._today))
        share = left // max(_LEAST_DAYS, YEAR_DAYS - days)
        return PlanUse(self._calls, self._year, self._today, share, days)

    def _days(self) -> int:
        """Return for how many days calls have been counted."""
        today = int(self._now() // DAY_SECONDS)
        if self._started is None:
            try:
                kept = self._backend.add(_KEY, str(today).encode(), FOR_GOOD_SECONDS)
                self._started = min(today, int(kept)) if kept and kept.isdigit() else today
            except BackendDown:
                return 0
        return today - self._started
