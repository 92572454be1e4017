"""Bounds how many calls are under way at once, so that a Trustpilot that hangs takes a bounded part of the proxy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from proxy.clock import Deadline, Priority
from proxy.trustpilot.errors import Busy

REFRESHES_AT_ONCE = 8
"""When Trustpilot hangs, this many calls are lost finding out. Two in a second are already more than the hourly
quota allows for refreshing, so they need no more places."""


class Bulkhead:
    """``size`` calls at once, at most ``refreshes`` of them in the background."""

    def __init__(self, size: int, *, refreshes: int = REFRESHES_AT_ONCE) -> None:
        self._places = threading.BoundedSemaphore(size)
        self._refreshes = threading.BoundedSemaphore(refreshes)

    @contextmanager
    def place(self, priority: Priority, deadline: Deadline) -> Iterator[None]:
        """Hold a place, waiting for it until ``deadline``. Raises :class:`Busy`; in the background at once."""
        if priority is Priority.BACKGROUND and not self._refreshes.acquire(blocking=False):
            raise Busy("too many refreshes are under way")
        try:
            if not self._places.acquire(timeout=deadline.remaining()):
                raise Busy("too many calls to Trustpilot are under way")
            try:
                yield
            finally:
                self._places.release()
        finally:
            if priority is Priority.BACKGROUND:
                self._refreshes.release()
