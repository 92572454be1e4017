"""What SQLite's ``-shm`` file tells without a question to SQLite: whether anybody committed, and who is still alive.

That file begins with two copies of a header that each commit of any process writes anew, before the commit returns
(https://sqlite.org/walformat.html). As long as both are as they were when the database was last asked, nothing was
committed since: a look at 96 bytes of memory in place of the four system calls of a read.

A trap: closing *any* descriptor of a file ends all POSIX locks that this process has on it, SQLite's too, and SQLite
without its locks damages the database. So the file is never opened here. SQLite's own descriptor is found by its
inode; what is mapped from it stays mapped without one. (Python's ``mmap`` would keep, and close, a copy of it.)
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import random
import weakref
from pathlib import Path
from typing import Self

DESCRIPTORS = Path("/dev/fd")
"""Where a process finds what it has open."""

_HEADERS = ctypes.c_char * 96
_OWNERS = 1 << 40
"""The first byte for owners' locks, far behind those that SQLite locks."""

_owner = (0, 0)


class WalIndex:
    """The mapped ``-shm`` file of a database that is open in this process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        address = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
        if address == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "mmap")
        self._headers = _HEADERS.from_address(address)
        # Only once nobody can look any more: a look at what is not mapped ends the process.
        weakref.finalize(self, libc.munmap, address, mmap.PAGESIZE).atexit = False
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _OWNERS + owner())

    @classmethod
    def of(cls, path: Path, descriptors: Path) -> Self | None:
        """Return the index of the database ``path``, which is open and was read; ``None`` where it can't be had."""
        try:
            index = os.stat(f"{path}-shm")
            for name in os.listdir(descriptors):
                if name.isdigit() and _is_open_file(int(name), index):
                    return cls(int(name))
        except (OSError, AttributeError):
            # AttributeError: a C library of another kind.
            return None
        return None

    def headers(self) -> bytes:
        """Return what is another after each commit, whoever made it."""
        return self._headers.raw

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
