"""What a process hears of the others through the feed, on the backend in memory; each ``Feed`` is one process's."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from proxy.cache.backend import CHANGES_REMEMBERED, Change, Lock
from proxy.cache.memory import MemoryBackend
from proxy.cache.tiered import Feed
from proxy.clock import spawn

LONG = 60.0


def _feed(backend: MemoryBackend) -> Feed:
    """Return the feed of a process in which nobody listens."""
    return Feed(backend, spawn, lambda _change: None, lambda: None)


def test_a_change_is_passed_on_by_the_next_drain() -> None:
    backend = MemoryBackend(10**6)
    heard: list[object] = []
    feed = Feed(backend, spawn, heard.append, lambda: None)
    backend.replace("unit/A", {}, None, ttl=LONG)
    feed.drain()
    feed.drain()
    assert [(change.kind, change.product) for change in heard if isinstance(change, Change)] == [
        ("replaced", "unit/A")
    ]


def test_a_gap_is_told_before_what_comes_after_it() -> None:
    backend = MemoryBackend(10**6)
    heard: list[object] = []
    feed = Feed(backend, spawn, lambda change: heard.append(change.product), lambda: heard.append("a gap"))
    for number in range(CHANGES_REMEMBERED + 1):
        backend.replace(f"unit/{number}", {}, None, ttl=LONG)
    feed.drain()
    assert heard == ["a gap", *(f"unit/{number}" for number in range(1, CHANGES_REMEMBERED + 1))]


def test_a_free_lock_is_taken_at_once() -> None:
    backend = MemoryBackend(10**6)
    lock = _feed(backend).acquire("a fetch", LONG)
    assert isinstance(lock, Lock)
    assert backend.lock("a fetch", LONG) is None


def test_all_who_wait_for_a_lock_are_told_its_outcome_and_nothing_of_others() -> None:
    backend = MemoryBackend(10**6)
    feeds = [_feed(backend) for _ in range(3)]
    held, another = backend.lock("a fetch", LONG), backend.lock("another", LONG)
    assert held is not None
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


def test_who_waits_for_a_holder_that_died_gets_the_lock_when_it_ends() -> None:
    backend = MemoryBackend(10**6)
    assert backend.lock("a fetch", 0.2)
    assert isinstance(_feed(backend).acquire("a fetch", LONG), Lock)
