"""How the writes of one process become few transactions, what is said of trouble, and how the file stays small.

The steps of the upkeep are small transactions, so that nobody waits for one; each tells whether there is more to do.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from proxy.cache.backend import DAY_SECONDS, EXACT_SECONDS, BackendDown
from proxy.cache.sqlite_file import Opened, is_busy, is_damage
from proxy.clock import Spawn
from proxy.events import FileFailed, Report

T = TypeVar("T")

USED_SECONDS = 600.0
"""How exactly it is known when a product was last used."""

_AT_ONCE = 500
_EVICTED_AT_ONCE = 50
_ROOM = 0.9
"""Of the most bytes, what is left when products had to leave, so that not every write has one leave."""

_FREE = 0.25
"""Of the file, what may lie idle for what is written next, before the file is made smaller."""

_FREE_PAGES = 1000
_SHRUNK_AT_ONCE = 500
_REPEATED_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Job:
    """One write, and where its caller waits for it."""

    def __init__(self, work: Callable[[Opened], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: Exception | None = BackendDown("the write was given up")
        self.done = threading.Event()


class GroupCommit:
    """Runs what several callers want written in one transaction: what came while another one was under way."""

    def __init__(self, commit: Callable[[list[Job]], None], spawn: Spawn) -> None:
        self._commit = commit
        self._spawn = spawn
        self._lock = threading.Lock()
        self._waiting: list[Job] = []
        self._is_writing = False

    def run(self, work: Callable[[Opened], T]) -> T:
        """Return what ``work`` returned, once it is committed, or raise what ``commit`` raised."""
        job = Job(work)
        with self._lock:
            self._waiting.append(job)
            is_first, self._is_writing = not self._is_writing, True
        if is_first:
            self._write()
        else:
            job.done.wait()
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def _write(self) -> None:
        with self._lock:
            jobs = self._waiting[:_AT_ONCE]
            del self._waiting[:_AT_ONCE]
        try:
            self._run(jobs)
        finally:
            # Also when the caller is being ended meanwhile.
            for job in jobs:
                job.done.set()
            with self._lock:
                self._is_writing = bool(self._waiting)
            if self._is_writing:
                self._spawn(self._write)

    def _run(self, jobs: list[Job]) -> None:
        try:
            self._commit(jobs)
        except Exception as error:  # noqa: BLE001  # it is raised again in every caller that waits
            for job in jobs:
                if len(jobs) > 1 and not isinstance(error, BackendDown):
                    # One of them may be at fault.
                    self._run([job])
                else:
                    job.error = error
        else:
            for job in jobs:
                job.error = None


class Troubles:
    """Says once what is wrong with the file, and once that it is over."""

    def __init__(self, path: Path, report: Report) -> None:
        self._path = path
        self._report = report
        self._reason = ""
        self._said_at = float("-inf")

    def begun(self, error: Exception) -> BackendDown:
        """Note ``error``; return what to raise for it."""
        kind, reason = _kind(error)
        self._report(FileFailed(kind))
        now = time.monotonic()
        if reason != self._reason or now > self._said_at + _REPEATED_SECONDS:
            _log.warning("the cache file %s can't be used, going on without it: %s", self._path, reason)
            self._said_at = now
        self._reason = reason
        return BackendDown(f"the cache file can't be used: {reason}")

    def over(self) -> None:
        """Note that something was written."""
        if self._reason:
            self._reason = ""
            _log.warning("the cache file %s can be used again", self._path)


def _kind(error: Exception) -> tuple[str, str]:
    """Return what kind of trouble ``error`` is, and the reason in words."""
    if isinstance(error, sqlite3.Error):
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if is_busy(error):
            return "locked", "another process locks it"
        if is_damage(error):
            return "damaged", "it is damaged"
        if name in ("SQLITE_FULL", "SQLITE_IOERR_WRITE"):
            return "full", "the disk is full"
        return "other", name
    if isinstance(error, OSError):
        return "full" if error.errno in (errno.ENOSPC, errno.EFBIG) else "other", error.strerror or "an OSError"
    return "other", str(error)


def note_used(file: Opened, products: Iterable[str]) -> None:
    """Note that ``products`` were read."""
    now = file.now()
    file.writer.executemany("UPDATE products SET used_at = ? WHERE product = ?", [(now, name) for name in products])


def begin_maintenance(file: Opened, pause: float) -> bool:
    """Tell whether it is this process's turn, and remember what time it was."""
    now = file.now()
    return bool(
        file.writer.execute(
            "UPDATE clock SET maintained_at = ?1, latest = max(latest, ?1) WHERE maintained_at <= ?2",
            (now, now - pause),
        ).rowcount
    )


