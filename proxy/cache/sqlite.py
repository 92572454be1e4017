"""The backend in one SQLite file, for all processes of one machine.

Reads are a few microseconds from the system's own cache and are made at once. Writes go through one connection, all
that wait for it in one transaction, and beside the greenlets: nothing ever waits inside SQLite.
"""

from __future__ import annotations

import math
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from proxy.cache.backend import (
    CHANGES_REMEMBERED,
    DAY_SECONDS,
    EXACT_SECONDS,
    BackendDown,
    Change,
    Changes,
    Lock,
    Product,
    Usage,
    Use,
    Window,
)
from proxy.cache.memory import counts_by_day, days_use
from proxy.cache.sqlite_file import (
    FileRefused,
    MachineClock,
    Opened,
    is_busy,
    is_damage,
    is_same,
    log_lost,
    open_file,
    set_aside,
)
from proxy.cache.sqlite_upkeep import (
    USED_SECONDS,
    GroupCommit,
    Job,
    Troubles,
    begin_maintenance,
    cut,
    drop_expired,
    drop_unused,
    note_used,
    shrink,
    used_bytes,
)
from proxy.cache.wal_index import DESCRIPTORS, WalIndex, owner
from proxy.clock import Spawn
from proxy.events import Report, unheard

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

PATIENCE_SECONDS = 0.25
REST_SECONDS = 1.0
"""After its patience was spent on another process's lock the file is left alone this long."""

MAINTENANCE_SECONDS = 30.0
_NEARLY_FULL = 0.95
"""Of the most bytes, from when on products have to leave."""

_LOOK_SECONDS = 0.1
_POLL_SECONDS = 0.004
_RETRY_SECONDS = 0.002
_EPOCH = 1 << 40
"""A cursor is a number in the feed of one file, and with each further file so much more."""

_LOCKED = "another process locks the cache file"


class Offload(Protocol):
    """Runs what may wait for the disk so that nobody else has to wait."""

    def __call__(self, job: Callable[[], None]) -> None:
        """Return when ``job`` has run; raise what it raised."""


def inline(job: Callable[[], None]) -> None:
    """Run ``job`` where it is asked for: other threads go on meanwhile."""
    job()


class _Quiet(NamedTuple):
    """What is answered to who asks for changes for as long as the file's ``mark`` is the same."""

    nothing: Changes
    mark: bytes | int
    wal_index: WalIndex | None


