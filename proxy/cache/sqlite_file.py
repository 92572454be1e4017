"""The file behind the SQLite backend: how it is begun, what may be wrong with it, and what time it is in it."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proxy.cache.wal_index import DESCRIPTORS, WalIndex

VERSION = 1
"""Counted up when older proxies could not read the file any more."""

_APPLICATION = 0x63637078
"""Tells a file of the proxy's from another program's database."""

_SCHEMA = """
CREATE TABLE products (
    product TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,  -- moment of the last replacement, in microseconds
    generation_until REAL NOT NULL,
    used_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX products_used ON products (used_at);
CREATE TABLE entries (
    product TEXT NOT NULL,
    part TEXT NOT NULL,
    entry BLOB NOT NULL,
    expires_at REAL NOT NULL,
    UNIQUE (product, part)
);
CREATE INDEX entries_expired ON entries (expires_at);
CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires_at REAL NOT NULL);
CREATE INDEX records_expired ON records (expires_at);
CREATE TABLE locks (name TEXT PRIMARY KEY, token TEXT NOT NULL, expires_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE calls (seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL);
CREATE INDEX calls_at ON calls (at);
CREATE TABLE call_days (day INTEGER PRIMARY KEY, calls INTEGER NOT NULL);
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    product TEXT NOT NULL,
    generation INTEGER NOT NULL,
    lock TEXT NOT NULL,
    outcome BLOB NOT NULL,
    sender TEXT NOT NULL
);
CREATE TABLE clock (boot TEXT NOT NULL, ahead REAL NOT NULL, latest REAL NOT NULL, maintained_at REAL NOT NULL);
INSERT INTO clock VALUES ('', 0, 0, 0);
"""

_WAL_BYTES = 16 * 1024 * 1024
_OPENING_SECONDS = 5.0
"""For others who open the same file at the same moment."""

_NETWORKED = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|glusterfs|lustre|gpfs|beegfs|ocfs2|gfs2|fuse\.(?!fuse).*"
)
_LOST = "what was in it is lost to the proxy: cached reviews, the count of calls, the record of sent invitations"

_log = logging.getLogger(__name__)


class FileRefused(Exception):
    """The file can't be used, and that is for the operator to change. The message says what and how."""


@dataclass(frozen=True)
class MachineClock:
    """Time that the clock on the wall does not move while the machine is up. Seconds."""

    wall: Callable[[], float]
    uptime: Callable[[], float]
    boot: str
    """Names the time since the machine was started; with another name ``uptime`` began anew."""

    @classmethod
    def of_this_machine(cls) -> MachineClock:
        """Return the time as all processes of this machine have it."""
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        except OSError:
            # Not Linux: the wall clock has to do.
            return cls(time.time, time.time, "wall")
        return cls(time.time, lambda: time.clock_gettime(time.CLOCK_BOOTTIME), boot)


@dataclass(frozen=True)
class Opened:
    """An open file: one connection to read and one to write, and how far its time is ahead of the uptime."""

    reader: sqlite3.Connection
    writer: sqlite3.Connection
    inode: int
    ahead: float
    made: bool
    """Whether the file was not there before."""
    wal_index: WalIndex | None


