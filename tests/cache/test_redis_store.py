"""The shared store on a real Redis; each ``Worker`` is what one process has."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from proxy.app import spawn
from proxy.cache import (
    Cache,
    Entry,
    FailedElsewhere,
    Fetched,
    Flights,
    Key,
    Lifetimes,
    MemoryStore,
    StoreDown,
    Updated,
)
from proxy.cache.redis_store import RedisStore
from proxy.clock import Deadline, Priority
from proxy.redis_link import PATIENCE_SECONDS, REST_SECONDS, RedisLink
from proxy.trustpilot.errors import Failing
from tests.running import RunningRedis

KEY = Key("unit/TRUCK-01", "page")


class Worker:
    """One process's cache over the shared Redis, and how often it fetched."""

    def __init__(self, server: RunningRedis, *, lease_seconds: float = 12, trust_seconds: float = 5) -> None:
        self.near = MemoryStore(10**7, time.time)
        self.store = RedisStore(
            RedisLink(server.url),
            server.url,
            self.near,
            time.time,
            spawn,
            lease_seconds=lease_seconds,
            remember_seconds=86_400,
            trust_seconds=trust_seconds,
        )
        self.cache = Cache(self.store, Flights(spawn), Lifetimes(900, 86_400, 300), time.time)
        self.fetches = 0
        # Hears the others from here on.
        self.store.get(Key("unit/NONE", "page"))
        _eventually(lambda: self.store._notices.connected)

    def read(self, value: bytes = b"one", takes: float = 0.0, error: Exception | None = None) -> bytes:
        def fetch(*, priority: Priority) -> Fetched:
            self.fetches += 1
            time.sleep(takes)
            if error:
                raise error
            return Fetched(value, found=True)

        return self.cache.get_or_fetch(KEY, fetch).wait(Deadline.after(10)).value


