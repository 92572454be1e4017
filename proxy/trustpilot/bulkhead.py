"""Bounds how many calls are under way at once, and says whose turn it is when they are more.

A Trustpilot that hangs takes a bounded part of the proxy; one that is slow serves as many callers as it can.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from proxy.clock import PATIENCE, Deadline, Patience, Priority
from proxy.trustpilot.errors import Busy

REFRESHES_AT_ONCE = 8
"""When Trustpilot hangs, this many calls are lost finding out. Two in a second are already more than the hourly
quota allows for refreshing, so they need no more slots."""

_KEPT_SHARE = 1 / 8
"""Of the slots, never taken by a refresh: the next caller may need one."""

_NEWEST_WEIGHT = 0.1
"""Of the latest call in what a call is expected to take."""


class _Waiting:
    """A call that waits for a slot. ``turn`` is set when it has one."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.turn = threading.Event()
        self.left = False


class Bulkhead:
    """``size`` calls at once, at most ``refreshes`` of them in the background.

    A free slot goes to the call whose callers' time ends first, among those that can still be answered in time; then
    to those for which it is too late, in the order they came: what they fetch serves the next who asks.
    ``now`` is the clock of :class:`~proxy.clock.Deadline`.
    """

    def __init__(
        self, size: int, *, refreshes: int = REFRESHES_AT_ONCE, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._free = size
        self._kept = int(size * _KEPT_SHARE)
        self._refreshes = refreshes
        self._number = count()
        self._waiting: list[tuple[float, int, _Waiting]] = []
        self._late: deque[_Waiting] = deque()
        self._expected = 0.0
        """Seconds that a call takes, of late."""

    @property
    def waiting(self) -> int:
        """How many calls wait for a slot."""
        with self._lock:
            return sum(not waiting.left for *_, waiting in self._waiting) + len(self._late)

    @contextmanager
    def slot(self, priority: Priority, deadline: Deadline) -> Iterator[None]:
        """Hold a slot, waiting for it until ``deadline``. Raises :class:`Busy`; in the background at once."""
        in_background = not priority.is_awaited
        if in_background:
            self._acquire_for_refresh()
        else:
            self._await_slot(deadline)
        began = self._now()
        try:
            yield
        finally:
            with self._lock:
                self._refreshes += in_background
                self._expected += (self._now() - began - self._expected) * _NEWEST_WEIGHT
                self._give_on()

    def _acquire_for_refresh(self) -> None:
        with self._lock:
            if not self._refreshes:
                raise Busy("too many refreshes are under way")
            if self._free <= self._kept:
                raise Busy("too many calls to Trustpilot are under way")
            self._refreshes -= 1
            self._free -= 1

    def _await_slot(self, deadline: Deadline) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            waiting = _Waiting(PATIENCE.get() or Patience())
            self._queue(waiting)
        if waiting.turn.wait(deadline.remaining()):
            return
        with self._lock:
            if not waiting.turn.is_set():
                waiting.left = True
                raise Busy("too many calls to Trustpilot are under way")

    def _queue(self, waiting: _Waiting) -> None:
        heapq.heappush(self._waiting, (waiting.patience.until, next(self._number), waiting))

    def _give_on(self) -> None:
        following = self._following()
        if following is None:
            self._free += 1
        else:
            following.turn.set()

    def _following(self) -> _Waiting | None:
        """Take the call out of the queue whose turn it is."""
        last_start = self._now() + self._expected
        while self._waiting:
            until, _, waiting = heapq.heappop(self._waiting)
            if waiting.left:
                continue
            if waiting.patience.until != until:
                self._queue(waiting)  # somebody else joined meanwhile
            elif until < last_start:
                self._late.append(waiting)
            else:
                return waiting
        while self._late:
            waiting = self._late.popleft()
            if not waiting.left:
                return waiting
        return None
