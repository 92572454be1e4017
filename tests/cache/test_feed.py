"""What a process hears of the others through the feed; each ``Feed`` is one process's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.cache.backend import CHANGES_REMEMBERED, Backend, Change, Lock
from proxy.cache.sqlite import SqliteBackend
from proxy.cache.tiered import Feed
from proxy.clock import spawn

LONG = 60.0


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    backend = SqliteBackend(tmp_path / "proxy.sqlite3", spawn, max_bytes=10**8)
    yield backend
    backend.close()


def test_a_gap_is_told_before_what_comes_after_it_and_each_change_once(backend: Backend) -> None:
    heard: list[object] = []
    feed = Feed(backend, spawn, lambda change: heard.append(change.product), lambda: heard.append("a gap"))
    feed.drain()
    backend.replace("unit/A", {}, None, ttl=LONG)
    feed.drain()
    feed.drain()
    assert heard == ["a gap", "unit/A"]
    heard.clear()
    for number in range(CHANGES_REMEMBERED + 1):
        backend.replace(f"unit/{number}", {}, None, ttl=LONG)
    feed.drain()
    assert heard == ["a gap", *(f"unit/{number}" for number in range(1, CHANGES_REMEMBERED + 1))]


def test_all_who_wait_for_a_lock_are_told_its_outcome_and_nothing_of_others(backend: Backend) -> None:
    feeds = [Feed(backend, spawn, lambda _change: None, lambda: None) for _ in range(3)]
    held, another = feeds[0].acquire("a fetch", LONG), backend.lock("another", LONG)
    assert isinstance(held, Lock)
    assert another is not None
    with ThreadPoolExecutor(12) as callers:
        ends = [callers.submit(feeds[n % 3].acquire, "a fetch", LONG) for n in range(12)]
        time.sleep(0.1)
        backend.release(another, b"of another")
        time.sleep(0.1)
        assert not any(end.done() for end in ends)
        backend.release(held, b"landed")
        assert {end.result(10) for end in ends} == {
            Change("released", lock="a fetch", outcome=b"landed", is_own=True)
        }
