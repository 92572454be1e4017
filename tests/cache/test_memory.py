"""L1 and its bound, the log of calls, and the backend that shares with no other; the clock is set here."""

from __future__ import annotations

import subprocess
import sys

from proxy.cache import Entry, Key, MemoryBackend
from proxy.cache.backend import Use, Window
from proxy.cache.memory import L1, CallLog, L1Entry, weight

A, A2, B, C = Key("unit/A", "page"), Key("unit/A", "page 2"), Key("unit/B", "page"), Key("other/C", "page")
DAY = 86_400


class Clock:
    seconds = 10_000 * DAY + 0.0

    def __call__(self) -> float:
        return self.seconds


def cached(key: Key, value: bytes = b"") -> L1Entry:
    return L1Entry(Entry(value, found=True, fetched_at=0.0), 0, weight(key, value))


def test_what_was_used_least_recently_leaves_when_there_is_no_more_room() -> None:
    evicted: list[int] = []
    room = sum(weight(key, b"") for key in (A, A2, B))
    l1 = L1(room, lambda: evicted.append(1))
    kept = {key: cached(key) for key in (A, A2, B, C)}
    for key in (A, A2, B):
        l1.put(key, kept[key])
    assert (l1.currsize, len(l1), evicted) == (room, 3, [])
    assert l1.get(A) is kept[A]
    # Looking without using marks nothing.
    assert l1.parts("unit/A") == {"page": kept[A], "page 2": kept[A2]}
    assert (l1.look(A2), l1.look(C)) == (kept[A2], None)
    l1.put(C, kept[C])
    assert (l1.get(A2), len(l1), evicted) == (None, 3, [1])
    assert l1.parts("unit/A") == {"page": kept[A]}
    assert [l1.get(key) for key in (A, B, C)] == [kept[A], kept[B], kept[C]]


def test_an_entry_put_again_takes_the_place_of_the_earlier_one() -> None:
    l1 = L1(10_000)
    l1.put(A, cached(A))
    second = cached(A, bytes(1000))
    l1.put(A, second)
    assert (l1.get(A), l1.currsize, len(l1), l1.parts("unit/A")) == (second, second.weight, 1, {"page": second})


def test_an_entry_larger_than_all_of_it_is_not_kept_nor_what_it_would_replace() -> None:
    l1 = L1(weight(A, b""))
    l1.put(A, cached(A))
    assert l1.get(A)
    for key in (A, B):
        l1.put(key, cached(key, b"x"))
        assert (l1.get(key), l1.currsize, len(l1)) == (None, 0, 0)


def test_what_is_dropped_is_gone_with_its_whole_product() -> None:
    l1 = L1(10_000)
    for key in (A, A2, C):
        l1.put(key, cached(key))
    l1.drop("unit/A")
    l1.drop("unit/B")
    assert (l1.parts("unit/A"), [*l1]) == ({}, [C])
    l1.pop(C)
    assert not l1._parts


def test_an_entry_weighs_its_bytes_its_names_its_places_and_a_tenth() -> None:
    bare = sys.getsizeof(b"") + sys.getsizeof("p") + sys.getsizeof("q") + 1100
    assert weight(Key("p", "q"), b"") == bare + bare // 10
    assert weight(Key("p", "q"), b"x" * 1000) == bare + 1000 + (bare + 1000) // 10


_FILL = """
import gc, json, random, resource, time
from proxy.cache import Cache, Fetched, Group, Key, Lifetimes, MemoryBackend, Tiered
from proxy.clock import Deadline
from proxy.sandbox.shops import compose, usual_ratings
from proxy.trustpilot.client import read_reviews

def resident():
    with open('/proc/self/statm') as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

def page():
    reviews = compose(chance, languages=['en', 'fr', 'ja'], ratings=usual_ratings(chance, 100))
    return read_reviews(json.dumps({'productReviews': reviews}).encode()).encode()

chance = random.Random(1)
# Composing is slow; of every sample many products are made, each with bytes of its own.
samples = [page() for _ in range(200)]
store = Tiered(
    MemoryBackend(),
    Lifetimes(900, 900, 900),
    time.time,
    lambda job: job(),
    l1_bytes=8 * 1024 * 1024,
    fetch_seconds=9,
)
cache = Cache(store, Group(lambda job: job()), time.time)
gc.collect()
before = resident()
for number in range(2000):
    value = samples[number % 200] + number.to_bytes(2)
    key = Key(f'unit/SKU-{number}', 'page')
    cache.get_or_fetch(key, lambda priority: Fetched(value, True)).wait(Deadline.after(1))
    cache.get(Key('unit/SKU-0', 'page'))
gc.collect()
kept = cache.get(Key('unit/SKU-0', 'page')) is not None
left = cache.get(Key('unit/SKU-1', 'page')) is None
print(resident() - before, store.l1_bytes, len(store), int(kept), int(left))
"""


def test_2000_skus_with_100_reviews_stay_inside_the_bound() -> None:
    printed = subprocess.run([sys.executable, "-c", _FILL], capture_output=True, text=True, check=True).stdout
    grown, held, entries, kept, left = map(int, printed.split())
    print(f"{entries} pages held, weighed {held:,} B, resident size grew by {grown:,} B")
    assert held <= 8 * 1024 * 1024
    assert grown <= 8 * 1024 * 1024
    assert entries < 2000
    assert kept, "what is used stays"
    assert left, "what was used least leaves"


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


def test_a_generation_is_remembered_for_its_time() -> None:
    clock = Clock()
    backend = MemoryBackend(clock)
    first, second = (backend.replace(product, {}, None, ttl=10) for product in ("p", "q"))
    assert first
    assert second
    assert second > first
    assert backend.replace("q", {}, first, ttl=10) is None
    lock = backend.lock("lock", 10)
    assert not backend.write("q", "page", b"old", first, ttl=10, lock=lock)
    assert backend.lock("lock", 10)
    assert backend.write("q", "page", b"new", second, ttl=10)
    clock.seconds += 10
    assert backend.read("q").generation == 0
    third = backend.replace("q", {}, 0, ttl=10)
    assert third
    assert third > second


def test_what_costs_nothing_of_a_year_is_counted_without_its_window() -> None:
    backend = MemoryBackend(Clock())
    minute, year = Window("minute", 9, 60), Window("year", 100, 365 * DAY)
    assert backend.count((minute, year), 2).counted
    assert backend.count((minute,)).counted
    assert [use.used for use in backend.count((minute, year), 0).uses] == [3, 2]
