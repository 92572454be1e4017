from __future__ import annotations

import pytest

from proxy.trustpilot.breaker import INTERVAL_SECONDS, RUN, Breaker
from proxy.trustpilot.errors import Failing, Paused, RateLimited


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def _fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.admit().failed(Failing("Trustpilot answered 500"))


def test_calls_pass_until_a_run_of_failures(breaker: Breaker) -> None:
    _fail(breaker, RUN - 1)
    breaker.admit().succeeded()
    _fail(breaker, RUN - 1)
    assert not breaker.is_open
    _fail(breaker)
    assert breaker.is_open
    with pytest.raises(Paused, match="Trustpilot answered 500") as paused:
        breaker.admit()
    assert paused.value.retry_after == INTERVAL_SECONDS


def test_after_the_interval_one_probe_at_a_time_passes(breaker: Breaker, clock: Clock) -> None:
    _fail(breaker, RUN)
    clock.seconds += INTERVAL_SECONDS
    probe = breaker.admit()
    with pytest.raises(Paused):
        breaker.admit()
    probe.failed(Failing("still down"))
    with pytest.raises(Paused, match="still down"):
        breaker.admit()
    clock.seconds += INTERVAL_SECONDS
    breaker.admit().succeeded()
    assert not breaker.is_open
    breaker.admit()


def test_a_probe_that_was_not_made_leaves_its_place_to_the_next(breaker: Breaker, clock: Clock) -> None:
    _fail(breaker, RUN)
    clock.seconds += INTERVAL_SECONDS
    breaker.admit().withdrawn()
    breaker.admit()


def test_calls_from_before_the_pause_neither_end_nor_lengthen_it(breaker: Breaker, clock: Clock) -> None:
    good, bad = breaker.admit(), breaker.admit()
    _fail(breaker, RUN)
    clock.seconds += INTERVAL_SECONDS - 1
    good.succeeded()
    bad.failed(Failing("late"))
    assert breaker.is_open
    clock.seconds += 1
    breaker.admit()


def test_trustpilots_own_retry_after_is_obeyed_at_once(breaker: Breaker, clock: Clock) -> None:
    breaker.admit().failed(RateLimited("too many", told=120))
    clock.seconds += 119
    with pytest.raises(Paused) as paused:
        breaker.admit()
    assert paused.value.retry_after == 1
    clock.seconds += 1
    breaker.admit().succeeded()
