"""Where calls are counted: in this process, or in Redis for everyone who shares it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from limits.storage import MemoryStorage, MovingWindowSupport

from proxy.trustpilot.budget import Counter, Use, Window

T = TypeVar("T")


class LimitsCounter:
    """Counts in one of the ``limits`` library's storages."""

    def __init__(self, storage: MovingWindowSupport) -> None:
        self._storage = storage

    @classmethod
    def in_memory(cls) -> LimitsCounter:
        """Return a counter of this process's calls alone."""
        return cls(MemoryStorage())

    def take(self, window: Window, most: int) -> bool:
        """Count one more call if ``window`` then holds at most ``most``; tell whether it was counted."""
        return most > 0 and self._storage.acquire_entry(_key(window), most, window.seconds)

    def use(self, window: Window) -> Use:
        """Return how much of ``window`` is used."""
        oldest, used = self._storage.get_moving_window(_key(window), window.calls, window.seconds)
        return Use(window, used, oldest + window.seconds)


class SharedCounter:
    """Counts in Redis; while that can't be had, in this process against its part of each window.

    Its part is one of ``workers``, so that the workers of one machine together still keep to the window. What it
    counted itself before Redis went away is known and goes on counting.
    """

    def __init__(self, shared: Counter, own: Counter, *, workers: int, down: type[Exception]) -> None:
        self._shared = shared
        self._own = own
        self._workers = workers
        self._down = down

    def take(self, window: Window, most: int) -> bool:
        """Count one more call if ``window`` then holds at most ``most``; tell whether it was counted."""
        taken = self._asked(lambda: self._shared.take(window, most))
        if taken is None:
            return self._own.take(window, max(1, most // self._workers))
        if taken:
            self._own.take(window, window.calls)
        return taken

    def use(self, window: Window) -> Use:
        """Return how much of ``window`` is used."""
        use = self._asked(lambda: self._shared.use(window))
        if use is None:
            own = self._own.use(window)
            return replace(own, used=min(window.calls, own.used * self._workers))
        return use

    def _asked(self, question: Callable[[], T]) -> T | None:
        try:
            return question()
        except self._down:
            # Reported where Redis is asked; here it only means to count alone.
            return None


def _key(window: Window) -> str:
    return f"calls/{window.seconds}"