class SqliteBackend:
    """Keeps everything in one file, of at most ``max_bytes``. ``patience``: seconds to wait for others' locks."""

    is_heard = True
    keeps_entries = True
    l1_ttl = math.inf

    def __init__(
        self,
        path: Path,
        spawn: Spawn,
        *,
        max_bytes: int,
        offload: Offload = inline,
        patience: float = PATIENCE_SECONDS,
        clock: MachineClock | None = None,
        descriptors: Path = DESCRIPTORS,
        report: Report = unheard,
    ) -> None:
        self._path = path
        self._descriptors = descriptors
        self._me = uuid.uuid4().hex
        self._spawn = spawn
        self._max_bytes = max_bytes
        self._clock = clock or MachineClock.of_this_machine()
        self._offload = offload
        self._patience = patience
        self._troubles = Troubles(path, report)
        self._commits = GroupCommit(self._commit)
        self._reading = threading.RLock()
        self._opened: Opened | None = None
        self._looked_at = 0.0
        self._resting_until = 0.0
        self._reads_rest_until = 0.0
        self._is_over = False
        self._is_evicting = False
        self._maintain_at = time.monotonic() + MAINTENANCE_SECONDS
        self._used: set[str] = set()
        self._epoch = 0
        self._quiet: _Quiet | None = None

    def read(self, product: str, part: str | None = None) -> Product:
        def look(reader: sqlite3.Connection) -> Product:
            now = self._now()
            # Before the entries: one that is replaced in between comes with a generation too low, which does no harm.
            row = reader.execute("SELECT generation, used_at FROM products WHERE product = ?", (product,)).fetchone()
            if row is None:
                return Product({}, 0)
            if row[1] < now - USED_SECONDS:
                self._used.add(product)
            if part is None:
                rows = reader.execute(
                    "SELECT part, entry FROM entries WHERE product = ? AND expires_at > ?", (product, now)
                ).fetchall()
            else:
                rows = reader.execute(
                    "SELECT part, entry FROM entries WHERE product = ? AND part = ? AND expires_at > ?",
                    (product, part, now),
                ).fetchall()
            return Product(dict(rows), row[0])

        return self._read(look)

    def write(
        self, product: str, part: str, entry: bytes, generation: int, *, ttl: float, lock: Lock | None = None
    ) -> bool:
        def work(writer: sqlite3.Connection) -> bool:
            now = self._now()
            kept = _generation(writer, product) <= generation
            if kept:
                _touch(writer, product, now)
                _put(writer, product, part, entry, now + ttl)
            if lock is not None:
                writer.execute("DELETE FROM locks WHERE name = ? AND token = ?", lock)
            lock_name = lock.name if lock else ""
            self._note(writer, Change("written" if kept else "released", product, generation, lock_name))
            return kept

        return self._write(work)

    def replace(self, product: str, parts: Mapping[str, bytes], generation: int | None, *, ttl: float) -> int | None:
        def work(writer: sqlite3.Connection) -> int | None:
            now = self._now()
            last = _generation(writer, product)
            if generation is not None and last > generation:
                return None
            raised = max(int(now * 1_000_000), last + 1)
            writer.execute(
                "INSERT INTO products VALUES (?1, ?2, ?3, ?4) ON CONFLICT (product) DO UPDATE SET "
                "generation = ?2, generation_until = max(generation_until, ?3), used_at = ?4",
                (product, raised, now + ttl, now),
            )
            writer.execute("DELETE FROM entries WHERE product = ?", (product,))
            for part, entry in parts.items():
                _put(writer, product, part, entry, now + ttl)
            self._note(writer, Change("replaced", product, raised))
            return raised

        return self._write(work)

    def scan(self, prefix: str) -> Iterator[tuple[str, str, bytes]]:
        last = ("", "")
        while True:
            rows = self._read(partial(_scanned, prefix=prefix, last=last, now=self._now))
            yield from rows
            if not rows:
                return
            last = rows[-1][:2]
            # The others have their turn.
            time.sleep(0)

    def lock(self, name: str, ttl: float) -> Lock | None:
        def work(writer: sqlite3.Connection) -> Lock | None:
            now, wal_index = self._now(), self._opened.wal_index if self._opened else None
            row = writer.execute("SELECT token FROM locks WHERE name = ? AND expires_at > ?", (name, now)).fetchone()
            process = row[0].partition("-")[0] if row else ""
            # A lock of an earlier version names no process.
            if row and (wal_index is None or not process.isdecimal() or wal_index.is_alive(int(process))):
                return None
            lock = Lock(name, f"{owner() if wal_index else 0}-{uuid.uuid4().hex}")
            writer.execute("INSERT OR REPLACE INTO locks VALUES (?, ?, ?)", (*lock, now + ttl))
            return lock

        return self._write(work)

    def prolong(self, lock: Lock, ttl: float) -> bool:
        def work(writer: sqlite3.Connection) -> bool:
            now = self._now()
            update = "UPDATE locks SET expires_at = ? WHERE name = ? AND token = ? AND expires_at > ?"
            return writer.execute(update, (now + ttl, *lock, now)).rowcount == 1

        return self._write(work)

    def release(self, lock: Lock, outcome: bytes = b"") -> None:
        def work(writer: sqlite3.Connection) -> None:
            if writer.execute("DELETE FROM locks WHERE name = ? AND token = ?", lock).rowcount:
                self._note(writer, Change("released", lock=lock.name, outcome=outcome))

        self._write(work)

    def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        def work(writer: sqlite3.Connection) -> bytes | None:
            now = self._now()
            kept = _record(writer, key, now)
            if kept is None:
                writer.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (key, value, now + ttl))
            return kept

        return self._write(work)

    def set(self, key: str, value: bytes, ttl: float) -> None:
        def work(writer: sqlite3.Connection) -> None:
            writer.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (key, value, self._now() + ttl))

        self._write(work)

    def get(self, key: str) -> bytes | None:
        return self._read(lambda reader: _record(reader, key, self._now()))

    def remove(self, key: str, expected: bytes) -> None:
        row = (key, expected)
        self._write(lambda writer: writer.execute("DELETE FROM records WHERE key = ? AND value = ?", row))

    def count(self, windows: Sequence[Window], calls: int = 1, *, missed: Sequence[float] = ()) -> Usage:
        def work(writer: sqlite3.Connection) -> Usage:
            now = self._now()
            for age in sorted(missed, reverse=True):
                _log_calls(writer, now - age, now, 1, by_day=counts_by_day(windows))
            uses = tuple(_use(writer, window, now) for window in windows)
            if not calls or any(use.used + calls > use.window.calls for use in uses):
                return Usage(counted=False, uses=uses)
            _log_calls(writer, now, now, calls, by_day=counts_by_day(windows))
            return Usage(counted=True, uses=tuple(_use(writer, window, now) for window in windows))

        if not calls and not missed:
            return self._read(work)
        return self._write(work)

    def changes(self, since: int) -> Changes:
        quiet = self._quiet
        if (
            quiet is not None
            and quiet.nothing.cursor == since
            and quiet.wal_index is not None
            and quiet.wal_index.headers() == quiet.mark
            and time.monotonic() < self._looked_at + _LOOK_SECONDS
        ):
            return quiet.nothing

        def look(opened: Opened) -> Changes:
            run, wal_index = opened.reader.execute, opened.wal_index
            # Before the changes: what is committed after it is met with the next look.
            mark = wal_index.headers() if wal_index else run("PRAGMA data_version").fetchone()[0]
            quiet = self._quiet
            if quiet is not None and (quiet.nothing.cursor, quiet.mark) == (since, mark):
                return quiet.nothing
            epoch, seen = divmod(since, _EPOCH)
            if epoch != self._epoch:
                # Not of this file, or the beginning.
                last = run("SELECT coalesce(max(seq), 0) FROM changes").fetchone()[0]
                changes = Changes(self._epoch * _EPOCH + last, complete=False)
            else:
                rows = run(
                    "SELECT kind, product, generation, lock, outcome, sender = ?, seq FROM changes WHERE seq > ? "
                    "ORDER BY seq",
                    (self._me, seen),
                ).fetchall()
                last = rows[-1][6] if rows else seen
                items = tuple(Change._make((*row[:5], bool(row[5]))) for row in rows)
                changes = Changes(epoch * _EPOCH + last, items, complete=last - seen == len(rows))
            self._quiet = _Quiet(Changes(changes.cursor), mark, wal_index)
            return changes

        return self._looked(look)

    def wait(self, since: int, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.changes(since).cursor == since and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _POLL_SECONDS))

    def is_reachable(self) -> bool:
        try:
            self._read(lambda reader: reader.execute("SELECT latest FROM clock").fetchone())
        except BackendDown:
            return False
        return True

    def close(self) -> None:
        with self._reading:
            # Closed when nobody has it in hand any more: a write in progress in another thread would crash.
            self._opened = self._quiet = None

    def _now(self) -> float:
        """Return the file's time in seconds, near the epoch's; it goes back for nothing."""
        ahead = self._opened.ahead if self._opened else 0.0
        return self._clock.uptime() + ahead

    def _note(self, writer: sqlite3.Connection, change: Change) -> None:
        noted = writer.execute(
            "INSERT INTO changes (kind, product, generation, lock, outcome, sender) VALUES (?, ?, ?, ?, ?, ?)",
            (*change[:5], self._me),
        )
        writer.execute("DELETE FROM changes WHERE seq <= ?", ((noted.lastrowid or 0) - CHANGES_REMEMBERED,))

    def _read(self, look: Work[T]) -> T:
        return self._looked(lambda opened: look(opened.reader))

    def _looked(self, look: Callable[[Opened], T]) -> T:
        now = time.monotonic()
        if now < self._reads_rest_until:
            raise BackendDown(_LOCKED)
        until = now + self._patience
        while True:
            try:
                with self._reading:
                    return look(self._current(at_once=False))
            except (sqlite3.Error, OSError, FileRefused) as error:
                if not (isinstance(error, sqlite3.Error) and is_busy(error)):
                    raise self._down(error) from error
                if time.monotonic() > until:
                    self._reads_rest_until = time.monotonic() + REST_SECONDS
                    raise self._down(error) from error
            time.sleep(_RETRY_SECONDS)

    def _write(self, work: Work[T]) -> T:
        return self._commits.run(work)

    def _commit(self, jobs: list[Job]) -> None:
        """Run ``jobs`` in one transaction. Raises :class:`BackendDown`."""
        if time.monotonic() < self._resting_until:
            raise BackendDown(_LOCKED)
        until = time.monotonic() + self._patience
        while True:
            try:
                with self._reading:
                    opened = self._current(at_once=True)
                self._offload(partial(self._run, opened.writer, jobs))
            except (sqlite3.Error, OSError, FileRefused) as error:
                if not (isinstance(error, sqlite3.Error) and is_busy(error)):
                    raise self._down(error) from error
                if time.monotonic() > until:
                    self._resting_until = time.monotonic() + REST_SECONDS
                    raise self._down(error) from error
            else:
                self._troubles.over()
                if self._is_over and not self._is_evicting:
                    self._is_evicting = True
                    self._spawn(self._evict)
                return
            time.sleep(_RETRY_SECONDS)

    def _run(self, writer: sqlite3.Connection, jobs: list[Job]) -> None:
        _transaction(writer, jobs)
        self._is_over = used_bytes(writer) > self._max_bytes * _NEARLY_FULL
        cut(writer, self._path, self._max_bytes)

    def _current(self, *, at_once: bool) -> Opened:
        """Return the open file; another one, if somebody took it away. ``at_once``: look whether somebody did."""
        now, opened = time.monotonic(), self._opened
        if opened is not None and (at_once or now > self._looked_at + _LOOK_SECONDS):
            self._looked_at = now
            if now > self._maintain_at:
                self._maintain_at = now + MAINTENANCE_SECONDS
                self._spawn(self._maintain)
            if not is_same(self._path, opened.inode):
                # Not closed: somebody may be in the middle of a write.
                self._opened = None
        if self._opened is None:
            self._opened = open_file(self._path, self._clock, self._descriptors)
            self._epoch += 1
            self._quiet = None
            if opened is not None and self._opened.made:
                log_lost(self._path)
        return self._opened

    def _down(self, error: Exception) -> BackendDown:
        """Return what to raise for ``error``; set a damaged file aside, so that the next question finds another."""
        if isinstance(error, sqlite3.Error) and is_damage(error):
            with self._reading:
                opened, self._opened = self._opened, None
                if opened is not None:
                    try:
                        set_aside(self._path, opened.inode, "damaged")
                    except OSError as refused:
                        error = refused
        return self._troubles.begun(error)

    def _maintain(self) -> None:
        used, self._used = self._used, set()
        now = self._now()
        try:
            self._write(partial(note_used, products=used, now=now))
            if not self._write(partial(begin_maintenance, now=now, pause=MAINTENANCE_SECONDS)):
                return
            self._repeat(drop_expired)
            self._repeat(partial(drop_unused, max_bytes=self._max_bytes))
            self._repeat(partial(shrink, max_bytes=self._max_bytes))
        except BackendDown:
            return

    def _evict(self) -> None:
        """Make room at once: the next maintenance may be too late."""
        try:
            self._repeat(partial(drop_unused, max_bytes=self._max_bytes))
            self._repeat(partial(shrink, max_bytes=self._max_bytes))
        except BackendDown:
            return
        finally:
            self._is_evicting = False

    def _repeat(self, step: Callable[..., bool]) -> None:
        while self._write(partial(step, now=self._now())):
            # The others' writes have their turn.
            time.sleep(_RETRY_SECONDS)


