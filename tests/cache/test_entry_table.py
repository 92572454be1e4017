"""The bounded table of entries, the log of calls, and the backend in memory at its limits; the clock is set here."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from proxy.cache import Key, MemoryBackend
from proxy.cache.backend import CHANGES_REMEMBERED, Change, Changes, Use, Window
from proxy.cache.memory import CallLog, EntryTable, weight

A, A2, B, C = Key("unit/A", "page"), Key("unit/A", "page 2"), Key("unit/B", "page"), Key("other/C", "page")
DAY = 86_400


class Clock:
    seconds = 10_000 * DAY + 0.0

    def __call__(self) -> float:
        return self.seconds


def test_what_was_used_least_recently_leaves_when_there_is_no_more_room() -> None:
    evicted: list[int] = []
    room = sum(weight(key, b"") for key in (A, A2, B))
    table: EntryTable[str] = EntryTable(room, lambda: evicted.append(1))
    for key in (A, A2, B):
        table.put(key, key.part, b"")
    assert (table.size, len(table), evicted) == (room, 3, [])
    assert table.get(A) == "page"
    # Looking without using marks nothing.
    assert table.parts("unit/A") == {"page": "page", "page 2": "page 2"}
    assert sorted(table.values()) == ["page", "page", "page 2"]
    table.put(C, "new", b"")
    assert (table.get(A2), len(table), evicted) == (None, 3, [1])
    assert table.parts("unit/A") == {"page": "page"}
    assert [table.get(key) for key in (A, B, C)] == ["page", "page", "new"]


def test_a_value_put_again_takes_the_place_of_the_earlier_one() -> None:
    table: EntryTable[str] = EntryTable(10_000)
    table.put(A, "first", b"")
    table.put(A, "second", bytes(1000))
    size = weight(A, bytes(1000))
    assert (table.get(A), table.size, len(table), table.parts("unit/A")) == ("second", size, 1, {"page": "second"})


def test_a_value_larger_than_the_table_is_not_kept_nor_what_it_would_replace() -> None:
    table: EntryTable[str] = EntryTable(weight(A, b""))
    table.put(A, "first", b"")
    assert table.get(A) == "first"
    table.put(A, "second", b"x")
    assert (table.get(A), table.size, len(table)) == (None, 0, 0)
    table.put(B, "large", b"x")
    assert table.get(B) is None


def test_what_is_dropped_is_gone_for_its_product_too() -> None:
    table: EntryTable[str] = EntryTable(10_000)
    for key in (A, A2, C):
        table.put(key, key.product, b"")
    assert table.keys("unit/") == [A, A2]
    assert table.keys("unit") == [A, A2]
    assert table.keys("none") == []
    table.drop(A)
    table.drop(B)
    assert table.parts("unit/A") == {"page 2": "unit/A"}
    table.drop(A2)
    assert table.parts("unit/A") == {}
    assert table.keys("") == [C]
    assert not table._entries._keys.keys() - {"other/C"}


def test_an_entry_weighs_its_bytes_its_names_its_places_and_a_tenth() -> None:
    bare = sys.getsizeof(b"") + sys.getsizeof("p") + sys.getsizeof("q") + 1100
    assert weight(Key("p", "q"), b"") == bare + bare // 10
    assert weight(Key("p", "q"), b"x" * 1000) == bare + 1000 + (bare + 1000) // 10


def test_calls_leave_their_window_one_after_the_other() -> None:
    log, window = CallLog(), Window("minute", 2, 60)
    assert log.use(window, 1000) == Use(window, 0, 0.0)
    for moment in (1000, 1010, 1020):
        log.add(moment, moment)
    assert log.use(window, 1020) == Use(window, 3, 50.0)
    assert log.use(window, 1059) == Use(window, 3, 11.0)
    assert log.use(window, 1060) == Use(window, 2, 10.0)
    assert log.use(window, 1070) == Use(window, 1, 0.0)
    assert log.use(window, 1080) == Use(window, 0, 0.0)
    assert log.use(window._replace(calls=0), 1080) == Use(window._replace(calls=0), 0, 60.0)


def test_a_call_before_the_newest_is_logged_with_that() -> None:
    log, window = CallLog(), Window("minute", 10, 60)
    log.add(1000, 1000, 2)
    log.add(950, 1000)
    assert log.use(window, 1059).used == 3
    assert log.use(window, 1060).used == 0


def test_days_are_counted_from_midnight_to_midnight() -> None:
    log = CallLog()
    two = Window("2 days", 3, 2 * DAY)
    log.add(10 * DAY, 10 * DAY, 2)
    log.add(10 * DAY, 10 * DAY, 5, by_day=False)
    log.add(11.5 * DAY, 11.5 * DAY, 1)
    assert log.use(two, 11.5 * DAY) == Use(two, 3, 0.5 * DAY)
    assert log.use(two._replace(calls=4), 11.5 * DAY) == Use(two._replace(calls=4), 3, 0.0)
    # All but none have to leave: the later day's too.
    assert log.use(two._replace(calls=1), 11.5 * DAY).frees_in == 1.5 * DAY
    assert log.use(two, 12 * DAY) == Use(two, 1, 0.0)
    assert log.use(two, 13 * DAY) == Use(two, 0, 0.0)


def test_the_log_forgets_what_no_window_reaches() -> None:
    log = CallLog()
    log.add(0, 0, 10_001)
    log.add(DAY - 1, DAY - 1)
    assert len(log._moments) == 10_002
    log.add(DAY, DAY)
    assert len(log._moments) == 2
    assert log.use(Window("hour", 5, 3600), DAY).used == 2


def test_entries_records_and_locks_end_with_their_time() -> None:
    clock = Clock()
    backend = MemoryBackend(10**6, clock)
    assert backend.write("p", "page", b"entry", 0, ttl=10)
    backend.replace("q", {"page": b"entry"}, None, ttl=10)
    backend.set("set", b"1", 10)
    assert backend.add("added", b"2", 10) is None
    lock = backend.lock("lock", 10)
    assert lock is not None
    clock.seconds += 9.5
    assert backend.read("p").parts == backend.read("q", "page").parts == {"page": b"entry"}
    assert (backend.get("set"), backend.add("added", b"3", 10), backend.lock("lock", 10)) == (b"1", b"2", None)
    assert [*backend.scan("p")] == [("p", "page", b"entry")]
    clock.seconds += 0.5
    assert backend.read("p").parts == backend.read("q", "page").parts == {}
    assert [*backend.scan("")] == []
    assert (backend.get("set"), backend.get("added")) == (None, None)
    assert backend.lock("lock", 10)


def test_a_lock_that_is_another_holders_is_not_given_back() -> None:
    clock = Clock()
    backend = MemoryBackend(0, clock)
    late = backend.lock("lock", 10)
    assert late is not None
    clock.seconds += 10
    assert backend.lock("lock", 10)
    cursor = backend.changes(0).cursor
    backend.release(late, b"too late")
    assert backend.changes(cursor) == Changes(cursor)
    assert backend.lock("lock", 10) is None


def test_a_generation_is_remembered_for_its_time() -> None:
    clock = Clock()
    backend = MemoryBackend(0, clock)
    assert backend.replace("p", {}, None, ttl=10) == 1
    assert backend.replace("q", {}, None, ttl=10) == 2
    assert backend.replace("q", {}, 1, ttl=10) is None
    assert not backend.write("q", "page", b"old", 1, ttl=10)
    assert backend.write("q", "page", b"new", 2, ttl=10)
    clock.seconds += 10
    assert backend.read("q").generation == 0
    assert backend.replace("q", {}, 0, ttl=10) == 3


def test_each_change_is_told_as_this_processes_own() -> None:
    backend = MemoryBackend(0)
    lock = backend.lock("lock", 10)
    assert lock is not None
    backend.write("p", "page", b"", 7, ttl=10, lock=lock)
    backend.replace("p", {}, None, ttl=10)
    backend.write("p", "page", b"", 0, ttl=10)
    again = backend.lock("lock", 10)
    assert again is not None
    backend.release(again, b"why")
    assert backend.changes(0) == Changes(
        4,
        (
            Change("written", "p", 7, "lock", is_own=True),
            Change("replaced", "p", 1, is_own=True),
            Change("released", "p", 0, is_own=True),
            Change("released", lock="lock", outcome=b"why", is_own=True),
        ),
    )
    assert backend.changes(3).items == backend.changes(0).items[3:]
    assert backend.changes(4) == Changes(4)


@pytest.mark.parametrize(("more", "complete"), [(0, True), (1, False)])
def test_as_many_changes_are_remembered_as_is_said(more: int, complete: bool) -> None:
    backend = MemoryBackend(0)
    for _ in range(CHANGES_REMEMBERED + more):
        backend.replace("p", {}, None, ttl=10)
    changes = backend.changes(0)
    assert (len(changes.items), changes.complete) == (CHANGES_REMEMBERED, complete)


def test_who_waits_is_woken_by_a_change_and_not_by_an_old_one() -> None:
    backend = MemoryBackend(0)
    backend.replace("p", {}, None, ttl=10)
    backend.wait(0, 60)  # it has happened already
    began = time.monotonic()
    backend.wait(1, 0.02)
    assert time.monotonic() - began >= 0.02
    waiter = threading.Thread(target=backend.wait, args=(1, 60))
    waiter.start()
    backend.replace("p", {}, None, ttl=10)
    waiter.join(10)
    assert not waiter.is_alive()


def test_what_was_missed_is_counted_in_order_and_in_any_case() -> None:
    clock = Clock()
    backend = MemoryBackend(0, clock)
    minute, year = Window("minute", 2, 60), Window("year", 100, 365 * DAY)
    usage = backend.count((minute, year), missed=(50.0, 70.0, 10.0))
    assert not usage.counted
    assert [use.used for use in usage.uses] == [2, 3]
    assert usage.uses[0].frees_in == 10.0
    clock.seconds += 50
    usage = backend.count((minute, year), 2)
    assert usage.counted
    assert [use.used for use in usage.uses] == [2, 5]
    # What costs nothing of a year is counted without its window.
    clock.seconds += 60
    assert backend.count((minute,)).counted
    assert [use.used for use in backend.count((minute, year), 0).uses] == [1, 5]
