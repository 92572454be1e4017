"""The file behind the SQLite backend: how it is begun, what may be wrong with it, and what time it is in it.

:class:`WalIndex` is what its ``-shm`` file tells without a question to SQLite: whether anybody committed, and who is
still alive.
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import mmap
import os
import random
import re
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

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
    clock: MachineClock
    inode: int
    ahead: float
    made: bool
    """Whether the file was not there before."""
    wal_index: WalIndex | None

    def now(self) -> float:
        """Return the file's time in seconds, near the epoch's; it goes back for nothing."""
        return self.clock.uptime() + self.ahead


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
    except OSError as error:
        raise FileRefused(f"{path} and its folder can't be used: {error.strerror}") from error


def open_file(path: Path, clock: MachineClock) -> Opened:
    """Open the file, making it if it is missing and setting it aside if it can't be read.

    Raises :class:`FileRefused`, or :class:`sqlite3.Error` for what may pass by itself.
    """
    # Now: by the time that it is known to be damaged, another process may have begun a good one in its place.
    inode = inode_of(path)
    try:
        return _open(path, clock)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        set_aside(path, inode, "damaged")
    except _Newer:
        set_aside(path, inode, "newer")
    return _open(path, clock)


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
    with _locked(path.parent, fcntl.LOCK_EX):
        if not inode or inode_of(path) != inode:
            return
        aside = path.with_name(f"{path.name}.{why}-{time.strftime('%Y%m%dT%H%M%S')}")
        for suffix in ("", "-wal", "-shm"):
            if os.path.lexists(f"{path}{suffix}"):
                os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    reason = "is from a newer version of the proxy" if why == "newer" else "is damaged"
    _log.error("the cache file %s %s: set aside as %s, an empty one is begun; %s", path, reason, aside.name, _LOST)


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Keep a file from being opened in the middle of its being set aside: it would get the other one's log."""
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, how)
        yield
    finally:
        os.close(number)


def log_lost(path: Path) -> None:
    """Say that somebody took the file away."""
    _log.error("the cache file %s was removed: an empty one is begun; %s", path, _LOST)


def inode_of(path: Path) -> int:
    """Return the number of the file that the name leads to now, 0 for none."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


class _Newer(Exception):
    """The file is from a newer version of the proxy."""


def _make_folder(path: Path) -> None:
    try:
        # For the proxy's user only, like the file in it.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FileRefused(f"its folder {path.parent} can't be made: {error.strerror}") from error


def _open(path: Path, clock: MachineClock) -> Opened:
    _make_folder(path)
    made, until = False, time.monotonic() + _OPENING_SECONDS
    while True:
        try:
            with _locked(path.parent, fcntl.LOCK_SH):
                made = _make(path) or made
                return _connect(path, clock, made=made)
        except sqlite3.Error as error:
            if not is_busy(error) or time.monotonic() > until:
                raise
        time.sleep(0.02)


def _make(path: Path) -> bool:
    try:
        # Before SQLite makes it: what is in it is for the proxy's user only. SQLite's log takes the mode over.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise FileRefused(f"{path} can't be made: {error.strerror}") from error
    else:
        return True
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
        raise FileRefused(f"{path} and its folder have to be writable for the proxy's user")
    return False


def _connect(path: Path, clock: MachineClock, *, made: bool) -> Opened:
    with ExitStack() as opening:
        inode = inode_of(path)
        writer, reader = (opening.enter_context(closing(_connected(path))) for _ in range(2))
        ahead = _initialised(writer, path, clock)
        reader.execute("PRAGMA query_only = 1")
        wal_index = WalIndex.of(path)
        if wal_index is None:
            _log.info("SQLite is asked before each answer whether %s was changed: its index can't be read", path)
        opening.pop_all()
        return Opened(reader, writer, clock, inode, ahead, made, wal_index)


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
    # First: another process may be beginning the file, and its tables come with the rest.
    [tables] = writer.execute("SELECT count(*) FROM sqlite_master").fetchone()
    [version] = writer.execute("PRAGMA user_version").fetchone()
    [application] = writer.execute("PRAGMA application_id").fetchone()
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


DESCRIPTORS = Path("/dev/fd")
"""Where a process finds what it has open."""

_HEADERS = ctypes.c_char * 96
_OWNERS = 1 << 40
"""The first byte for owners' locks, far behind those that SQLite locks."""

_owner = (0, 0)


class WalIndex:
    """The mapped ``-shm`` file of a database that is open in this process.

    It begins with two copies of a header that each commit of any process writes anew, before the commit returns
    (https://sqlite.org/walformat.html). As long as both are as they were when the database was last asked, nothing
    was committed since: a look at 96 bytes of memory in place of the four system calls of a read.

    A trap: closing *any* descriptor of a file ends all POSIX locks that this process has on it, SQLite's too, and
    SQLite without its locks damages the database. So the file is never opened here. SQLite's own descriptor is found
    by its inode; what is mapped from it stays mapped without one. (Python's ``mmap`` would keep, and close, a copy.)
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        address = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
        if address == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "mmap")
        self.headers = _HEADERS.from_address(address)
        """Another after each commit, whoever made it."""
        # Only once nobody can look any more: a look at what is not mapped ends the process.
        weakref.finalize(self.headers, libc.munmap, address, mmap.PAGESIZE).atexit = False
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _OWNERS + owner())

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Return the index of the database ``path``, which is open and was read; ``None`` where it can't be had."""
        try:
            index = os.stat(f"{path}-shm")
            for name in os.listdir(DESCRIPTORS):
                if name.isdigit() and _is_open_file(int(name), index):
                    return cls(int(name))
        except (OSError, AttributeError):
            # AttributeError: a C library of another kind.
            return None
        return None

    def is_alive(self, process: int) -> bool:
        """Tell whether the process whose :func:`owner` this is has the database open; when in doubt it has."""
        if process in (0, owner()):
            return True
        byte = _OWNERS + process
        try:
            # The system ends the locks of whoever dies, in any container on this machine.
            fcntl.lockf(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, byte)
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, byte)
        except OSError:
            return True
        return False


def owner() -> int:
    """Return the number of this process, never that of another that is or was."""
    global _owner
    if _owner[0] != os.getpid():
        _owner = (os.getpid(), random.SystemRandom().getrandbits(40) | 1)
    return _owner[1]


def _is_open_file(descriptor: int, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file)
    except OSError:
        # It was the one to list the folder with.
        return False