def _transaction(writer: sqlite3.Connection, jobs: list[Job]) -> None:
    writer.execute("BEGIN IMMEDIATE")
    try:
        for job in jobs:
            job.run(writer)
        writer.execute("COMMIT")
    finally:
        if writer.in_transaction:
            writer.execute("ROLLBACK")


def _generation(connection: sqlite3.Connection, product: str) -> int:
    row = connection.execute("SELECT generation FROM products WHERE product = ?", (product,)).fetchone()
    return row[0] if row else 0


def _touch(writer: sqlite3.Connection, product: str, now: float) -> None:
    writer.execute(
        "INSERT INTO products VALUES (?1, 0, 0, ?2) "
        "ON CONFLICT (product) DO UPDATE SET used_at = ?2 WHERE used_at < ?3",
        (product, now, now - USED_SECONDS),
    )


def _put(writer: sqlite3.Connection, product: str, part: str, entry: bytes, expires_at: float) -> None:
    writer.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", (product, part, entry, expires_at))


def _record(connection: sqlite3.Connection, key: str, now: float) -> bytes | None:
    row = connection.execute("SELECT value FROM records WHERE key = ? AND expires_at > ?", (key, now)).fetchone()
    return row[0] if row else None


def _log_calls(writer: sqlite3.Connection, moment: float, now: float, calls: int, *, by_day: bool) -> None:
    """Log ``calls``. One before the newest is logged with that: the log stays in order."""
    newest = writer.execute("SELECT at FROM calls ORDER BY seq DESC LIMIT 1").fetchone()
    moment = max(moment, newest[0]) if newest else moment
    writer.executemany("INSERT INTO calls (at) VALUES (?)", [(moment,)] * calls)
    writer.execute(
        "INSERT INTO call_days VALUES (?1, ?2) ON CONFLICT (day) DO UPDATE SET calls = calls + ?2",
        (int(now // DAY_SECONDS), calls * by_day),
    )


def _use(connection: sqlite3.Connection, window: Window, now: float) -> Use:
    if window.seconds > EXACT_SECONDS:
        return days_use(dict(connection.execute("SELECT day, calls FROM call_days").fetchall()), window, now)
    # Numbered without a gap and in the order of their moments: to count them is to subtract.
    first = connection.execute(
        "SELECT seq FROM calls WHERE at > ? ORDER BY at, seq LIMIT 1", (now - window.seconds,)
    ).fetchone()
    if first is None:
        return Use(window, 0, 0.0 if window.calls else window.seconds)
    [last] = connection.execute("SELECT max(seq) FROM calls").fetchone()
    used = last - first[0] + 1
    if used < window.calls:
        return Use(window, used, 0.0)
    over = first[0] + used - window.calls
    row = connection.execute("SELECT at FROM calls WHERE seq = ?", (over,)).fetchone()
    return Use(window, used, (row[0] if row else now) + window.seconds - now)


def _scanned(
    reader: sqlite3.Connection, *, prefix: str, last: tuple[str, str], now: Callable[[], float]
) -> list[tuple[str, str, bytes]]:
    return reader.execute(
        "SELECT product, part, entry FROM entries WHERE product >= ? AND product < ? AND (product, part) > (?, ?) "
        "AND expires_at > ? ORDER BY product, part LIMIT 50",
        (prefix, prefix + chr(0x10FFFF), *last, now()),
    ).fetchall()
