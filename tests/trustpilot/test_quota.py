"""The quota, counted in memory and in a real Redis."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from proxy.cache.backend import Backend, BackendDown, Usage, Use, Window
from proxy.cache.memory import MemoryBackend
from proxy.cache.redis import RedisBackend
from proxy.clock import Priority, spawn
from proxy.redis_link import RedisLink
from proxy.trustpilot import QuotaUsedUp
from proxy.trustpilot.quota import Quota
from tests.running import RunningRedis

HOUR = Window("hour", 1000, 3600)


def on(server: RunningRedis, *, patience: float = 0.25, rest: float = 1.0) -> RedisBackend:
    return RedisBackend(RedisLink(server.url, patience=patience, rest=rest), server.url, spawn)


@pytest.fixture(params=["memory", "redis"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return MemoryBackend() if request.param == "memory" else on(request.getfixturevalue("redis_server"))


def _taken(quota: Quota, times: int, *, priority: Priority) -> int:
    taken = 0
    for _ in range(times):
        try:
            quota.spend(priority=priority)
        except QuotaUsedUp:
            continue
        taken += 1
    return taken


def test_refreshes_stop_at_80_percent_and_the_rest_is_for_products_that_are_not_cached(backend: Backend) -> None:
    quota = Quota(backend, [Window("5 minutes", 100, 300), HOUR])
    assert _taken(quota, 150, priority=Priority.BACKGROUND) == 80
    assert _taken(quota, 150, priority=Priority.FOREGROUND) == 20
    assert [use.used for use in quota.uses()] == [100, 100]


def test_a_quota_that_is_used_up_says_truly_when_there_is_room_again(backend: Backend) -> None:
    quota = Quota(backend, [Window("2 seconds", 3, 2), HOUR])
    assert _taken(quota, 5, priority=Priority.FOREGROUND) == 3
    with pytest.raises(QuotaUsedUp, match="3 calls per 2 seconds") as spent:
        quota.spend(priority=Priority.FOREGROUND)
    assert 1 <= spent.value.retry_after <= 2
    time.sleep(spent.value.retry_after)
    quota.spend(priority=Priority.FOREGROUND)


def test_without_redis_each_worker_keeps_to_its_part_and_knows_what_it_used(redis_server: RunningRedis) -> None:
    quota = Quota(on(redis_server), [Window("5 minutes", 100, 300), HOUR], workers=2)
    assert _taken(quota, 30, priority=Priority.FOREGROUND) == 30
    redis_server.kill()
    assert _taken(quota, 100, priority=Priority.FOREGROUND) == 20
    assert [use.used for use in quota.uses()] == [100, 100]


def _worker(server: RunningRedis, windows: list[Window]) -> Quota:
    return Quota(on(server, patience=0.1, rest=0.05), windows, workers=2)


def test_a_redis_that_freezes_and_thaws_never_lets_more_than_the_window_out(redis_server: RunningRedis) -> None:
    workers = [_worker(redis_server, [Window("5 minutes", 60, 300), HOUR]) for _ in range(2)]
    first, second = workers
    made = _taken(first, 45, priority=Priority.FOREGROUND)
    second.uses()
    redis_server.freeze()
    made += sum(_taken(worker, 60, priority=Priority.FOREGROUND) for worker in workers)
    assert made <= 60
    redis_server.thaw()
    time.sleep(0.2)
    # The second has not handed in what it made when the first asks again.
    made += sum(_taken(worker, 60, priority=Priority.FOREGROUND) for worker in workers)
    assert 45 < made <= 60
    redis_server.freeze()
    made += sum(_taken(worker, 60, priority=Priority.FOREGROUND) for worker in workers)
    redis_server.thaw()
    assert made <= 60


def test_a_window_that_was_spent_before_redis_froze_stays_spent(redis_server: RunningRedis) -> None:
    workers = [_worker(redis_server, [Window("5 minutes", 60, 300), HOUR]) for _ in range(2)]
    assert _taken(workers[0], 60, priority=Priority.FOREGROUND) == 60
    assert _taken(workers[1], 60, priority=Priority.FOREGROUND) == 0
    redis_server.freeze()
    assert [_taken(worker, 60, priority=Priority.FOREGROUND) for worker in workers] == [0, 0]
    redis_server.thaw()


@pytest.mark.parametrize("jump", [-3600, 302])
def test_jumps_of_the_wall_clock_neither_block_nor_double(
    backend: Backend, jump: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = Window("2 seconds", 10, 2)
    quota = Quota(backend, [window])
    assert _taken(quota, 20, priority=Priority.FOREGROUND) == 10
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + jump)
    assert _taken(quota, 20, priority=Priority.FOREGROUND) == 0
    time.sleep(2.1)
    assert _taken(quota, 20, priority=Priority.FOREGROUND) == 10


@pytest.mark.parametrize("junk", ["text", "list"])
def test_junk_under_a_quota_key_counts_as_absent(redis_server: RunningRedis, junk: str) -> None:
    link = RedisLink(redis_server.url)
    if junk == "text":
        link.client.set("ccp:1:budget:calls/300", "junk")
    else:
        link.client.rpush("ccp:1:budget:calls/300", "junk", "[1]")
    quota = Quota(on(redis_server), [Window("5 minutes", 10, 300)])
    assert _taken(quota, 20, priority=Priority.FOREGROUND) == 10


def test_moments_ahead_of_redis_clock_leave_the_window_in_time(redis_server: RunningRedis) -> None:
    link = RedisLink(redis_server.url)
    ahead = time.time() + 3600
    link.client.lpush("ccp:1:budget:calls/2", *[f"{ahead:.6f}"] * 10)
    quota = Quota(on(redis_server), [Window("2 seconds", 10, 2)])
    assert _taken(quota, 5, priority=Priority.FOREGROUND) == 0
    time.sleep(2.1)
    assert _taken(quota, 20, priority=Priority.FOREGROUND) == 10


class Outages(MemoryBackend):
    """A backend that can be down; its clock, the quota's too, moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.is_down = False
        super().__init__(lambda: self.seconds)

    def count(self, windows: Sequence[Window], calls: int = 1, *, missed: Sequence[float] = ()) -> Usage:
        if self.is_down:
            raise BackendDown("down")
        return super().count(windows, calls, missed=missed)

    def quota(self, *windows: Window, workers: int = 1) -> Quota:
        return Quota(self, windows, workers=workers, clock=lambda: self.seconds)


