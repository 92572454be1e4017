"""What is told by SQLite's ``-shm`` file alone: that somebody committed, and that a lock's owner is gone."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.cache import sqlite_file
from proxy.cache.sqlite import SqliteBackend
from proxy.cache.sqlite_file import WalIndex, owner
from proxy.clock import spawn

LONG = 3600.0
MOST = 10**8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "proxy.sqlite3"


@pytest.fixture
def one(path: Path) -> Iterator[SqliteBackend]:
    backend = SqliteBackend(path, spawn, max_bytes=MOST)
    backend.set("opened", b"", LONG)
    yield backend
    backend.close()


def _index(path: Path) -> WalIndex:
    index = WalIndex.of(path)
    assert index is not None
    return index


def _elsewhere(path: Path, code: str) -> tuple[subprocess.Popen[str], str]:
    """Return another process that has run ``code`` with a ``backend``, and the line it then printed."""
    begun = f"""
from pathlib import Path
from proxy.clock import spawn
from proxy.cache import sqlite_file
from proxy.cache.sqlite import SqliteBackend
backend = SqliteBackend(Path({str(path)!r}), spawn, max_bytes={MOST})
"""
    command = [sys.executable, "-c", f"{begun}{code}\ninput()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline()


def test_each_commit_of_anybody_changes_it_and_nothing_else_does(path: Path, one: SqliteBackend) -> None:
    index = _index(path)
    seen = {index.headers.raw}
    for number in range(20):
        before = index.headers.raw
        one.read("unit/A")
        one.changes(0)
        assert one.add("opened", b"", LONG) == b""
        assert index.headers.raw == before
        one.set("key", b"%d" % number, LONG)
        seen.add(index.headers.raw)
    another = sqlite3.connect(path, isolation_level=None)
    for mode in ("PASSIVE", "RESTART"):
        another.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        another.execute("UPDATE records SET value = ?", (mode,))
        seen.add(index.headers.raw)
    another.close()
    assert len(seen) == 23


def test_it_is_read_without_a_lock_of_sqlites_being_lost(path: Path, one: SqliteBackend) -> None:
    other = SqliteBackend(path, spawn, max_bytes=MOST)
    other.set("key", b"value", LONG)
    other.close()
    del other
    one.set("key", b"other", LONG)
    # Who opens the file first of all empties it, and finds out by a lock on its 128th byte that it is not the first.
    asking = f"""
import fcntl
with open({f"{path}-shm"!r}, "r+") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)
    except OSError:
        print("held")
"""
    assert subprocess.run([sys.executable, "-c", asking], capture_output=True, text=True).stdout == "held\n"


def test_the_lock_of_a_process_that_was_killed_is_free_at_once_and_no_other(path: Path, one: SqliteBackend) -> None:
    killed, _ = _elsewhere(path, "print([backend.lock(name, 3600) for name in ('a fetch', 'another')], flush=True)")
    alive, _ = _elsewhere(path, "print(backend.lock('a third', 3600), flush=True)")
    assert [one.lock(name, LONG) for name in ("a fetch", "another", "a third")] == [None] * 3
    killed.kill()
    killed.wait()
    locks = [one.lock(name, LONG) for name in ("a fetch", "another", "a third")]
    assert [lock is None for lock in locks] == [False, False, True]
    # This process's own are nobody else's.
    assert one.lock("a fetch", LONG) is None
    alive.communicate("")
    assert one.lock("a third", LONG) is not None


def test_a_lock_that_an_earlier_version_took_lasts_until_it_ends(path: Path, one: SqliteBackend) -> None:
    one.set("opened", b"", LONG)
    with sqlite3.connect(path) as file:
        file.execute(
            "INSERT INTO locks VALUES ('a fetch', '3f2504e04f8941d39a0c0305e82c3301', ?)", (time.time() + LONG,)
        )
    file.close()
    assert one.lock("a fetch", LONG) is None


def test_an_owner_in_doubt_is_alive(path: Path, one: SqliteBackend) -> None:
    index = _index(path)
    assert index.is_alive(owner())
    # Of who could not tell.
    assert index.is_alive(0)
    assert not index.is_alive(owner() ^ 2)


@pytest.fixture
def no_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process find nothing that it has open, from now on."""
    (tmp_path / "nothing").mkdir()
    monkeypatch.setattr(sqlite_file, "DESCRIPTORS", tmp_path / "nothing")


def test_where_it_can_not_be_had_sqlite_is_asked_and_the_log_says_so(
    path: Path, one: SqliteBackend, no_descriptors: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "proxy"):
        other = SqliteBackend(path, spawn, max_bytes=MOST)
        cursor = other.changes(0).cursor
    [line] = [record.getMessage() for record in caplog.records]
    assert line == f"SQLite is asked before each answer whether {path} was changed: its index can't be read"
    for number in range(20):
        one.replace("unit/A", {}, None, ttl=LONG)
        changes = other.changes(cursor)
        assert [change.product for change in changes.items] == ["unit/A"], number
        cursor = changes.cursor
        assert other.changes(cursor).items == ()
    other.close()


def test_where_it_can_not_be_had_no_lock_is_taken_over(path: Path, no_descriptors: None) -> None:
    blind = SqliteBackend(path, spawn, max_bytes=MOST)
    blind.lock("held by the blind", LONG)
    seeing, got = _elsewhere(
        path, "print([backend.lock(name, 3600) for name in ('held by the blind', 'a fetch')], flush=True)"
    )
    assert got.startswith("[None, Lock(name='a fetch'")
    seeing.communicate("")
    assert blind.lock("a fetch", LONG) is None
    blind.close()
