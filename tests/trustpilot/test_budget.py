"""The budget, counted in memory and in a real Redis. The windows are real time: the library's clock is its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy.redis_link import RedisDown, RedisLink
from proxy.trustpilot.budget import Budget, Counter, Window
from proxy.trustpilot.counting import LimitsCounter, SharedCounter
from proxy.trustpilot.errors import BudgetSpent
from proxy.trustpilot.redis_counter import RedisCounter
from tests.running import RunningRedis

HOUR = Window("hour", 1000, 3600)


@pytest.fixture(params=["memory", "redis"])
def counter(request: pytest.FixtureRequest) -> Counter:
    if request.param == "memory":
        return LimitsCounter.in_memory()
    server: RunningRedis = request.getfixturevalue("redis_server")
    return RedisCounter(RedisLink(server.url))


def _taken(budget: Budget, times: int, *, urgent: bool) -> int:
    taken = 0
    for _ in range(times):
        try:
            budget.take(urgent=urgent)
        except BudgetSpent:
            continue
        taken += 1
    return taken


def test_refreshes_stop_at_80_percent_and_the_rest_is_for_products_without_a_copy(counter: Counter) -> None:
    budget = Budget(counter, [Window("5 minutes", 100, 300), HOUR], time.time)
    assert _taken(budget, 150, urgent=False) == 80
    assert _taken(budget, 150, urgent=True) == 20
    assert [use.used for use in budget.uses()] == [100, 100]


def test_the_hour_is_kept_too_and_charges_nothing_to_the_five_minutes(counter: Counter) -> None:
    budget = Budget(counter, [Window("5 minutes", 100, 300), Window("hour", 10, 3600)], time.time)
    assert _taken(budget, 50, urgent=True) == 10
    assert [use.used for use in budget.uses()] == [10, 10]


def test_a_spent_budget_says_truly_when_there_is_room_again(counter: Counter) -> None:
    budget = Budget(counter, [Window("2 seconds", 3, 2), HOUR], time.time)
    assert _taken(budget, 5, urgent=True) == 3
    with pytest.raises(BudgetSpent, match="3 calls per 2 seconds") as spent:
        budget.take(urgent=True)
    assert 1 <= spent.value.retry_after <= 2
    time.sleep(spent.value.retry_after)
    budget.take(urgent=True)


def test_two_processes_on_one_redis_share_the_window(redis_server: RunningRedis) -> None:
    window = Window("5 minutes", 100, 300)
    budgets = [Budget(RedisCounter(RedisLink(redis_server.url)), [window, HOUR], time.time) for _ in range(2)]
    takes: list[Callable[[], int]] = [lambda b=b: _taken(b, 20, urgent=True) for b in budgets for _ in range(5)]  # type: ignore[misc]  # mypy can't type a lambda's default
    with ThreadPoolExecutor(10) as callers:
        assert sum(callers.map(lambda take: take(), takes)) == 100


def test_without_redis_each_worker_keeps_to_its_part_and_knows_what_it_used(redis_server: RunningRedis) -> None:
    shared = SharedCounter(
        RedisCounter(RedisLink(redis_server.url)), LimitsCounter.in_memory(), workers=2, down=RedisDown
    )
    budget = Budget(shared, [Window("5 minutes", 100, 300), HOUR], time.time)
    assert _taken(budget, 30, urgent=True) == 30
    redis_server.kill()
    assert _taken(budget, 100, urgent=True) == 20
    assert [use.used for use in budget.uses()] == [100, 100]
