"""The promises of a backend, kept by each of them. ``one`` and ``other`` are what two processes have."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.cache.backend import CHANGES_REMEMBERED, Backend, Change, Window
from proxy.cache.memory import MemoryBackend
from proxy.cache.redis import RedisBackend
from proxy.cache.sqlite import SqliteBackend
from proxy.clock import spawn
from proxy.redis_link import RedisLink
from tests.running import RunningRedis

Place = Callable[[], Backend]
LONG = 60.0
MINUTE, HOUR, YEAR = Window("minute", 3, 60), Window("hour", 5, 3600), Window("year", 1000, 365 * 86_400)


@pytest.fixture(scope="module")
def started_redis() -> Iterator[RunningRedis]:
    with RunningRedis() as server:
        yield server


@pytest.fixture(params=["redis", "sqlite", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Opens the same empty place as often as it is called, each time as another process would."""
    opened: list[Backend] = []
    alone = MemoryBackend()
    if request.param == "redis":
        server: RunningRedis = request.getfixturevalue("started_redis")
        RedisLink(server.url).client.flushall()

    def open_one() -> Backend:
        backend: Backend = alone
        if request.param == "redis":
            backend = RedisBackend(RedisLink(server.url), server.url, spawn)
        if request.param == "sqlite":
            backend = SqliteBackend(tmp_path / "proxy.sqlite3", spawn, max_bytes=10**8)
        opened.append(backend)
        cursor = backend.changes(0).cursor
        while not backend.is_heard:
            backend.wait(cursor, 1)
        return backend

    yield open_one
    for backend in opened:
        backend.close()


shared = pytest.mark.parametrize("place", ["redis", "sqlite"], indirect=True)
"""What memory has no part in: it keeps no entries, and there is nobody to hear of."""


@pytest.fixture
def one(place: Place) -> Backend:
    return place()


@pytest.fixture
def other(place: Place) -> Backend:
    return place()


def _put(backend: Backend, product: str, part: str, entry: bytes) -> int:
    generation = backend.read(product).generation
    assert backend.write(product, part, entry, generation, ttl=LONG)
    return generation


def _heard(backend: Backend, since: int, number: int) -> list[Change]:
    """Return the changes since a cursor, once there are so many."""
    until = time.monotonic() + 10
    while len(changes := backend.changes(since).items) < number:
        assert time.monotonic() < until
        backend.wait(backend.changes(since).cursor, 1)
    return [change._replace(is_own=False) for change in changes]


@shared
def test_what_one_writes_the_other_reads_by_part_and_whole(one: Backend, other: Backend) -> None:
    assert one.read("unit/A") == ({}, one.read("unit/A").generation)
    _put(one, "unit/A", "page", b"\x00 any bytes \xff")
    _put(one, "unit/A", "summary", b"")
    _put(one, "unit/A:B", "page", b"another product")
    assert other.read("unit/A", "page").parts == {"page": b"\x00 any bytes \xff"}
    assert other.read("unit/A").parts == {"page": b"\x00 any bytes \xff", "summary": b""}
    assert other.read("unit/A", "no such part").parts == {}


@shared
def test_an_entry_written_again_is_the_later_one(one: Backend, other: Backend) -> None:
    _put(one, "unit/A", "page", b"first")
    _put(other, "unit/A", "page", b"second")
    assert one.read("unit/A").parts == {"page": b"second"}


@shared
def test_an_entry_is_forgotten_after_its_time(one: Backend) -> None:
    one.write("unit/A", "page", b"short", 0, ttl=0.05)
    time.sleep(0.1)
    assert one.read("unit/A").parts == {}


@shared
def test_what_was_begun_before_a_replacement_is_not_written_after_it(one: Backend, other: Backend) -> None:
    before = _put(one, "unit/A", "page", b"old")
    assert other.replace("unit/A", {}, None, ttl=LONG)
    assert not one.write("unit/A", "page", b"begun before", before, ttl=LONG)
    product = one.read("unit/A")
    assert product.parts == {}
    assert product.generation > before
    assert one.write("unit/A", "page", b"begun after", product.generation, ttl=LONG)
    assert other.read("unit/A").parts == {"page": b"begun after"}