def prepare(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> None:
    """Make the folder and the file if they are missing, for a start that is refused where that can't be done.

    Raises :class:`FileRefused` for what only the operator can change. A file that is damaged or from a newer version
    is left to the first who opens it.
    """
    _make_folder(path)
    kind = _file_system(path.parent, mounts)
    if _NETWORKED.fullmatch(kind):
        raise FileRefused(
            f"{path.parent} is on a network file system ({kind}), where SQLite's locks can't be trusted"
        )
    try:
        close_file(_open(path, MachineClock.of_this_machine()))
    except (sqlite3.Error, _Newer) as error:
        _log.debug("the cache file is left to the first worker: %s", type(error).__name__)


def open_file(path: Path, clock: MachineClock, descriptors: Path = DESCRIPTORS) -> Opened:
    """Open the file, making it if it is missing and setting it aside if it can't be read.

    Raises :class:`FileRefused`, or :class:`sqlite3.Error` for what may pass by itself.
    """
    try:
        return _open(path, clock, descriptors)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        set_aside(path, _inode(path), "damaged")
    except _Newer:
        set_aside(path, _inode(path), "newer")
    return _open(path, clock, descriptors)


def close_file(opened: Opened) -> None:
    """Close both connections. SQLite leaves the log of a file alone that is no longer the one of that name."""
    for connection in (opened.reader, opened.writer):
        try:
            connection.close()
        except sqlite3.Error as error:
            _log.debug("closing the cache file: %s", type(error).__name__)


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether ``error`` says that the file's content is not what it has to be."""
    if str(error).startswith("no such table"):
        # Somebody emptied it under the running proxy.
        return True
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether ``error`` says that another process holds a lock right now."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def set_aside(path: Path, inode: int, why: str) -> None:
    """Give the file ``inode`` a dated name, unless another process has done it. Raises :class:`OSError`."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not inode or _inode(path) != inode:
            return
        aside = path.with_name(f"{path.name}.{why}-{time.strftime('%Y%m%dT%H%M%S')}")
        # The file first: whoever opens the name from now on begins an empty one, with a log of its own.
        for suffix in ("", "-wal", "-shm"):
            if os.path.lexists(f"{path}{suffix}"):
                os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    finally:
        os.close(folder)
    reason = "is from a newer version of the proxy" if why == "newer" else "is damaged"
    _log.error("the cache file %s %s: set aside as %s, an empty one is begun; %s", path, reason, aside.name, _LOST)


def is_same(path: Path, inode: int) -> bool:
    """Tell whether the name still leads to the file that was opened."""
    return _inode(path) == inode


def log_lost(path: Path) -> None:
    """Say that somebody took the file away."""
    _log.error("the cache file %s was removed: an empty one is begun; %s", path, _LOST)


class _Newer(Exception):
    """The file is from a newer version of the proxy."""


def _make_folder(path: Path) -> None:
    try:
        # For the proxy's user only, like the file in it.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FileRefused(f"its folder {path.parent} can't be made: {error.strerror}") from error


def _open(path: Path, clock: MachineClock, descriptors: Path = DESCRIPTORS) -> Opened:
    _make_folder(path)
    try:
        # Before SQLite makes it: what is in it is for the proxy's user only. SQLite's log takes the mode over.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        made = True
    except FileExistsError:
        made = False
    except OSError as error:
        raise FileRefused(f"{path} can't be made: {error.strerror}") from error
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
        raise FileRefused(f"{path} and its folder have to be writable for the proxy's user")
    inode = _inode(path)
    until = time.monotonic() + _OPENING_SECONDS
    while True:
        writer = _connected(path)
        try:
            ahead = _initialised(writer, path, clock)
            reader = _connected(path)
            reader.execute("PRAGMA query_only = 1")
            wal_index = WalIndex.of(path, descriptors)
            if wal_index is None:
                _log.info("SQLite is asked before each answer whether %s was changed: its index can't be read", path)
            return Opened(reader, writer, inode, ahead, made, wal_index)
        except sqlite3.Error as error:
            writer.close()
            if not is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)
        except BaseException:
            writer.close()
            raise


def _connected(path: Path) -> sqlite3.Connection:
    # Nothing may wait inside SQLite: the whole worker would.
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


def _initialised(writer: sqlite3.Connection, path: Path, clock: MachineClock) -> float:
    """Make sure that the file is the proxy's and complete; return how far its time is ahead of the uptime."""
    run = writer.execute
    # Before anything is changed: it may be somebody else's.
    _is_empty(writer, path)
    run("PRAGMA auto_vacuum = INCREMENTAL")
    run("PRAGMA journal_mode = WAL")
    run("PRAGMA synchronous = NORMAL")
    run(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    run("PRAGMA temp_store = MEMORY")
    run("BEGIN IMMEDIATE")
    try:
        if _is_empty(writer, path):
            for statement in _SCHEMA.split(";\n"):
                run(statement)
            run(f"PRAGMA user_version = {VERSION}")
            run(f"PRAGMA application_id = {_APPLICATION}")
        ahead = _ahead(writer, clock)
        run("COMMIT")
    finally:
        if writer.in_transaction:
            run("ROLLBACK")
    return ahead


def _is_empty(writer: sqlite3.Connection, path: Path) -> bool:
    """Tell whether there is nothing in the file yet. Raises where it is not this proxy's."""
    [version] = writer.execute("PRAGMA user_version").fetchone()
    [application] = writer.execute("PRAGMA application_id").fetchone()
    [tables] = writer.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != _APPLICATION:
        raise FileRefused(f"{path} is another program's database")
    if version > VERSION:
        raise _Newer
    return not tables


def _ahead(writer: sqlite3.Connection, clock: MachineClock) -> float:
    """Return how far the file's time is ahead of the uptime.

    Set once after the machine was started, from the wall clock, and never so that the file's time goes back: a clock
    that is set later makes no record, window or generation older or younger than it is.
    """
    boot, ahead, latest = writer.execute("SELECT boot, ahead, latest FROM clock").fetchone()
    if boot != clock.boot or (clock.boot == "wall" and clock.wall() < latest):
        ahead = max(clock.wall(), latest) - clock.uptime()
        writer.execute(
            "UPDATE clock SET boot = ?, ahead = ?, latest = ?", (clock.boot, ahead, ahead + clock.uptime())
        )
    return float(ahead)


def _inode(path: Path) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _file_system(folder: Path, mounts: Path) -> str:
    """Return the kind of file system that ``folder`` is on, empty where nobody can tell."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    number = os.stat(folder).st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    kinds = [line.partition(" - ")[2].split(" ")[0] for line in lines if line.split(" ")[2] == device]
    return kinds[0] if kinds else ""