def drop_expired(file: Opened) -> bool:
    """Drop what has expired; tell whether there is more."""
    now, dropped = file.now(), 0
    for statement, moment in (
        ("DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires_at <= ? LIMIT ?)", now),
        ("DELETE FROM records WHERE rowid IN (SELECT rowid FROM records WHERE expires_at <= ? LIMIT ?)", now),
        ("DELETE FROM locks WHERE name IN (SELECT name FROM locks WHERE expires_at <= ? LIMIT ?)", now),
        (
            "DELETE FROM calls WHERE seq IN (SELECT seq FROM calls WHERE at <= ? ORDER BY at LIMIT ?)",
            now - EXACT_SECONDS,
        ),
        (
            "DELETE FROM products WHERE product IN (SELECT product FROM products WHERE used_at < ?1 AND "
            "generation_until < ?1 AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.product = products.product) "
            "LIMIT ?2)",
            now - DAY_SECONDS,
        ),
        (
            "DELETE FROM call_days WHERE day IN (SELECT day FROM call_days WHERE day < ? LIMIT ?)",
            now // DAY_SECONDS - 800,
        ),
    ):
        dropped += file.writer.execute(statement, (moment, _AT_ONCE)).rowcount
    return dropped >= _AT_ONCE


def drop_unused(file: Opened, max_bytes: int) -> bool:
    """Drop the entries of the products used least recently while there are too many bytes; tell whether there are."""
    if used_bytes(file) <= max_bytes * _ROOM:
        return False
    dropped = file.writer.execute(
        "DELETE FROM entries WHERE product IN (SELECT product FROM products WHERE EXISTS "
        "(SELECT 1 FROM entries WHERE entries.product = products.product) ORDER BY used_at LIMIT ?)",
        (_EVICTED_AT_ONCE,),
    )
    return dropped.rowcount > 0


def shrink(file: Opened, max_bytes: int) -> bool:
    """Give pages that lie idle back to the disk, if they are many; tell whether there are more."""
    idle, pages = _pragma(file, "freelist_count"), _pragma(file, "page_count")
    is_within = pages * _pragma(file, "page_size") <= max_bytes
    if not idle or (is_within and (idle <= _FREE_PAGES or idle <= pages * _FREE)):
        return False
    # A step for each page: to be fetched to the last.
    file.writer.execute(f"PRAGMA incremental_vacuum({_SHRUNK_AT_ONCE})").fetchall()
    return True


def cut(file: Opened, path: Path, max_bytes: int) -> None:
    """Have what was given back leave the disk now, where the file is too large: else it does with later writes."""
    # What was written is written: it has not failed if this does.
    with suppress(sqlite3.Error, OSError):
        if path.stat().st_size > max_bytes >= _pragma(file, "page_count") * _pragma(file, "page_size"):
            file.writer.execute("PRAGMA wal_checkpoint").fetchall()


def used_bytes(file: Opened) -> int:
    """Return the bytes that what is kept takes in the file."""
    return (_pragma(file, "page_count") - _pragma(file, "freelist_count")) * _pragma(file, "page_size")


def _pragma(file: Opened, name: str) -> int:
    [number] = file.writer.execute(f"PRAGMA {name}").fetchone()
    return int(number)
