"""Whether the master was told to stop. Shared with the workers it forks, so that ``/readyz`` turns in all at once."""

from __future__ import annotations

import mmap
import signal
from types import FrameType

_flag = mmap.mmap(-1, 1)
"""One byte of anonymous shared memory. It outlives SIGHUP, which runs ``gunicorn.conf.py`` again but not this."""


def is_set() -> bool:
    """Tell whether the stop has begun."""
    return _flag[0] == 1


def begin() -> None:
    """Tell every worker."""
    _flag[0] = 1


def begin_on_sigterm() -> None:
    """Begin in the very moment SIGTERM comes, before whoever handles it now does."""
    handle = signal.getsignal(signal.SIGTERM)

    def drain(number: int, frame: FrameType | None) -> None:
        begin()
        if callable(handle):
            handle(number, frame)

    signal.signal(signal.SIGTERM, drain)
