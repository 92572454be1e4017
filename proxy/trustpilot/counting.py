"""Where calls are counted: in this process, or in Redis for everyone who shares it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from proxy.trustpilot.budget import Use, Window

T = TypeVar("T")


class OwnCounter:
    """Counts this process's calls. ``clock`` never goes back, whatever happens to the machine's time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: dict[Window, deque[float]] = {}

    def take(self, window: Window, most: int) -> bool:
        """Count one more call if ``window`` then holds at most ``most``; tell whether it was counted."""
        with self._lock:
            calls, now = self._current(window)
            if len(calls) >= most:
                return False
            calls.append(now)
            return True

    def use(self, window: Window) -> Use:
        """Return how much of ``window`` is used."""
        with self._lock:
            calls, now = self._current(window)
            return Use(window, len(calls), calls[0] + window.seconds - now if calls else 0.0)

    def _current(self, window: Window) -> tuple[deque[float], float]:
        now = self._clock()
        calls = self._calls.setdefault(window, deque())
        while calls and calls[0] <= now - window.seconds:
            calls.popleft()
        return calls, now


class Shared(Protocol):
    """Counts calls for everyone. Calls that were made while it was away are handed in with their ages in seconds."""

    def take(self, window: Window, most: int, missed: Sequence[float] = ()) -> bool:
        """Count ``missed``, then one more call if ``window`` then holds at most ``most``."""

    def use(self, window: Window, missed: Sequence[float] = ()) -> Use:
        """Count ``missed``; return how much of ``window`` is used."""


@dataclass
class _Outage:
    """What one window may still hold while Redis is away, and for a window's time after it."""

    known: int = 0
    known_at: float = float("-inf")
    down: bool = False
    room: int = 0
    reserve: int = 0
    settles_at: float = float("-inf")
    missed: deque[float] = field(default_factory=deque)


class SharedCounter:
    """Counts in Redis; while that can't be had, in this process against its part of what was left of each window.

    The workers of one machine divide what Redis last said was left. When Redis is back each hands in the calls it
    made meanwhile. Another worker's may come later, so what the others could have made stays reserved for as long as
    such calls are in the window.
    """

    def __init__(
        self,
        shared: Shared,
        own: OwnCounter,
        *,
        workers: int,
        down: type[Exception],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = shared
        self._own = own
        self._workers = workers
        self._down = down
        self._clock = clock
        self._lock = threading.Lock()
        self._outages: dict[Window, _Outage] = {}

    def take(self, window: Window, most: int) -> bool:
        """Count one more call if ``window`` then holds at most ``most``; tell whether it was counted."""
        # Redis' clock may jump too; this process alone never exceeds the window, whatever Redis says.
        if self._own.use(window).used >= most:
            return False
        reserve = self._reserve(window)
        taken = self._asked(window, lambda missed: self._shared.take(window, most - reserve, missed))
        if taken is None:
            return self._take_alone(window, most)
        if taken:
            self._own.take(window, window.calls)
            with self._lock:
                self._outage(window).known += 1
        return taken

    def use(self, window: Window) -> Use:
        """Return how much of ``window`` is used, with what is reserved for calls not handed in yet."""
        use = self._asked(window, lambda missed: self._shared.use(window, missed))
        with self._lock:
            outage = self._outage(window)
            if use is not None:
                outage.known, outage.known_at = use.used, self._clock()
                own = self._own.use(window)
                used = min(window.calls, max(use.used + outage.reserve, own.used))
                return Use(
                    window, used, max(use.frees_in, own.frees_in) if own.used >= window.calls else use.frees_in
                )
            used = window.calls - self._workers * max(0, outage.room - len(outage.missed))
            oldest = outage.missed[0] if outage.missed else max(outage.known_at, self._clock() - window.seconds)
            return Use(window, used, max(0.0, oldest + window.seconds - self._clock()))

    def _take_alone(self, window: Window, most: int) -> bool:
        with self._lock:
            outage = self._outage(window)
            kept_back = -(-(window.calls - most) // self._workers)
            if len(outage.missed) >= outage.room - kept_back or not self._own.take(window, most):
                return False
            outage.missed.append(self._clock())
            return True

    def _reserve(self, window: Window) -> int:
        with self._lock:
            return self._outage(window).reserve

    def _outage(self, window: Window) -> _Outage:
        """Return the state of ``window`` as of now: what has left the window counts no more."""
        now = self._clock()
        outage = self._outages.setdefault(window, _Outage())
        while outage.missed and outage.missed[0] <= now - window.seconds:
            outage.missed.popleft()
        if outage.down and outage.known_at <= now - window.seconds:
            outage.room = window.calls // self._workers
        if not outage.down and outage.settles_at <= now:
            outage.reserve = 0
        return outage

    def _asked(self, window: Window, question: Callable[[Sequence[float]], T]) -> T | None:
        with self._lock:
            outage = self._outage(window)
            now = self._clock()
            handed = list(outage.missed)
            outage.missed.clear()
        try:
            answer = question([now - moment for moment in handed])
        except self._down:
            # Reported where Redis is asked; here it only means to count alone.
            with self._lock:
                outage.missed.extendleft(reversed(handed))
                if not outage.down:
                    self._begin(outage, window)
            return None
        with self._lock:
            if outage.down:
                outage.down = False
                outage.settles_at = self._clock() + window.seconds
        return answer

    def _begin(self, outage: _Outage, window: Window) -> None:
        outage.down = True
        recent = outage.known_at > self._clock() - window.seconds
        left = window.calls - outage.reserve - (outage.known if recent else 0)
        part = max(0, left) // self._workers
        outage.room = len(outage.missed) + min(part, window.calls // self._workers - self._own.use(window).used)
        outage.reserve += (self._workers - 1) * part
