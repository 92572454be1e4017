"""The plan: how many calls a year there are, and how many of them today may have.

What is left of the year is spread over the days that are left of it. Who waits is never refused because of it; what
may be answered from a stale copy is, so that freshness gets longer instead of calls more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.cache.backend import DAY_SECONDS, FOR_GOOD_SECONDS, Backend, BackendDown, Use, Window
from proxy.clock import Now, Priority

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
