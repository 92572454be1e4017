"""Keeps a scrape from reading the workers' files while those of an ended worker are added to the others'."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold ``folder`` alone, to move counts between its files."""
    with _held(folder, fcntl.LOCK_EX):
        yield


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Hold ``folder`` with others who only read."""
    with _held(folder, fcntl.LOCK_SH):
        yield


@contextmanager
def _held(folder: Path, how: int) -> Iterator[None]:
    # The system's lock: it ends with a process that is killed.
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, how)
        yield