@shared
def test_a_product_that_is_replaced_leaves_the_others_alone(one: Backend) -> None:
    generation = _put(one, "unit/A", "page", b"kept")
    assert one.replace("unit/B", {}, None, ttl=LONG)
    assert one.read("unit/A").parts == {"page": b"kept"}
    assert one.write("unit/A", "page", b"written", generation, ttl=LONG)


@shared
def test_a_replacement_keeps_the_parts_it_names_and_no_other(one: Backend, other: Backend) -> None:
    for part in ("page", "summary", "page 2"):
        _put(one, "unit/A", part, b"old")
    raised = one.replace("unit/A", {"page": b"new", "added": b"too"}, None, ttl=LONG)
    assert raised == other.read("unit/A").generation
    assert other.read("unit/A").parts == {"page": b"new", "added": b"too"}


@shared
def test_of_two_replacements_of_what_both_have_read_the_second_is_refused(one: Backend, other: Backend) -> None:
    generation = _put(one, "unit/A", "page", b"read by both")
    assert one.replace("unit/A", {"page": b"by one"}, generation, ttl=LONG)
    assert other.replace("unit/A", {"page": b"by the other"}, generation, ttl=LONG) is None
    assert other.read("unit/A").parts == {"page": b"by one"}
    assert other.replace("unit/A", {"page": b"by the other"}, other.read("unit/A").generation, ttl=LONG)


@shared
def test_generations_only_rise_however_fast_they_follow(one: Backend, other: Backend) -> None:
    seen = [0]
    for number in range(200):
        (one, other)[number % 2].replace("unit/A", {}, None, ttl=LONG)
        seen.append(one.read("unit/A").generation)
    assert seen == sorted(set(seen))


@shared
def test_a_scan_shows_the_products_of_a_prefix_with_all_their_parts(one: Backend, other: Backend) -> None:
    for number in range(250):
        _put(one, f"unit/{number}", "page", b"%d" % number)
    _put(one, "unit/0", "summary", b"too")
    _put(one, "unit*/0", "page", b"not of this unit")
    _put(one, "unit2/0", "page", b"nor this")
    expected = {(f"unit/{number}", "page", b"%d" % number) for number in range(250)}
    assert set(other.scan("unit/")) == expected | {("unit/0", "summary", b"too")}
    assert list(other.scan("unit*/")) == [("unit*/0", "page", b"not of this unit")]
    assert list(other.scan("none")) == []


def test_a_lock_is_held_by_one_until_it_is_released(one: Backend, other: Backend) -> None:
    held = one.lock("a fetch", LONG)
    assert held is not None
    assert other.lock("a fetch", LONG) is None
    assert one.lock("a fetch", LONG) is None
    assert other.lock("another fetch", LONG) is not None
    one.release(held)
    assert other.lock("a fetch", LONG) is not None


def test_of_many_who_want_a_lock_at_once_one_gets_it(place: Place) -> None:
    backends = [place() for _ in range(4)]
    with ThreadPoolExecutor(16) as callers:
        for name in map(str, range(20)):
            locks = list(callers.map(lambda n, name=name: backends[n % 4].lock(name, LONG), range(16)))
            assert len([lock for lock in locks if lock]) == 1


def test_a_lock_ends_by_itself_and_its_late_holder_takes_no_other_away(one: Backend, other: Backend) -> None:
    late = one.lock("a fetch", 0.05)
    assert late is not None
    time.sleep(0.1)
    held = other.lock("a fetch", LONG)
    assert held is not None
    one.release(late)
    assert one.lock("a fetch", LONG) is None


def test_a_lock_that_is_renewed_outlives_its_first_end_but_one_that_ended_does_not(
    one: Backend, other: Backend
) -> None:
    held = one.lock("a fetch", 0.2)
    assert held is not None
    assert one.prolong(held, LONG)
    time.sleep(0.25)
    assert other.lock("a fetch", LONG) is None
    one.release(held)
    late = one.lock("a fetch", 0.05)
    assert late is not None
    time.sleep(0.1)
    assert not one.prolong(late, LONG)
    assert other.lock("a fetch", LONG) is not None
    assert not one.prolong(late, LONG)


@shared
def test_who_waits_for_a_lock_is_woken_with_its_outcome(one: Backend, other: Backend) -> None:
    held = one.lock("a fetch", LONG)
    assert held is not None
    since = other.changes(0).cursor
    woken: list[float] = []

    def wait() -> None:
        other.wait(since, LONG)
        woken.append(time.monotonic())

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.1)
    assert not woken
    one.release(held, b"what became of it")
    waiter.join(10)
    assert woken
    assert _heard(other, since, 1) == [Change("released", lock="a fetch", outcome=b"what became of it")]


