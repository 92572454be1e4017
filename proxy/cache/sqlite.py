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
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

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
    WalIndex,
    inode_of,
    is_busy,
    is_damage,
    log_lost,
    open_file,
    owner,
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
from proxy.clock import Spawn
from proxy.events import Report, unheard

T = TypeVar("T")
Work = Callable[[Opened], T]
Offload = Callable[[Callable[[], None]], None]
"""Runs a job so that nobody else has to wait for the disk; returns when it has run, or raises what it raised."""

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


def inline(job: Callable[[], None]) -> None:
    """Run ``job`` where it is asked for: other threads go on meanwhile."""
    job()


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
        report: Report = unheard,
    ) -> None:
        self._path = path
        self._me = uuid.uuid4().hex
        self._spawn = spawn
        self._max_bytes = max_bytes
        self._clock = clock or MachineClock.of_this_machine()
        self._offload = offload
        self._patience = patience
        self._troubles = Troubles(path, report)
        self._write = GroupCommit(self._commit, spawn).run
        self._reading = threading.RLock()
        self._opened: Opened | None = None
        self._looked_at = 0.0
        self._rests_until = {"reading": 0.0, "writing": 0.0}
        self._is_over = False
        self._is_evicting = False
        self._maintain_at = time.monotonic() + MAINTENANCE_SECONDS
        self._used: set[str] = set()
        self._epoch = 0

    def read(self, product: str, part: str | None = None) -> Product:
        def look(file: Opened) -> Product:
            run, now = file.reader.execute, file.now()
            # Before the entries: one that is replaced in between comes with a generation too low, which does no harm.
            row = run("SELECT generation, used_at FROM products WHERE product = ?", (product,)).fetchone()
            if row is None:
                return Product({}, 0)
            if row[1] < now - USED_SECONDS:
                self._used.add(product)
            query = "SELECT part, entry FROM entries WHERE product = ? AND expires_at > ?"
            rows = run(query, (product, now)) if part is None else run(f"{query} AND part = ?", (product, now, part))
            return Product(dict(rows.fetchall()), row[0])

        return self._read(look)

    def write(
        self, product: str, part: str, entry: bytes, generation: int, *, ttl: float, lock: Lock | None = None
    ) -> bool:
        def work(file: Opened) -> bool:
            run, now = file.writer.execute, file.now()
            kept = _generation(file, product) <= generation
            if kept:
                run(
                    "INSERT INTO products VALUES (?1, 0, 0, ?2) "
                    "ON CONFLICT (product) DO UPDATE SET used_at = ?2 WHERE used_at < ?3",
                    (product, now, now - USED_SECONDS),
                )
                run("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", (product, part, entry, now + ttl))
            if lock is not None:
                run("DELETE FROM locks WHERE name = ? AND token = ?", lock)
            lock_name = lock.name if lock else ""
            self._note(file, Change("written" if kept else "released", product, generation, lock_name))
            return kept

        return self._write(work)

    def replace(self, product: str, parts: Mapping[str, bytes], generation: int | None, *, ttl: float) -> int | None:
        def work(file: Opened) -> int | None:
            run, now = file.writer.execute, file.now()
            last = _generation(file, product)
            if generation is not None and last > generation:
                return None
            raised = max(int(now * 1_000_000), last + 1)
            run(
                "INSERT INTO products VALUES (?1, ?2, ?3, ?4) ON CONFLICT (product) DO UPDATE SET "
                "generation = ?2, generation_until = max(generation_until, ?3), used_at = ?4",
                (product, raised, now + ttl, now),
            )
            run("DELETE FROM entries WHERE product = ?", (product,))
            for part, entry in parts.items():
                run("INSERT INTO entries VALUES (?, ?, ?, ?)", (product, part, entry, now + ttl))
            self._note(file, Change("replaced", product, raised))
            return raised

        return self._write(work)

    def scan(self, prefix: str) -> Iterator[tuple[str, str, bytes]]:
        last = ("", "")

        def look(file: Opened) -> list[tuple[str, str, bytes]]:
            return file.reader.execute(
                "SELECT product, part, entry FROM entries WHERE product >= ? AND product < ? AND "
                "(product, part) > (?, ?) AND expires_at > ? ORDER BY product, part LIMIT 50",
                (prefix, prefix + chr(0x10FFFF), *last, file.now()),
            ).fetchall()

        while rows := self._read(look):
            yield from rows
            last = rows[-1][:2]
            # The others have their turn.
            time.sleep(0)

    def lock(self, name: str, ttl: float) -> Lock | None:
        def work(file: Opened) -> Lock | None:
            run, now, wal_index = file.writer.execute, file.now(), file.wal_index
            row = run("SELECT token FROM locks WHERE name = ? AND expires_at > ?", (name, now)).fetchone()
            process = row[0].partition("-")[0] if row else ""
            # A lock of an earlier version names no process.
            if row and (wal_index is None or not process.isdecimal() or wal_index.is_alive(int(process))):
                return None
            lock = Lock(name, f"{owner() if wal_index else 0}-{uuid.uuid4().hex}")
            run("INSERT OR REPLACE INTO locks VALUES (?, ?, ?)", (*lock, now + ttl))
            return lock

        return self._write(work)

    def prolong(self, lock: Lock, ttl: float) -> bool:
        def work(file: Opened) -> bool:
            now = file.now()
            update = "UPDATE locks SET expires_at = ? WHERE name = ? AND token = ? AND expires_at > ?"
            return file.writer.execute(update, (now + ttl, *lock, now)).rowcount == 1

        return self._write(work)

    def release(self, lock: Lock, outcome: bytes = b"") -> None:
        def work(file: Opened) -> None:
            if file.writer.execute("DELETE FROM locks WHERE name = ? AND token = ?", lock).rowcount:
                self._note(file, Change("released", lock=lock.name, outcome=outcome))

        self._write(work)

    def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        def work(file: Opened) -> bytes | None:
            kept = _record(file, file.writer, key)
            if kept is None:
                _set(file, key, value, ttl)
            return kept

        return self._write(work)

    def set(self, key: str, value: bytes, ttl: float) -> None:
        self._write(lambda file: _set(file, key, value, ttl))

    def get(self, key: str) -> bytes | None:
        return self._read(lambda file: _record(file, file.reader, key))

    def remove(self, key: str, expected: bytes) -> None:
        row = (key, expected)
        self._write(lambda file: file.writer.execute("DELETE FROM records WHERE key = ? AND value = ?", row))

    def count(self, windows: Sequence[Window], calls: int = 1, *, missed: Sequence[float] = ()) -> Usage:
        def used(file: Opened, connection: sqlite3.Connection) -> tuple[Use, ...]:
            return tuple(_use(connection, window, file.now()) for window in windows)

        def work(file: Opened) -> Usage:
            now, by_day = file.now(), counts_by_day(windows)
            for age in sorted(missed, reverse=True):
                _log_calls(file.writer, now - age, now, 1, by_day=by_day)
            uses = used(file, file.writer)
            if not calls or any(use.used + calls > use.window.calls for use in uses):
                return Usage(counted=False, uses=uses)
            _log_calls(file.writer, now, now, calls, by_day=by_day)
            return Usage(counted=True, uses=used(file, file.writer))

        if not calls and not missed:
            return Usage(counted=False, uses=self._read(lambda file: used(file, file.reader)))
        return self._write(work)

    def changes(self, since: int) -> Changes:
        def look(file: Opened) -> Changes:
            # Before the changes: what is committed after it is met with the next look.
            run, are_last = file.reader.execute, self._nothing_since(file.wal_index)
            epoch, seen = divmod(since, _EPOCH)
            if epoch != self._epoch:
                # Not of this file, or the beginning.
                last = run("SELECT coalesce(max(seq), 0) FROM changes").fetchone()[0]
                return Changes(self._epoch * _EPOCH + last, are_last, complete=False)
            rows = run(
                "SELECT kind, product, generation, lock, outcome, sender = ?, seq FROM changes WHERE seq > ? "
                "ORDER BY seq",
                (self._me, seen),
            ).fetchall()
            last = rows[-1][6] if rows else seen
            items = tuple(Change._make((*row[:5], bool(row[5]))) for row in rows)
            return Changes(epoch * _EPOCH + last, are_last, items, complete=last - seen == len(rows))

        return self._read(look)

    def wait(self, since: int, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.changes(since).cursor == since and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _POLL_SECONDS))

    def is_reachable(self) -> bool:
        try:
            self._read(lambda file: file.reader.execute("SELECT latest FROM clock").fetchone())
        except BackendDown:
            return False
        return True

    def close(self) -> None:
        with self._reading:
            # Closed when nobody has it in hand any more: a write in progress in another thread would crash.
            self._opened = None

    def _note(self, file: Opened, change: Change) -> None:
        noted = file.writer.execute(
            "INSERT INTO changes (kind, product, generation, lock, outcome, sender) VALUES (?, ?, ?, ?, ?, ?)",
            (*change[:5], self._me),
        )
        file.writer.execute("DELETE FROM changes WHERE seq <= ?", ((noted.lastrowid or 0) - CHANGES_REMEMBERED,))

    def _nothing_since(self, wal_index: WalIndex | None) -> Callable[[], bool]:
        """Return what tells whether nothing was committed from now on, until it is time to look for the file."""
        if wal_index is None:
            return lambda: False
        headers, now, epoch, until = wal_index.headers, time.monotonic, self._epoch, self._looked_at + _LOOK_SECONDS
        before = headers.raw
        return lambda: headers.raw == before and self._epoch == epoch and now() < until

    def _read(self, look: Work[T]) -> T:
        def read() -> T:
            with self._reading:
                return look(self._current(at_once=False))

        return self._patiently("reading", read)

    def _commit(self, jobs: list[Job]) -> None:
        """Run ``jobs`` in one transaction. Raises :class:`BackendDown`."""

        def commit() -> None:
            with self._reading:
                file = self._current(at_once=True)
            self._offload(partial(self._run, file, jobs))

        self._patiently("writing", commit)
        self._troubles.over()
        if self._is_over and not self._is_evicting:
            self._is_evicting = True
            self._spawn(self._evict)

    def _patiently(self, what: str, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, waiting a moment for other processes. Raises :class:`BackendDown`."""
        now = time.monotonic()
        if now < self._rests_until[what]:
            raise BackendDown(_LOCKED)
        until = now + self._patience
        while True:
            try:
                return work()
            except (sqlite3.Error, OSError, FileRefused) as error:
                if not (isinstance(error, sqlite3.Error) and is_busy(error)):
                    raise self._down(error) from error
                if time.monotonic() > until:
                    self._rests_until[what] = time.monotonic() + REST_SECONDS
                    raise self._down(error) from error
            time.sleep(_RETRY_SECONDS)

    def _run(self, file: Opened, jobs: list[Job]) -> None:
        writer = file.writer
        writer.execute("BEGIN IMMEDIATE")
        try:
            for job in jobs:
                job.result = job.work(file)
            writer.execute("COMMIT")
        finally:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
        self._is_over = used_bytes(file) > self._max_bytes * _NEARLY_FULL
        cut(file, self._path, self._max_bytes)

    def _current(self, *, at_once: bool) -> Opened:
        """Return the open file; another one, if somebody took it away. ``at_once``: look whether somebody did."""
        now, opened = time.monotonic(), self._opened
        if opened is not None and (at_once or now > self._looked_at + _LOOK_SECONDS):
            self._looked_at = now
            if now > self._maintain_at:
                self._maintain_at = now + MAINTENANCE_SECONDS
                self._spawn(self._maintain)
            if inode_of(self._path) != opened.inode:
                # Not closed: somebody may be in the middle of a write.
                self._opened = None
        if self._opened is None:
            self._opened = open_file(self._path, self._clock)
            self._epoch += 1
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
        with suppress(BackendDown):
            self._write(partial(note_used, products=used))
            if self._write(partial(begin_maintenance, pause=MAINTENANCE_SECONDS)):
                self._repeat(drop_expired)
                self._make_room()

    def _evict(self) -> None:
        """Make room at once: the next maintenance may be too late."""
        try:
            self._make_room()
        except BackendDown:
            return
        finally:
            self._is_evicting = False

    def _make_room(self) -> None:
        for step in (drop_unused, shrink):
            self._repeat(partial(step, max_bytes=self._max_bytes))

    def _repeat(self, step: Work[bool]) -> None:
        while self._write(step):
            # The others' writes have their turn.
            time.sleep(_RETRY_SECONDS)


def _generation(file: Opened, product: str) -> int:
    row = file.writer.execute("SELECT generation FROM products WHERE product = ?", (product,)).fetchone()
    return row[0] if row else 0


def _record(file: Opened, connection: sqlite3.Connection, key: str) -> bytes | None:
    query = "SELECT value FROM records WHERE key = ? AND expires_at > ?"
    row = connection.execute(query, (key, file.now())).fetchone()
    return row[0] if row else None


def _set(file: Opened, key: str, value: bytes, ttl: float) -> None:
    file.writer.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (key, value, file.now() + ttl))


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