MINUTE = Window("minute", 100, 60)
ALL = Priority.FOREGROUND


def test_what_a_worker_made_alone_is_handed_in_once_the_backend_is_back() -> None:
    backend = Outages()
    quota = backend.quota(MINUTE, HOUR)
    assert _taken(quota, 10, priority=ALL) == 10
    backend.is_down = True
    backend.seconds += 20
    assert _taken(quota, 15, priority=ALL) == 15
    assert [(use.used, use.frees_in) for use in quota.uses()] == [(25, 60.0), (25, 3600.0)]
    backend.is_down = False
    backend.seconds += 5
    assert _taken(quota, 1, priority=ALL) == 1
    assert [use.used for use in quota.uses()] == [26, 26]
    backend.seconds += 36  # the first ten have left the minute
    assert [use.used for use in quota.uses()] == [16, 26]
    backend.seconds += 20
    assert [use.used for use in quota.uses()] == [1, 26]


def test_alone_each_of_two_workers_has_half_of_what_was_left() -> None:
    backend = Outages()
    first, second = (backend.quota(MINUTE, HOUR, workers=2) for _ in range(2))
    assert _taken(first, 40, priority=ALL) == 40
    second.uses()
    backend.is_down = True
    assert _taken(first, 100, priority=ALL) == 10  # half a minute's calls are a worker's whole part
    assert _taken(second, 100, priority=ALL) == 30
    with pytest.raises(QuotaUsedUp, match=r"^the budget of 100 calls per minute is used up$") as used_up:
        second.spend(priority=ALL)
    assert used_up.value.retry_after == 60
    backend.seconds += 60
    assert _taken(first, 100, priority=ALL) == 50
    assert _taken(second, 100, priority=ALL) == 50


