"""What processes that share a backend see of each other; each ``Worker`` is what one process has."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from proxy.cache import (
    Backend,
    BackendDown,
    Cache,
    Entry,
    FailedElsewhere,
    Fetched,
    Group,
    Key,
    Lifetimes,
    MemoryBackend,
    Tiered,
    Updated,
    tiered,
)
from proxy.cache.redis import RedisBackend
from proxy.cache.sqlite import SqliteBackend
from proxy.clock import Deadline, Priority, spawn
from proxy.redis_link import PATIENCE_SECONDS, REST_SECONDS, RedisLink
from proxy.trustpilot import Failing
from tests.running import RunningRedis

KEY = Key("unit/TRUCK-01", "page")
Place = Callable[[], Backend]


class Worker:
    """One process's cache over a shared backend, and how often it fetched."""

    def __init__(self, place: Place, *, fetch_seconds: float = 12) -> None:
        self.backend = place()
        self.ahead = 0.0
        self.store = Tiered(
            self.backend,
            Lifetimes(900, 86_400, 300),
            self._now,
            spawn,
            l1_bytes=10**7,
            fetch_seconds=fetch_seconds,
        )
        self.cache = Cache(self.store, Group(spawn), self._now)
        self.fetches = 0
        # Hears the others from here on.
        self.store.feed.drain()
        _eventually(lambda: self.backend.is_heard)
        self.store.feed.drain()

    def _now(self) -> float:
        return time.time() + self.ahead

    def read(self, value: bytes = b"one", takes: float = 0.0, error: Exception | None = None) -> bytes:
        def fetch(*, priority: Priority) -> Fetched:
            self.fetches += 1
            time.sleep(takes)
            if error:
                raise error
            return Fetched(value, found=True)

        return self.cache.get_or_fetch(KEY, fetch).wait(Deadline.after(10)).value

    def reads(self, value: bytes) -> None:
        """Wait until this worker has ``value`` cached: what Redis tells takes a moment to arrive."""

        def is_read() -> bool:
            cached = self.cache.get(KEY)
            return cached is not None and cached.value == value

        _eventually(is_read)


