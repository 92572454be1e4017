"""How many calls may be made: Trustpilot's two windows, counted by everyone who shares the storage.

Trustpilot recommends at most 833 calls per 5 minutes and 10,000 per hour ("API rate limits"). Both are moving
windows: in no stretch of 5 minutes are there more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.clock import Priority
from proxy.trustpilot.errors import BudgetSpent

REFRESH_SHARE = 0.8
"""Of a window, for refreshing copies that can still be served. The rest is for products that have none."""


@dataclass(frozen=True)
class Window:
    """At most ``calls`` in any ``seconds``."""

    name: str
    calls: int
    seconds: int


@dataclass(frozen=True)
class Use:
    """How much of a window is used, and in how many seconds its oldest call leaves it."""

    window: Window
    used: int
    frees_in: float


class Counter(Protocol):
    """Counts calls in moving windows."""

    def take(self, window: Window, most: int) -> bool:
        """Count one more call if ``window`` then holds at most ``most``; tell whether it was counted."""

    def use(self, window: Window) -> Use:
        """Return how much of ``window`` is used."""


class Budget:
    """Lets calls pass while every window has room; foreground ones to the last, refreshes up to 80 %."""

    def __init__(self, counter: Counter, windows: Sequence[Window]) -> None:
        self._counter = counter
        self._windows = windows

    def take(self, *, priority: Priority) -> None:
        """Count one call in every window. Raises :class:`BudgetSpent`, which says when there is room again."""
        for window in self._windows:
            # Seen before any is taken, so that a call the hour refuses is not charged to the five minutes.
            use = self._counter.use(window)
            if use.used >= self._most(window, priority=priority):
                raise self._spent(use)
        for window in self._windows:
            if not self._counter.take(window, self._most(window, priority=priority)):
                raise self._spent(self._counter.use(window))

    def uses(self) -> list[Use]:
        """Return how much of each window is used."""
        return [self._counter.use(window) for window in self._windows]

    def _most(self, window: Window, *, priority: Priority) -> int:
        return window.calls if priority is Priority.FOREGROUND else math.floor(window.calls * REFRESH_SHARE)

    def _spent(self, use: Use) -> BudgetSpent:
        wait = max(1, math.ceil(use.frees_in))
        return BudgetSpent(
            f"the budget of {use.window.calls} calls per {use.window.name} is used up", retry_after=wait
        )
