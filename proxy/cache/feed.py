"""What this process hears of the others: their changes in time for the next read, and the end of a lock at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from proxy.cache.backend import Backend, BackendDown, Change, Lock
from proxy.clock import Spawn

_LONGEST_NAP_SECONDS = 1.0
"""A holder that died tells nobody: after this long the lock is tried again."""

_PAUSE_SECONDS = 0.05


class Feed:
    """Passes a backend's changes on to listeners and to those who wait for a lock."""

    def __init__(self, backend: Backend, spawn: Spawn) -> None:
        self._backend = backend
        self._spawn = spawn
        self._cursor = 0
        self._lock = threading.Lock()
        self._waiters: dict[str, list[_Waiter]] = {}
        self._is_pumping = False
        self._listeners: list[Callable[[Change], None]] = []
        self._gap_listeners: list[Callable[[], None]] = []

    def when_changed(self, listener: Callable[[Change], None]) -> None:
        """Call ``listener`` with each change, this process's own too, some perhaps twice."""
        self._listeners.append(listener)

    def when_missed(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when changes were missed: whatever was read before may be old."""
        self._gap_listeners.append(listener)

    def drain(self) -> None:
        """Pass on all that has happened by now."""
        try:
            changes = self._backend.changes(self._cursor)
        except BackendDown:
            return
        if changes.cursor == self._cursor:
            return
        if not changes.complete:
            for missed in self._gap_listeners:
                missed()
        for change in changes.items:
            for listener in self._listeners:
                listener(change)
        # Only now: another thread that finds nothing new has to find it passed on.
        self._cursor = max(self._cursor, changes.cursor)
        if self._waiters:
            self._wake(changes.items, complete=changes.complete)

    def acquire(self, name: str, ttl: float) -> Lock | Change:
        """Take the lock ``name``, or wait until its holder is done and return how it ended.

        Raises :class:`BackendDown`.
        """
        lock = self._backend.lock(name, ttl)
        if lock is not None:
            return lock
        with self._expecting(name) as waiter:
            # Once more: it may have been released before anybody here listened for it.
            while (lock := self._backend.lock(name, ttl)) is None:
                change = waiter.wait(_LONGEST_NAP_SECONDS if self._backend.is_heard else _PAUSE_SECONDS)
                if change is not None:
                    return change
        return lock

    @contextmanager
    def _expecting(self, name: str) -> Iterator[_Waiter]:
        waiter = _Waiter()
        with self._lock:
            self._waiters.setdefault(name, []).append(waiter)
            starts, self._is_pumping = not self._is_pumping, True
        if starts:
            self._spawn(self._pump)
        try:
            yield waiter
        finally:
            with self._lock:
                self._waiters[name].remove(waiter)
                if not self._waiters[name]:
                    del self._waiters[name]

    def _pump(self) -> None:
        """Drain while somebody waits for a lock: else the next read does it."""
        while True:
            with self._lock:
                if not self._waiters:
                    self._is_pumping = False
                    return
            try:
                self._backend.wait(self._cursor, _LONGEST_NAP_SECONDS)
            except BackendDown:
                time.sleep(_PAUSE_SECONDS)
            self.drain()

    def _wake(self, changes: Sequence[Change], *, complete: bool) -> None:
        with self._lock:
            if not complete:
                for waiters in self._waiters.values():
                    for waiter in waiters:
                        waiter.tell(None)
            for change in changes:
                for waiter in self._waiters.get(change.lock, ()) if change.lock else ():
                    waiter.tell(change)


class _Waiter:
    """Where one who waits for a lock hears of its end."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._change: Change | None = None

    def tell(self, change: Change | None) -> None:
        """Wake the waiter: the lock ended, or nobody knows (``None``)."""
        self._change = change
        self._woken.set()

    def wait(self, seconds: float) -> Change | None:
        """Return how the lock ended, ``None`` when it is to be tried again."""
        self._woken.wait(seconds)
        self._woken.clear()
        change, self._change = self._change, None
        return change