def _eventually(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def _held(server: RunningRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url)


def test_what_one_worker_fetched_another_reads(redis_server: RunningRedis) -> None:
    one, other = Worker(redis_server), Worker(redis_server)
    assert one.read() == other.read() == b"one"
    assert (one.fetches, other.fetches) == (1, 0)


def test_while_one_fetches_the_others_wait_and_are_woken_at_once(redis_server: RunningRedis) -> None:
    workers = [Worker(redis_server) for _ in range(4)]
    with ThreadPoolExecutor(40) as callers:
        answers = list(callers.map(lambda n: workers[n % 4].read(takes=0.5), range(40)))
    assert set(answers) == {b"one"}
    assert sum(worker.fetches for worker in workers) == 1


def test_a_failed_fetch_fails_for_all_who_wait_and_tells_when_to_ask_again(redis_server: RunningRedis) -> None:
    one, other = Worker(redis_server), Worker(redis_server)
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(one.read, takes=0.5, error=Failing("Trustpilot answered 500", retry_after_header=17))
        _eventually(lambda: one.fetches == 1)
        second = callers.submit(other.read)
        with pytest.raises(FailedElsewhere, match="Trustpilot answered 500") as failed:
            second.result()
        assert failed.value.retry_after == 17
        assert isinstance(first.exception(), Failing)
    assert other.fetches == 0
    assert other.read() == b"one"


def test_an_unexpected_error_tells_the_others_nothing_of_the_inside(redis_server: RunningRedis) -> None:
    one, other = Worker(redis_server), Worker(redis_server)
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(one.read, takes=0.5, error=ZeroDivisionError("the inside"))
        _eventually(lambda: one.fetches == 1)
        with pytest.raises(FailedElsewhere, match=r"^Trustpilot could not be had$"):
            other.read()
        assert isinstance(first.exception(), ZeroDivisionError)


def test_a_worker_that_dies_while_it_fetches_blocks_the_others_no_longer_than_its_lease(
    redis_server: RunningRedis,
) -> None:
    dead, other = Worker(redis_server, lease_seconds=0.5), Worker(redis_server)
    assert not isinstance(dead.store.take(KEY), Entry)  # and never brings anything
    assert other.read() == b"one"
    assert other.fetches == 1


def test_forgetting_reaches_the_memory_of_all_workers_and_fetches_under_way(redis_server: RunningRedis) -> None:
    one, other, third = Worker(redis_server), Worker(redis_server), Worker(redis_server)
    assert one.read(b"old") == other.read() == b"old"
    one.cache.invalidate(KEY.product)
    with ThreadPoolExecutor(1) as callers:
        late = callers.submit(third.read, b"begun before", takes=0.5)
        _eventually(lambda: third.fetches == 1)
        one.cache.invalidate(KEY.product)
        _eventually(lambda: other.near.get(KEY) is None)
        assert other.read(b"new") == b"new"
        # Who waited for it gets what it brought; it is not held.
        assert late.result() == b"begun before"
    for worker in (one, other, third):
        assert worker.read(b"again") == b"new"
    assert (one.fetches, other.fetches, third.fetches) == (1, 1, 1)


def test_a_read_in_the_middle_of_a_purge_does_not_bring_the_old_copy_back(
    redis_server: RunningRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(redis_server)
    worker.read(b"old")
    change_for_all = worker.store._change_for_all

    def with_a_read_before(product: str, parts: dict[str, Entry]) -> None:
        assert worker.read() == b"old"
        change_for_all(product, parts)

    monkeypatch.setattr(worker.store, "_change_for_all", with_a_read_before)
    worker.cache.invalidate(KEY.product)
    assert worker.read(b"new") == b"new"


def test_a_revision_reaches_all_workers_and_needs_no_fetch(redis_server: RunningRedis) -> None:
    one, other = Worker(redis_server), Worker(redis_server)
    assert one.read(b"old") == other.read() == b"old"
    one.cache.update(KEY.product, lambda part, held: Updated(held.value + b", revised", refresh=False))
    assert one.read() == b"old, revised"
    _eventually(lambda: other.near.get(KEY) is None)
    assert other.read() == b"old, revised"
    assert (one.fetches, other.fetches) == (1, 0)


def test_of_many_revisions_at_once_none_is_lost(redis_server: RunningRedis) -> None:
    one, other = Worker(redis_server), Worker(redis_server)
    one.read(b"")

    def revise(number: int) -> None:
        worker = (one, other)[number % 2]
        worker.cache.update(KEY.product, lambda part, held: Updated(held.value + bytes([number]), refresh=False))

    with ThreadPoolExecutor(4) as callers:
        list(callers.map(revise, range(20)))
    assert sorted(one.read()) == list(range(20))


@pytest.mark.parametrize("damage", ["random", "older version", "cut", "another type"])
def test_damaged_bytes_are_a_miss_and_logged_once(
    redis_server: RunningRedis, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    Worker(redis_server).read()
    client = _held(redis_server)
    [name] = client.keys("*copies*")
    [(part, frame)] = client.hgetall(name).items()
    assert isinstance(frame, bytes)
    if damage == "another type":
        client.set(name, b"a string")
    else:
        harm = {"random": os.urandom(200), "older version": b"\x00" + frame[1:], "cut": frame[:-1]}
        client.hset(name, part, harm[damage])
    with caplog.at_level(logging.WARNING):
        workers = [Worker(redis_server), Worker(redis_server)]
        assert [worker.read(b"two") for worker in workers] == [b"two", b"two"]
    assert [worker.fetches for worker in workers] == [1, 0]
    assert len([record for record in caplog.records if "dropped" in record.message]) == 1


def test_a_killed_redis_leaves_what_is_near_and_gets_it_back_when_it_returns_empty(
    redis_server: RunningRedis,
) -> None:
    worker = Worker(redis_server)
    worker.read()
    redis_server.kill()
    assert worker.read(b"two") == b"one"
    with pytest.raises(StoreDown):
        worker.cache.invalidate("unit/OTHER")
    redis_server.start()
    _eventually(lambda: worker.store._notices.connected)
    time.sleep(REST_SECONDS)
    assert worker.read(b"two") == b"one"
    assert Worker(redis_server).read(b"two") == b"one"
    assert worker.fetches == 1


def test_without_redis_each_worker_fetches_once_for_itself(redis_server: RunningRedis) -> None:
    one, other = Worker(redis_server), Worker(redis_server)
    redis_server.kill()
    with ThreadPoolExecutor(20) as callers:
        assert set(callers.map(lambda n: (one, other)[n % 2].read(takes=0.3), range(20))) == {b"one"}
    assert (one.fetches, other.fetches) == (1, 1)


def test_a_frozen_redis_costs_one_short_wait_and_not_one_per_read(redis_server: RunningRedis) -> None:
    worker = Worker(redis_server)
    worker.read()
    redis_server.freeze()
    try:
        worker.store._distrust()
        started = time.monotonic()
        for _ in range(50):
            assert worker.read(b"two") == b"one"
        # Fifty patiences would be many times this.
        assert time.monotonic() - started < 5 * PATIENCE_SECONDS + REST_SECONDS
    finally:
        redis_server.thaw()
    time.sleep(REST_SECONDS)
    assert worker.store.is_reachable()


def test_a_full_redis_is_done_without(redis_server: RunningRedis) -> None:
    one, other = Worker(redis_server), Worker(redis_server)
    _held(redis_server).config_set("maxmemory", "1")
    assert one.read() == b"one"
    assert one.read(b"two") == b"one"
    assert other.read(b"two") == b"two"
    _held(redis_server).config_set("maxmemory", "0")
    one.store._distrust()
    assert one.read() == b"one"
    assert Worker(redis_server).read() == b"one"


@pytest.mark.parametrize("refusing", ["full", "a replica"])
def test_a_redis_that_takes_nothing_has_a_stale_copy_fetched_once_and_gets_it_later(
    redis_server: RunningRedis, refusing: str
) -> None:
    worker = Worker(redis_server, trust_seconds=0.05)
    worker.cache._lifetimes = Lifetimes(0.1, 86_400, 300)
    worker.read(b"old")
    worker.cache._lifetimes = Lifetimes(900, 86_400, 300)
    time.sleep(0.1)
    server = _held(redis_server)
    if refusing == "full":
        server.config_set("maxmemory", "1")
    else:
        server.replicaof("127.0.0.1", 1)
    assert worker.read(b"new") == b"old"
    _eventually(lambda: worker.read(b"newer") == b"new")
    for _ in range(5):
        time.sleep(0.1)  # no longer trusted, so that Redis is asked, which still holds the old one
        assert worker.read(b"newer") == b"new"
    assert worker.fetches == 2
    server.config_set("maxmemory", "0")
    server.replicaof("NO", "ONE")
    time.sleep(0.1)
    worker.read()
    assert Worker(redis_server).read(b"newer") == b"new"


def test_parts_of_one_product_do_not_grow_without_end(redis_server: RunningRedis) -> None:
    worker = Worker(redis_server)
    for number in range(200):
        lease = worker.store.take(Key(KEY.product, f"page/{number}"))
        assert not isinstance(lease, Entry)
        lease.bring(Entry(b"x", time.time(), time.time() + 900, time.time() + 900))
    client = _held(redis_server)
    [name] = client.keys("*copies*")
    assert client.hlen(name) <= 64
    assert 0 < client.pttl(name) <= 900_000


def test_a_copy_in_memory_is_trusted_only_for_a_moment(redis_server: RunningRedis) -> None:
    worker = Worker(redis_server, trust_seconds=0.5)
    worker.read()
    client = _held(redis_server)

    def asked() -> int:
        return int(client.info("commandstats")["cmdstat_hget"]["calls"])

    before = asked()
    for _ in range(100):
        worker.read()
    assert asked() == before
    time.sleep(0.6)
    worker.read()
    assert asked() == before + 1


def test_notices_that_are_none_are_ignored(redis_server: RunningRedis) -> None:
    one, other = Worker(redis_server), Worker(redis_server)
    for junk in (b"", b"\xff", b"[]", b'["changed"]', b"[" * 100_000):
        _held(redis_server).publish("ccp:1:notices", junk)
    one.read(b"old")
    other.cache.invalidate(KEY.product)
    _eventually(lambda: one.near.get(KEY) is None)


def test_a_fetch_that_lands_is_told_to_all_workers_once_its_copy_can_be_read(redis_server: RunningRedis) -> None:
    one, other = Worker(redis_server), Worker(redis_server)
    refreshed: list[tuple[str, str]] = []
    one.store.when_refreshed(lambda product: refreshed.append(("one", product)))
    other.store.when_refreshed(lambda product: refreshed.append(("other", product)))
    one.read()
    _eventually(lambda: set(refreshed) == {("one", KEY.product), ("other", KEY.product)})
    assert other.read(b"two") == b"one"