@shared
def test_a_write_that_releases_its_lock_tells_both_at_once(one: Backend, other: Backend) -> None:
    generation = one.read("unit/A").generation
    held = one.lock("a fetch", LONG)
    since = other.changes(0).cursor
    assert one.write("unit/A", "page", b"landed", generation, ttl=LONG, lock=held)
    assert _heard(other, since, 1) == [Change("written", "unit/A", generation, "a fetch")]
    assert other.read("unit/A").parts == {"page": b"landed"}
    assert other.lock("a fetch", LONG) is not None


@shared
def test_a_write_that_is_refused_releases_its_lock_too(one: Backend, other: Backend) -> None:
    generation = one.read("unit/A").generation
    held = one.lock("a fetch", LONG)
    before = other.changes(0).cursor
    one.replace("unit/A", {}, None, ttl=LONG)
    # Heard before the write, or it may come in between.
    _heard(other, before, 1)
    since = other.changes(before).cursor
    assert not one.write("unit/A", "page", b"late", generation, ttl=LONG, lock=held)
    [change] = _heard(other, since, 1)
    assert (change.kind, change.lock) == ("released", "a fetch")
    assert other.lock("a fetch", LONG) is not None


@shared
def test_a_replacement_is_told_with_its_generation(one: Backend, other: Backend) -> None:
    since = other.changes(0).cursor
    one.replace("unit/A", {"page": b"new"}, None, ttl=LONG)
    one.replace("unit/B", {}, None, ttl=LONG)
    changes = _heard(other, since, 2)
    assert [(change.kind, change.product) for change in changes] == [("replaced", "unit/A"), ("replaced", "unit/B")]
    assert changes[0].generation == other.read("unit/A").generation


@shared
def test_what_was_done_here_is_told_apart_from_what_others_did(place: Place) -> None:
    one, other = place(), place()
    since = other.changes(0).cursor
    other.replace("unit/A", {}, None, ttl=LONG)
    _heard(other, since, 1)
    assert other.changes(since).items[0].is_own
    if one is not other:
        one.replace("unit/A", {}, None, ttl=LONG)
        _heard(other, since, 2)
        assert [change.is_own for change in other.changes(since).items] == [True, False]


@shared
def test_nothing_that_happened_is_nothing_to_hear(one: Backend, other: Backend) -> None:
    cursor = other.changes(0).cursor
    nothing = other.changes(cursor)
    assert (nothing.cursor, nothing.items, nothing.complete) == (cursor, (), True)
    one.read("unit/A")
    one.get("a record")
    assert other.changes(cursor).items == ()
    other.wait(cursor, 0.05)
    assert other.changes(cursor).items == ()


@shared
def test_changes_are_the_last_until_somebody_changes_something(one: Backend, other: Backend) -> None:
    cursor = other.changes(0).cursor
    until = time.monotonic() + 10
    # Now and then the file is looked for, and nobody knows before.
    while not (nothing := other.changes(cursor)).are_last():
        assert time.monotonic() < until
        cursor = nothing.cursor
    one.replace("unit/A", {}, None, ttl=LONG)
    _heard(other, cursor, 1)
    assert not nothing.are_last()


@shared
def test_who_asks_too_late_is_told_that_something_is_missing(one: Backend, other: Backend) -> None:
    since = other.changes(0).cursor
    one.replace("unit/0", {}, None, ttl=LONG)
    _heard(other, since, 1)
    assert other.changes(since).complete
    for _ in range(CHANGES_REMEMBERED + 1):
        one.replace("unit/A", {}, None, ttl=LONG)
    until = time.monotonic() + 10
    while other.changes(since).complete:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_record_is_added_once_while_it_is_kept(one: Backend, other: Backend) -> None:
    assert one.add("invitation:a", b"mine", LONG) is None
    assert other.add("invitation:a", b"theirs", LONG) == b"mine"
    assert other.get("invitation:a") == b"mine"
    other.set("invitation:a", b"sent", LONG)
    assert one.add("invitation:a", b"again", LONG) == b"sent"
    one.remove("invitation:a", b"mine")
    assert one.get("invitation:a") == b"sent"
    one.remove("invitation:a", b"sent")
    assert other.get("invitation:a") is None
    assert other.add("invitation:a", b"anew", LONG) is None