def test_what_the_other_worker_could_have_made_stays_reserved_for_a_windows_time() -> None:
    backend = Outages()
    quota = backend.quota(MINUTE, HOUR, workers=2)
    assert _taken(quota, 20, priority=ALL) == 20
    backend.is_down = True
    assert _taken(quota, 1, priority=ALL) == 1
    backend.is_down = False
    backend.seconds += 1
    # 100 less 20 known, of which the other had half: 40.
    assert _taken(quota, 100, priority=ALL) == 39
    assert quota.uses()[0].used == 100
    assert backend.quota(MINUTE).uses()[0].used == 60
    backend.seconds += 60
    assert _taken(quota, 101, priority=ALL) == 100


def test_alone_refreshes_leave_their_fifth_to_who_waits() -> None:
    backend = Outages()
    quota = backend.quota(MINUTE, HOUR)
    backend.is_down = True
    assert _taken(quota, 100, priority=Priority.BACKGROUND) == 80
    assert _taken(quota, 100, priority=ALL) == 20


def test_before_anything_is_known_a_worker_has_its_part_of_each_window() -> None:
    backend = Outages()
    backend.is_down = True
    quota = backend.quota(MINUTE, Window("hour", 30, 3600), workers=3)
    assert _taken(quota, 100, priority=ALL) == 10
    # The others may have made as many; what does not divide by three is nobody's.
    assert [use.used for use in quota.uses()] == [31, 30]


def test_a_second_outage_soon_after_the_first_gives_nothing_out_twice() -> None:
    backend = Outages()
    quota = backend.quota(MINUTE, HOUR)
    made = _taken(quota, 30, priority=ALL)
    for _ in range(3):
        backend.is_down = True
        made += _taken(quota, 20, priority=ALL)
        backend.is_down = False
        backend.seconds += 1
        quota.uses()
    backend.is_down = True
    assert made + _taken(quota, 100, priority=ALL) == 100


def test_a_free_call_that_hands_in_missed_ones_is_counted_like_any_other() -> None:
    backend = Outages()
    quota = backend.quota(MINUTE)
    backend.is_down = True
    quota.spend(priority=ALL, free=True)
    backend.is_down = False
    quota.spend(priority=ALL, free=True)
    assert quota.uses()[0].used == 2
    assert quota.plan_use() is None


def test_a_backend_that_forgets_lets_no_process_exceed_its_window() -> None:
    class Forgetful(Outages):
        def count(self, windows: Sequence[Window], calls: int = 1, *, missed: Sequence[float] = ()) -> Usage:
            return Usage(counted=True, uses=tuple(Use(window, 0, 0.0) for window in windows))

    quota = Forgetful().quota(Window("minute", 5, 60))
    assert _taken(quota, 10, priority=ALL) == 5
    assert [(use.used, use.frees_in) for use in quota.uses()] == [(5, 60.0)]


def test_what_others_used_up_is_nobodys_in_an_outage_until_it_has_left_the_window() -> None:
    backend = Outages()
    first, second = (backend.quota(MINUTE) for _ in range(2))
    assert _taken(first, 101, priority=ALL) == 100
    second.uses()
    backend.is_down = True
    assert _taken(second, 1, priority=ALL) == 0
    backend.seconds += 59.5
    assert _taken(second, 1, priority=ALL) == 0
    assert [(use.used, use.frees_in) for use in second.uses()] == [(100, 0.5)]
    backend.seconds += 0.5
    assert _taken(second, 101, priority=ALL) == 100


def test_a_quota_that_is_refused_by_the_backend_says_whose_window_is_full() -> None:
    backend = Outages()
    first, second = (backend.quota(MINUTE, Window("hour", 150, 3600)) for _ in range(2))
    assert _taken(first, 100, priority=ALL) == 100
    with pytest.raises(QuotaUsedUp, match=r"^the budget of 100 calls per minute is used up$") as used_up:
        second.spend(priority=ALL)
    assert used_up.value.retry_after == 60
    backend.seconds += 60
    assert _taken(second, 100, priority=ALL) == 50
    with pytest.raises(QuotaUsedUp, match=r"^the budget of 150 calls per hour is used up$") as used_up:
        second.spend(priority=ALL)
    assert used_up.value.retry_after == 3540
    with pytest.raises(QuotaUsedUp, match=r"^the budget of 120 calls per hour is used up$"):
        second.spend(priority=Priority.BACKGROUND)
