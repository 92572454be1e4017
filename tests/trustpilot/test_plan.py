"""A year's calls, spread over its days."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.cache import Key, Lifetimes, MemoryBackend
from proxy.cache.backend import DAY_SECONDS, Backend, BackendDown, Window
from proxy.cache.redis import RedisBackend
from proxy.clock import Priority, spawn
from proxy.redis_link import RedisLink
from proxy.sync import Demand, Planner
from proxy.trustpilot import QuotaUsedUp
from proxy.trustpilot.quota import Plan, PlanUse, Quota
from tests.running import RunningRedis

DAY = 86_400
MANY = [Window("5 minutes", 10**6, 300)]


class Days:
    """A clock that stands at the beginning of a day until it is moved."""

    def __init__(self) -> None:
        self.now = 20_000.0 * DAY

    def __call__(self) -> float:
        return self.now


def quota(clock: Days, calls: int = 36_500, backend: Backend | None = None) -> Quota:
    backend = backend or MemoryBackend(clock)
    return Quota(backend, MANY, clock=clock, plan=Plan(backend, calls, clock))


def spent(quota: Quota, priority: Priority, calls: int = 200) -> int:
    for number in range(calls):
        try:
            quota.spend(priority=priority)
        except QuotaUsedUp:
            return number
    return calls


def test_what_may_wait_stops_before_the_days_share_is_used_up_and_who_waits_never_does() -> None:
    year = quota(Days())
    assert spent(year, Priority.BACKFILL) == 80
    assert spent(year, Priority.VALIDATION) == 10
    assert spent(year, Priority.FEED) == 10
    assert spent(year, Priority.BACKGROUND) == spent(year, Priority.FOREGROUND) == 200
    use = year.plan_use()
    assert use is not None
    assert (use.used, use.today, use.share) == (500, 500, 100)


def test_what_one_day_did_not_use_the_days_left_share() -> None:
    clock = Days()
    year = quota(clock)
    spent(year, Priority.FOREGROUND, 50)
    clock.now += 265 * DAY
    use = year.plan_use()
    assert use is not None
    assert (use.used, use.today, use.share) == (50, 0, 364)


def test_free_calls_are_not_counted_in_the_year() -> None:
    year = quota(Days())
    year.spend(priority=Priority.FOREGROUND, free=True)
    use = year.plan_use()
    assert use is not None
    assert use.used == 0
    assert [each.used for each in year.uses()] == [1]


def test_a_year_of_days_that_use_their_share_is_never_beyond_the_plan() -> None:
    clock = Days()
    year = quota(clock, 3650)
    made = 0
    for _ in range(365):
        made += spent(year, Priority.FEED)
        clock.now += DAY
    assert 3500 < made <= 3650


def test_workers_on_one_redis_count_one_year(redis_server: RunningRedis) -> None:
    clock = Days()
    workers = [
        quota(clock, backend=RedisBackend(RedisLink(redis_server.url), redis_server.url, spawn)) for _ in range(2)
    ]
    assert sum(spent(worker, Priority.VALIDATION, 60) for worker in workers) == 90


def test_it_is_said_when_the_plan_would_run_out() -> None:
    assert PlanUse(1000, 100, 10, 5, 10).days_until_used_up == pytest.approx(90)
    assert PlanUse(1000, 10, 1, 5, 10).days_until_used_up is None


@pytest.mark.parametrize(
    ("today", "products", "fresh", "whole"),
    [(100, 100_000, 1.0, 1.0), (300, 50, 1.0, 1.0), (300, 10_000, 41.4, 103.1)],
)
def test_freshness_gets_longer_once_half_of_the_share_is_used_and_the_rest_would_not_do(
    today: int, products: int, fresh: float, whole: float
) -> None:
    lifetimes = Lifetimes(900, 86_400, 300)
    use = PlanUse(200_000, today, today, 548, 0)
    planner = Planner(lambda: use, lifetimes, MemoryBackend(), asked=lambda: products, skus_per_call=100)
    planner.tick()
    assert (lifetimes.pace.fresh, lifetimes.pace.whole) == pytest.approx((fresh, whole), rel=0.02)


def test_without_sync_the_products_that_are_asked_for_are_counted_and_fetched_as_often_as_the_plan_allows() -> None:
    lifetimes, clock = Lifetimes(900, 86_400, 300), Days()
    asked = Demand(clock, lambda: lifetimes.fresh_now)
    planner = Planner(
        lambda: PlanUse(200_000, 300, 300, 548, 0),
        lifetimes,
        MemoryBackend(),
        asked=asked.count,
        skus_per_call=1,
    )
    for _ in range(3):
        for number in range(10_000):
            assert not asked.note(Key(f"u/S{number}", "page"), 0.0, None)
        planner.tick()
        assert lifetimes.fresh_now == pytest.approx(10_000 / (548 * 0.8) * DAY_SECONDS)
        clock.now += lifetimes.fresh_now
    asked.note(Key("u/S1", "page"), 0.0, None)
    clock.now += lifetimes.fresh_now
    asked.note(Key("u/S1", "page"), 0.0, None)
    assert asked.count() == 1


def test_after_a_restart_copies_last_as_long_as_before_it() -> None:
    backend, use = MemoryBackend(), PlanUse(200_000, 300, 300, 548, 0)
    reached = []
    for products, today in ((10_000, 300), (0, 10)):
        lifetimes = Lifetimes(900, 86_400, 300)
        planner = Planner(
            lambda today=today: replace(use, today=today),  # type: ignore[misc]  # bound now
            lifetimes,
            backend,
            asked=lambda products=products: products,  # type: ignore[misc]  # bound now
            skus_per_call=1,
        )
        planner.tick()
        reached.append(lifetimes.fresh_now)
    assert reached[0] == reached[1] > 900


def test_without_a_limit_by_the_year_nothing_lasts_longer() -> None:
    lifetimes = Lifetimes(900, 86_400, 300)
    Planner(lambda: None, lifetimes, MemoryBackend(), asked=lambda: 10**6, skus_per_call=1).tick()
    assert (lifetimes.pace.fresh, lifetimes.pace.whole) == (1.0, 1.0)


def test_who_waits_has_no_limit_and_others_have_the_year_and_their_part_of_the_day() -> None:
    plan = Plan(MemoryBackend(), 36_500, Days())
    known = [Priority.BACKGROUND, Priority.TRIAL]
    for priority, day, year in [
        (Priority.FOREGROUND, 10**12, 10**12),
        *((each, 10**12, 36_500) for each in known),
        (Priority.FEED, 100, 36_500),
        (Priority.VALIDATION, 90, 36_500),
        (Priority.BACKFILL, 80, 36_500),
    ]:
        assert plan.windows(priority) == [Window("day", day, DAY + 1), Window("year", year, 365 * DAY)]
    assert plan.windows() == plan.windows(Priority.FOREGROUND)


def test_the_year_begins_with_the_first_call_and_is_everybodys() -> None:
    clock = Days()
    backend = MemoryBackend(clock)
    assert Plan(backend, 36_500, clock).use() == PlanUse(36_500, 0, 0, 100, 0)
    clock.now += 359 * DAY
    later = Plan(backend, 36_500, clock)
    # At least a week's worth is left for each day, after the year too.
    assert later.use() == PlanUse(36_500, 0, 0, 36_500 // 7, 359)
    clock.now -= 360 * DAY
    assert Plan(backend, 36_500, clock).use().days == 0
    assert later.use().days == -1


@pytest.mark.parametrize("junk", [b"junk", b"-5", b""])
def test_junk_in_the_place_of_the_beginning_is_today(junk: bytes) -> None:
    clock = Days()
    backend = MemoryBackend(clock)
    backend.set("plan:start", junk, 100)
    assert Plan(backend, 36_500, clock).use().days == 0


def test_a_backend_that_is_down_begins_no_year() -> None:
    class Down(MemoryBackend):
        is_down = True

        def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
            if self.is_down:
                raise BackendDown("down")
            return super().add(key, value, ttl)

    clock = Days()
    backend = Down(clock)
    backend.set("plan:start", str(int(clock.now // DAY) - 10).encode(), 100)
    plan = Plan(backend, 36_500, clock)
    assert plan.use().days == 0
    backend.is_down = False
    assert plan.use().days == 10


@pytest.mark.parametrize(
    ("use", "days"),
    [
        (PlanUse(1000, 0, 0, 5, 10), None),
        (PlanUse(1000, 1000, 10, 0, 10), 0.0),
        (PlanUse(1000, 1200, 10, 0, 10), 0.0),
        (PlanUse(1000, 50, 50, 5, 0), 19.0),
        (PlanUse(1000, 1000, 1, 5, 400), None),
        (PlanUse(730, 365, 1, 5, 364), None),
        (PlanUse(365, 359, 1, 5, 359), None),
        (PlanUse(365, 360, 1, 5, 359), pytest.approx(5 / (360 / 359))),
    ],
)
def test_the_days_until_it_is_used_up_are_those_within_the_year(use: PlanUse, days: float | None) -> None:
    assert use.days_until_used_up == days


def test_a_plan_that_is_used_up_says_which_window_is() -> None:
    clock = Days()
    year = quota(clock, 3650)
    assert spent(year, Priority.BACKFILL) == 8
    with pytest.raises(QuotaUsedUp, match=r"^the budget of 8 calls per day is used up$"):
        year.spend(priority=Priority.BACKFILL)
    assert spent(year, Priority.FOREGROUND, 3642) == 3642
    with pytest.raises(QuotaUsedUp, match=r"^the budget of 3650 calls per year is used up$"):
        year.spend(priority=Priority.BACKGROUND)
    year.spend(priority=Priority.FOREGROUND)
    year.spend(priority=Priority.BACKGROUND, free=True)