def test_of_many_who_add_at_once_one_does(place: Place) -> None:
    backends = [place() for _ in range(4)]
    with ThreadPoolExecutor(16) as callers:
        for key in map(str, range(20)):
            answers = list(callers.map(lambda n, key=key: backends[n % 4].add(key, b"%d" % n, LONG), range(16)))
            assert answers.count(None) == 1
            assert len(set(answers)) == 2


def test_a_record_ends_by_itself(one: Backend, other: Backend) -> None:
    one.add("added", b"short", 0.05)
    one.set("set", b"short", 0.05)
    one.set("longer", b"kept", LONG)
    time.sleep(0.1)
    assert [other.get(key) for key in ("added", "set", "longer")] == [None, None, b"kept"]
    assert other.add("added", b"anew", LONG) is None


def test_calls_are_counted_up_to_each_window_by_all_together(one: Backend, other: Backend) -> None:
    windows = (MINUTE, HOUR)
    answers = [(one, other)[n % 2].count(windows) for n in range(4)]
    assert [usage.counted for usage in answers] == [True, True, True, False]
    assert [use.used for use in answers[0].uses] == [1, 1]
    assert [use.used for use in answers[3].uses] == [3, 3]
    assert 59 < answers[3].uses[0].frees_in <= 60
    assert answers[3].uses[1].frees_in == 0


def test_a_call_that_one_window_refuses_is_counted_in_none(one: Backend, other: Backend) -> None:
    full = (MINUTE, HOUR._replace(calls=0))
    assert not one.count(full).counted
    assert [use.used for use in other.count((MINUTE, HOUR), 0).uses] == [0, 0]


def test_asking_how_much_is_used_counts_nothing(one: Backend) -> None:
    one.count((MINUTE, HOUR))
    for _ in range(5):
        usage = one.count((MINUTE, HOUR), 0)
    assert not usage.counted
    assert [(use.window, use.used, use.frees_in) for use in usage.uses] == [(MINUTE, 1, 0), (HOUR, 1, 0)]


def test_a_lower_limit_refuses_sooner_and_says_when_enough_calls_have_left(one: Backend) -> None:
    one.count((MINUTE,), missed=[30.0, 20.0, 10.0])
    assert one.count((MINUTE._replace(calls=5),), 0).uses[0].used == 3
    refused = one.count((MINUTE._replace(calls=2),))
    assert not refused.counted
    # Two have to leave: the one 30 s old and the one 20 s old.
    assert 39 < refused.uses[0].frees_in <= 40


def test_calls_made_while_nobody_counted_are_counted_with_their_ages(one: Backend, other: Backend) -> None:
    usage = one.count((MINUTE, HOUR), missed=[50.0, 70.0, 5.0])
    assert usage.counted
    assert [use.used for use in usage.uses] == [3, 4]
    usage = other.count((MINUTE, HOUR))
    assert not usage.counted
    assert 9 < usage.uses[0].frees_in <= 10


def test_a_call_leaves_its_window(one: Backend) -> None:
    second = Window("second", 1, 1)
    assert one.count((second, HOUR)).counted
    assert not one.count((second, HOUR)).counted
    time.sleep(1.05)
    usage = one.count((second, HOUR))
    assert usage.counted
    assert [use.used for use in usage.uses] == [1, 2]


def test_a_years_calls_are_counted_by_the_day(one: Backend, other: Backend) -> None:
    few = YEAR._replace(calls=3)
    counted = [(one, other)[n % 2].count((MINUTE._replace(calls=9), few)) for n in range(4)]
    assert [usage.counted for usage in counted] == [True, True, True, False]
    use = counted[3].uses[1]
    assert use.used == 3
    assert 364 * 86_400 < use.frees_in <= 365 * 86_400


def test_of_many_calls_at_once_no_more_are_counted_than_there_is_room(place: Place) -> None:
    backends = [place() for _ in range(4)]
    windows = (MINUTE._replace(calls=40), HOUR._replace(calls=1000))
    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(lambda n: backends[n % 4].count(windows).counted, range(100)))
    assert answers.count(True) == 40


def test_it_is_reachable(one: Backend) -> None:
    assert one.is_reachable()
