"""Time and turns: clocks and deadlines, passed in so that tests can shrink and steer time, and who works for whom."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from enum import IntEnum
from typing import TypeVar

from msgspec import Struct

_log = logging.getLogger(__name__)

Now = Callable[[], float]
"""Seconds since the epoch. Wall time, because copies are shared between processes and machines."""

Spawn = Callable[[Callable[[], None]], None]
"""Runs a function beside the caller and returns at once."""

CAUSE: ContextVar[str] = ContextVar("cause", default="")
"""The id of the request that this thread or greenlet works for."""


def spawn(job: Callable[[], None]) -> None:
    """Run ``job`` beside the caller: a greenlet where gunicorn's gevent worker runs, else a thread."""
    cause = CAUSE.get()

    def caused() -> None:
        # So that a call's log line names the request it is made for. Nothing else of the caller's context comes
        # along: Flask would take what the job asks of the app for a part of the caller's request.
        CAUSE.set(cause)
        job()

    # Looked up and not imported: the heart needs no gevent, and where nobody imported it nothing is patched.
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        # A patched thread is a greenlet too, and costs three times as much to begin.
        sys.modules["gevent"].spawn(caused)
    else:
        threading.Thread(target=caused, daemon=True).start()


class Every:
    """Does ``job`` every so many seconds beside the requests, from :meth:`start` to :meth:`stop`."""

    def __init__(self, seconds: float, job: Callable[[], None], spawn: Spawn, *, at_once: bool = True) -> None:
        self._seconds = seconds
        self._job = job
        self._spawn = spawn
        self._at_once = at_once
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin; called once, in the process that serves, after gunicorn's fork."""
        self._spawn(self._run)

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        if self._at_once:
            attempt(self._job)
        while not self._stopped.wait(self._seconds):
            attempt(self._job)


def attempt(job: Callable[[], None]) -> None:
    """Do what is done again and again: a bug in it is logged, and must not end it for as long as the worker lives."""
    try:
        job()
    except Exception:  # noqa: BLE001  # whatever it is, its rounds go on
        _log.exception("bug in what works beside the requests; it goes on")


_T = TypeVar("_T")
_TURN_SECONDS = 0.0002
"""About as long as a hit takes: who asks meanwhile waits for no more."""


def give_way() -> None:
    """Let the worker's requests run."""
    # Not 0: after that gevent runs the same greenlet again, fifty times, before it looks what has come in.
    time.sleep(0.0001)


def in_turns(items: Iterable[_T]) -> Iterator[_T]:
    """Yield ``items``, and let the worker's requests run whenever a moment was spent on them."""
    since = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() > since + _TURN_SECONDS:
            give_way()
            since = time.perf_counter()


class Priority(IntEnum):
    """Who a call is made for; the first gets the last of the quota."""

    FOREGROUND = 0
    """Somebody waits for it, as nothing is cached."""
    TRIAL = 1
    """Somebody waits who only tries a message out: that it fails counts nowhere."""
    FEED = 2
    """It tells about a whole shop."""
    BACKGROUND = 3
    """What is cached is known to have changed, or is to be made ready."""
    VALIDATION = 4
    """What is cached is old, and may still be right."""
    BACKFILL = 5
    """Nobody has asked for it yet."""


AWAITED = (Priority.FOREGROUND, Priority.TRIAL)


TRIES_OUT: ContextVar[bool] = ContextVar("tries_out", default=False)
"""Set around a request that only tries a message out."""


class Deadline(Struct, frozen=True, gc=False):
    """A moment on the monotonic clock by which a request must be answered."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    @classmethod
    def since(cls, started: float | None, seconds: float) -> Deadline:
        """Return the deadline ``seconds`` after a moment on the monotonic clock, or from now."""
        return cls((started or time.monotonic()) + seconds)

    def half(self) -> Deadline:
        """Return the deadline that lies half as far from now."""
        return Deadline.after(self.remaining() / 2)

    def remaining(self) -> float:
        """Return the seconds left, never less than 0."""
        return max(0.0, self.at - time.monotonic())