def _eventually(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def _on(server: RunningRedis) -> Place:
    return lambda: RedisBackend(RedisLink(server.url), server.url, spawn)


def _client(server: RunningRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url)


@pytest.fixture(params=["redis", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "redis":
        yield _on(request.getfixturevalue("redis_server"))
        return
    opened: list[SqliteBackend] = []

    def open_one() -> Backend:
        opened.append(SqliteBackend(tmp_path / "proxy.sqlite3", spawn, max_bytes=10**8))
        return opened[-1]

    yield open_one
    for backend in opened:
        backend.close()


def test_the_ages_are_those_of_what_is_kept_in_memory() -> None:
    worker = Worker(lambda: MemoryBackend())
    assert worker.store.ages() == (0, 0, 0, 0.0, 0.0)
    worker.read()
    for seconds, states in ((60, (1, 0, 0)), (1000, (0, 1, 0)), (90_000, (0, 0, 1))):
        worker.ahead = seconds
        time.sleep(0.002)
        ages = worker.store.ages()
        assert ages[:3] == states
        assert ages.sum == ages.oldest
        assert seconds <= ages.oldest < seconds + 60


def test_what_one_worker_fetched_another_reads(place: Place) -> None:
    one, other = Worker(place), Worker(place)
    assert one.read() == other.read() == b"one"
    assert (one.fetches, other.fetches) == (1, 0)


def test_while_one_fetches_the_others_wait_and_are_woken_at_once(place: Place) -> None:
    workers = [Worker(place) for _ in range(4)]
    with ThreadPoolExecutor(40) as callers:
        answers = list(callers.map(lambda n: workers[n % 4].read(takes=0.5), range(40)))
    assert set(answers) == {b"one"}
    assert sum(worker.fetches for worker in workers) == 1


def test_what_a_fetch_was_made_from_is_handed_to_all_who_waited_in_its_process(place: Place) -> None:
    one, other = Worker(place), Worker(place)
    source = object()

    def fetch(*, priority: Priority) -> Fetched:
        time.sleep(0.3)
        return Fetched(b"value", found=True, source=source)

    lookups = [worker.cache.get_or_fetch(KEY, fetch) for worker in (one, one, other)]
    sources = [lookup.wait(Deadline.after(10)).source for lookup in lookups]
    assert sources in ([source, source, None], [None, None, source])
    cached = one.cache.get(KEY)
    assert cached is not None
    assert (cached.value, cached.source) == (b"value", None)


def test_a_failed_fetch_fails_for_all_who_wait_and_tells_when_to_ask_again(place: Place) -> None:
    one, other = Worker(place), Worker(place)
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(one.read, takes=0.5, error=Failing("Trustpilot answered 500", retry_after=17))
        _eventually(lambda: one.fetches == 1)
        second = callers.submit(other.read)
        with pytest.raises(FailedElsewhere, match="Trustpilot answered 500") as failed:
            second.result()
        assert failed.value.retry_after == 17
        assert isinstance(first.exception(), Failing)
    assert other.fetches == 0
    assert other.read() == b"one"


def test_an_unexpected_error_tells_the_others_nothing_of_the_inside(place: Place) -> None:
    one, other = Worker(place), Worker(place)
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(one.read, takes=0.5, error=ZeroDivisionError("the inside"))
        _eventually(lambda: one.fetches == 1)
        with pytest.raises(FailedElsewhere, match=r"^Trustpilot could not be had$"):
            other.read()
        assert isinstance(first.exception(), ZeroDivisionError)


def test_a_worker_that_dies_while_it_fetches_blocks_the_others_no_longer_than_its_lock(place: Place) -> None:
    dead, other = Worker(place, fetch_seconds=0.5), Worker(place)
    assert not isinstance(dead.store.acquire_lock(KEY, 0), Entry)  # and never brings anything
    assert other.read() == b"one"
    assert other.fetches == 1


def test_invalidating_reaches_the_memory_of_all_workers_and_fetches_under_way(place: Place) -> None:
    one, other, third = Worker(place), Worker(place), Worker(place)
    assert one.read(b"old") == other.read() == b"old"
    one.cache.invalidate(KEY.product)
    _eventually(lambda: other.cache.get(KEY) is None)
    with ThreadPoolExecutor(1) as callers:
        late = callers.submit(third.read, b"begun before", takes=0.5)
        _eventually(lambda: third.fetches == 1)
        one.cache.invalidate(KEY.product)
        # Nobody waits for what began before.
        assert other.read(b"new") == b"new"
        # Who waited for it gets what it brought; it is not cached.
        assert late.result() == b"begun before"
    for worker in (one, other, third):
        assert worker.read(b"again") == b"new"
    assert (one.fetches, other.fetches, third.fetches) == (1, 1, 1)


def test_a_fetch_that_began_before_its_own_worker_invalidated_is_not_cached(place: Place) -> None:
    worker = Worker(place)
    with ThreadPoolExecutor(1) as callers:
        late = callers.submit(worker.read, b"begun before", takes=0.5)
        _eventually(lambda: worker.fetches == 1)
        worker.cache.invalidate(KEY.product)
        assert worker.read(b"new") == b"new"
        assert late.result() == b"begun before"
    assert worker.read(b"again") == Worker(place).read(b"again") == b"new"


def test_reads_beside_a_purge_do_not_bring_the_old_entry_back(place: Place) -> None:
    one, other = Worker(place), Worker(place)
    for number in range(50):
        old, new = b"old %d" % number, b"new %d" % number
        one.cache.invalidate(KEY.product)
        _eventually(lambda: other.cache.get(KEY) is None)
        assert one.read(old) == other.read(old) == old
        with ThreadPoolExecutor(4) as callers:
            readers = [callers.submit(worker.cache.get, KEY) for worker in (one, other) for _ in range(5)]
            one.cache.invalidate(KEY.product)
            for reader in readers:
                reader.result()
        assert one.read(new) == new


def test_an_update_reaches_all_workers_and_needs_no_fetch(place: Place) -> None:
    one, other = Worker(place), Worker(place)
    assert one.read(b"old") == other.read() == b"old"
    one.cache.update(KEY.product, lambda part, cached: Updated(cached.value + b", updated", refresh=False))
    assert one.read() == b"old, updated"
    other.reads(b"old, updated")
    assert (one.fetches, other.fetches) == (1, 0)


def test_an_update_that_wants_a_refresh_leaves_the_entry_stale_for_all(place: Place) -> None:
    one, other = Worker(place), Worker(place)
    one.read(b"old")
    one.cache.update(KEY.product, lambda part, cached: Updated(b"updated", refresh=True))
    assert other.read(b"new") == b"updated"
    one.reads(b"new")
    assert other.fetches == 1


def test_of_many_updates_at_once_none_is_lost(place: Place) -> None:
    one, other = Worker(place), Worker(place)
    one.read(b"")

    def update(number: int) -> None:
        worker = (one, other)[number % 2]
        worker.cache.update(KEY.product, lambda part, cached: Updated(cached.value + bytes([number]), refresh=False))

    with ThreadPoolExecutor(4) as callers:
        list(callers.map(update, range(20)))
    assert sorted(one.read()) == list(range(20))


def test_what_is_confirmed_is_fresh_again_for_all_without_a_fetch(place: Place) -> None:
    one, other = Worker(place), Worker(place)
    assert one.read() == other.read() == b"one"
    assert one.cache.confirm(KEY, time.time() + 600)
    one.ahead = other.ahead = 1000.0
    assert one.read(b"two") == other.read(b"two") == b"one"
    assert (one.fetches, other.fetches) == (1, 0)
    assert not one.cache.confirm(Key("unit/NONE", "page"), time.time())


def test_what_an_update_wants_refreshed_is_not_confirmed(place: Place) -> None:
    worker = Worker(place)
    worker.read(b"old")
    worker.cache.update(KEY.product, lambda part, cached: Updated(cached.value, refresh=True))
    assert not worker.cache.confirm(KEY, time.time())
    assert worker.read(b"new") == b"old"
    worker.reads(b"new")


def test_a_fetch_that_lands_is_told_to_all_workers_once_it_can_be_read(place: Place) -> None:
    one, other = Worker(place), Worker(place)
    refreshed: list[tuple[str, str]] = []
    one.store.when_refreshed.append(lambda product: refreshed.append(("one", product)))
    other.store.when_refreshed.append(lambda product: refreshed.append(("other", product)))
    one.read()

    def both() -> bool:
        other.store.feed.drain()
        return set(refreshed) == {("one", KEY.product), ("other", KEY.product)}

    _eventually(both)
    assert other.read(b"two") == b"one"


def test_a_scan_shows_what_this_worker_and_what_only_others_have_read(place: Place) -> None:
    one, other = Worker(place), Worker(place)
    one.read(b"value")
    shown: set[tuple[str, str, bytes]] = set()
    other.cache.scan("unit/", lambda product, part, value: shown.add((product, part, value)))
    other.cache.scan("elsewhere/", lambda product, part, value: shown.add(("none", "", b"")))
    assert shown == {(*KEY, b"value")}


def test_what_the_file_did_not_take_is_written_once_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiered, "WRITE_BACK_SECONDS", 0.05)

    def place() -> Backend:
        return SqliteBackend(tmp_path / "proxy.sqlite3", spawn, max_bytes=10**8, patience=0.05)

    one, other = Worker(place, fetch_seconds=1), Worker(place)
    locking = sqlite3.connect(tmp_path / "proxy.sqlite3", isolation_level=None, check_same_thread=False)

    def fetch(*, priority: Priority) -> Fetched:
        locking.execute("BEGIN IMMEDIATE")
        return Fetched(b"one", found=True)

    assert one.cache.get_or_fetch(KEY, fetch).wait(Deadline.after(10)).value == b"one"
    locking.execute("COMMIT")
    locking.close()
    time.sleep(1.1)  # for as long the file is left alone
    assert one.read(b"two") == b"one"
    assert (other.read(b"two"), other.fetches) == (b"one", 0)


def test_what_another_writes_while_a_fetch_lands_is_not_overlooked(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Worker(place), Worker(place)
    keep = one.store._keep

    def is_heard() -> bool:
        one.store.feed.drain()
        [cached] = one.store._l1.parts(KEY.product).values()
        return cached.checked_until == 0.0

    def keep_and_hear(*given: Any) -> bool:
        kept = keep(*given)
        assert other.store.put(KEY, Entry(b"later", found=True, fetched_at=time.time() + 1), given[2])
        _eventually(is_heard)
        return kept

    monkeypatch.setattr(one.store, "_keep", keep_and_hear)
    one.read(b"sooner")
    monkeypatch.undo()
    assert one.read(b"sooner") == b"later"


def test_who_reads_is_noted_also_where_the_backend_is_asked_each_time(
    redis_server: RunningRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RedisBackend, "l1_ttl", 0.0)
    worker = Worker(_on(redis_server))
    worker.read()
    assert not worker.cache.was_read(KEY.product)
    worker.read()
    assert worker.cache.was_read(KEY.product)


def test_junk_in_the_place_of_a_generation_is_dropped(redis_server: RunningRedis) -> None:
    Worker(_on(redis_server)).read()
    _client(redis_server).rpush(f"ccp:2:generation:{KEY.product}", "junk")
    one, other = Worker(_on(redis_server)), Worker(_on(redis_server))
    assert one.read(b"two") == b"one"
    _client(redis_server).delete(f"ccp:2:generation:{KEY.product}")
    _client(redis_server).rpush(f"ccp:2:generation:{KEY.product}", "junk")
    one.cache.invalidate(KEY.product)
    assert (one.read(b"two"), other.read(b"three")) == (b"two", b"two")


def _damaged(envelope: bytes) -> dict[str, bytes]:
    return {"random": os.urandom(200), "older version": b"\x00" + envelope[1:], "cut": envelope[:-1]}


@pytest.mark.parametrize("damage", ["random", "older version", "cut", "another type"])
def test_damaged_bytes_are_a_miss_and_logged_once(
    place: Place, request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    one = Worker(place)
    one.read()
    [envelope] = one.backend.read(KEY.product).parts.values()
    if isinstance(one.backend, RedisBackend):
        client = _client(request.getfixturevalue("redis_server"))
        [name] = client.keys("*product*")
        if damage == "another type":
            client.set(name, b"a string")
        else:
            client.hset(name, KEY.part, _damaged(envelope)[damage])
    else:
        with sqlite3.connect(tmp_path / "proxy.sqlite3") as file:
            file.execute("UPDATE entries SET entry = ?", ({**_damaged(envelope), "another type": b""}[damage],))
    with caplog.at_level(logging.WARNING):
        workers = [Worker(place), Worker(place)]
        assert [worker.read(b"two") for worker in workers] == [b"two", b"two"]
    assert [worker.fetches for worker in workers] == [1, 0]
    assert len([record for record in caplog.records if KEY.product in record.getMessage()]) == 1


def test_a_killed_redis_leaves_what_is_near_and_gets_it_back_when_it_returns_empty(
    redis_server: RunningRedis,
) -> None:
    worker = Worker(_on(redis_server))
    worker.read()
    redis_server.kill()
    assert worker.read(b"two") == b"one"
    with pytest.raises(BackendDown):
        worker.cache.invalidate("unit/OTHER")
    redis_server.start()
    _eventually(lambda: worker.backend.is_heard)
    time.sleep(REST_SECONDS)
    assert worker.read(b"two") == b"one"
    assert Worker(_on(redis_server)).read(b"two") == b"one"
    assert worker.fetches == 1


def test_without_redis_each_worker_fetches_once_for_itself(redis_server: RunningRedis) -> None:
    one, other = Worker(_on(redis_server)), Worker(_on(redis_server))
    redis_server.kill()
    with ThreadPoolExecutor(20) as callers:
        assert set(callers.map(lambda n: (one, other)[n % 2].read(takes=0.3), range(20))) == {b"one"}
    assert (one.fetches, other.fetches) == (1, 1)


def test_a_frozen_redis_costs_one_short_wait_and_not_one_per_read(
    redis_server: RunningRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RedisBackend, "l1_ttl", 0.0)
    worker = Worker(_on(redis_server))
    worker.read()
    redis_server.freeze()
    try:
        started = time.monotonic()
        for _ in range(50):
            assert worker.read(b"two") == b"one"
        # Fifty patiences would be many times this.
        assert time.monotonic() - started < 5 * PATIENCE_SECONDS + REST_SECONDS
    finally:
        redis_server.thaw()
    time.sleep(REST_SECONDS)
    assert worker.backend.is_reachable()


def test_a_full_redis_is_done_without(redis_server: RunningRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RedisBackend, "l1_ttl", 0.0)
    one, other = Worker(_on(redis_server)), Worker(_on(redis_server))
    _client(redis_server).config_set("maxmemory", "1")
    assert one.read() == b"one"
    assert one.read(b"two") == b"one"
    assert other.read(b"two") == b"two"
    _client(redis_server).config_set("maxmemory", "0")
    assert one.read() == b"one"
    assert Worker(_on(redis_server)).read() == b"one"


@pytest.mark.parametrize("refusing", ["full", "a replica"])
def test_a_redis_that_takes_nothing_has_a_stale_entry_fetched_once_and_gets_it_later(
    redis_server: RunningRedis, monkeypatch: pytest.MonkeyPatch, refusing: str
) -> None:
    monkeypatch.setattr(RedisBackend, "l1_ttl", 0.05)
    worker = Worker(_on(redis_server))
    worker.ahead = -1000.0
    worker.read(b"old")
    worker.ahead = 0.0
    server = _client(redis_server)
    if refusing == "full":
        server.config_set("maxmemory", "1")
    else:
        server.replicaof("127.0.0.1", 1)
    assert worker.read(b"new") == b"old"
    _eventually(lambda: worker.read(b"newer") == b"new")
    for _ in range(5):
        time.sleep(0.1)  # so that Redis is asked again, which still has the old one
        assert worker.read(b"newer") == b"new"
    assert worker.fetches == 2
    server.config_set("maxmemory", "0")
    server.replicaof("NO", "ONE")
    time.sleep(0.1)
    worker.read()
    assert Worker(_on(redis_server)).read(b"newer") == b"new"


def test_parts_of_one_product_do_not_grow_without_end(redis_server: RunningRedis) -> None:
    worker = Worker(_on(redis_server))
    for number in range(200):
        lock = worker.store.acquire_lock(Key(KEY.product, f"page/{number}"), 0)
        assert not isinstance(lock, Entry)
        worker.store.commit(lock, Entry(b"x", found=True, fetched_at=time.time()))
    client = _client(redis_server)
    [name] = client.keys("*product*")
    assert client.hlen(name) <= 64
    assert 0 < client.pttl(name) <= 86_400_000


def test_redis_is_asked_again_only_after_a_while(redis_server: RunningRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RedisBackend, "l1_ttl", 0.5)
    worker = Worker(_on(redis_server))
    worker.read()
    client = _client(redis_server)

    def asked() -> int:
        return int(client.info("commandstats")["cmdstat_hget"]["calls"])

    before = asked()
    for _ in range(100):
        worker.read()
    assert asked() == before
    time.sleep(0.6)
    worker.read()
    assert asked() == before + 1


def test_what_is_no_change_is_ignored(redis_server: RunningRedis) -> None:
    one, other = Worker(_on(redis_server)), Worker(_on(redis_server))
    for junk in (
        b"",
        b"\xff",
        b"[]",
        b'["replaced"]',
        b"[" * 100_000,
        b"1 2",
        b'["me", "written", "a", 1, "b", "c"]',
    ):
        _client(redis_server).publish("ccp:2:changes", junk)
    one.read(b"old")
    other.cache.invalidate(KEY.product)
    _eventually(lambda: one.cache.get(KEY) is None)
