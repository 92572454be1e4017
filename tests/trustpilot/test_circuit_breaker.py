from __future__ import annotations

from itertools import count

import pytest

from proxy.events import BreakerTurned
from proxy.trustpilot import (
    Busy,
    Failing,
    Malformed,
    Paused,
    QuotaUsedUp,
    RateLimited,
    Refused,
    TrustpilotError,
    TurnedAway,
)
from proxy.trustpilot.circuit_breaker import (
    INTERVAL_SECONDS,
    LONGEST_CALL_SECONDS,
    LONGEST_FAILING_SECONDS,
    LONGEST_INTERVAL_SECONDS,
    QUIET_SECONDS,
    RUN,
    Call,
    CircuitBreaker,
    Pause,
)
from tests.trustpilot.upstream import Attempt


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
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock)


_numbers = count()


def call(sku: str = "", *, unit: str = "unit") -> Call:
    """Name a call; one of its own without a SKU."""
    return Call(unit, "reviews", frozenset([sku or f"SKU-{next(_numbers)}"]))


def _wait(breaker: CircuitBreaker, call: Call) -> int:
    """Return for how long ``call`` is paused."""
    with pytest.raises(Paused) as paused:
        Attempt(breaker, call)
    return paused.value.retry_after


def _fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        Attempt(breaker, call()).failed(Failing("Trustpilot answered 500"))


def test_calls_pass_until_a_run_of_failures(breaker: CircuitBreaker) -> None:
    _fail(breaker, RUN - 1)
    Attempt(breaker, call()).succeeded()
    _fail(breaker, RUN - 1)
    assert not breaker.is_open
    _fail(breaker)
    assert breaker.is_open
    with pytest.raises(Paused, match="Trustpilot answered 500") as paused:
        Attempt(breaker, call())
    assert paused.value.retry_after == INTERVAL_SECONDS


def test_after_the_interval_one_probe_at_a_time_passes(breaker: CircuitBreaker, clock: Clock) -> None:
    _fail(breaker, RUN)
    clock.seconds += INTERVAL_SECONDS
    probe = Attempt(breaker, call())
    with pytest.raises(Paused):
        Attempt(breaker, call())
    probe.failed(Failing("still down"))
    with pytest.raises(Paused, match="still down"):
        Attempt(breaker, call())
    clock.seconds += INTERVAL_SECONDS
    Attempt(breaker, call()).succeeded()
    assert not breaker.is_open
    Attempt(breaker, call())


def test_a_probe_that_was_not_made_leaves_its_place_to_the_next(breaker: CircuitBreaker, clock: Clock) -> None:
    _fail(breaker, RUN)
    clock.seconds += INTERVAL_SECONDS
    Attempt(breaker, call()).withdrawn()
    Attempt(breaker, call())


@pytest.mark.parametrize("error", [QuotaUsedUp("no calls are left"), Busy("no slot was free for its token")])
def test_a_call_that_was_not_made_says_nothing_of_trustpilot(breaker: CircuitBreaker, error: TrustpilotError) -> None:
    for number in range(2 * RUN):
        Attempt(breaker, call(f"SKU-{number % RUN}")).failed(error)
    assert not breaker.is_open
    Attempt(breaker, call("SKU-0"))


def test_calls_from_before_the_pause_neither_end_nor_lengthen_it(breaker: CircuitBreaker, clock: Clock) -> None:
    good, bad = Attempt(breaker, call()), Attempt(breaker, call())
    _fail(breaker, RUN)
    clock.seconds += INTERVAL_SECONDS - 1
    good.succeeded()
    bad.failed(Failing("late"))
    assert breaker.is_open
    clock.seconds += 1
    Attempt(breaker, call())


def test_trustpilots_own_retry_after_is_obeyed_at_once(breaker: CircuitBreaker, clock: Clock) -> None:
    Attempt(breaker, call()).failed(RateLimited("too many", retry_after_header=120))
    clock.seconds += 119
    assert _wait(breaker, call()) == 1
    clock.seconds += 1
    Attempt(breaker, call()).succeeded()


@pytest.mark.parametrize("error", [Failing("down"), Malformed("not JSON")])
def test_one_product_that_fails_again_and_again_pauses_itself_alone(
    breaker: CircuitBreaker, clock: Clock, error: TrustpilotError
) -> None:
    made = 0
    for _ in range(20 * 60):
        clock.seconds += 0.05
        try:
            Attempt(breaker, call("BAD")).failed(error)
        except Paused:
            continue
        else:
            made += 1
        Attempt(breaker, call()).succeeded()
    # After 0, 1, 2, 4, 8, 16 and 32 seconds of pause.
    assert 5 <= made <= 8
    assert not breaker.is_open


def test_a_failing_products_pause_grows_to_a_bound_and_ends_with_a_success(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    pauses = []
    for _ in range(10):
        Attempt(breaker, call("BAD")).failed(Failing("down"))
        try:
            Attempt(breaker, call("BAD")).withdrawn()
        except Paused as paused:
            pauses.append(paused.retry_after)
            clock.seconds += paused.retry_after
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert LONGEST_CALL_SECONDS == 60
    Attempt(breaker, call("BAD")).succeeded()
    Attempt(breaker, call("BAD")).failed(Failing("down"))
    Attempt(breaker, call("BAD"))


def test_batches_that_share_a_product_count_once(breaker: CircuitBreaker) -> None:
    for number in range(2 * RUN):
        Attempt(breaker, Call("unit", "summaries", frozenset(["BAD", f"GOOD-{number}"]))).failed(Failing("down"))
    assert not breaker.is_open
    for number in range(RUN - 1):
        Attempt(breaker, Call("unit", "summaries", frozenset([f"OTHER-{number}"]))).failed(Failing("down"))
    assert breaker.is_open


def test_the_probe_goes_to_another_call_than_the_one_that_failed_last(breaker: CircuitBreaker, clock: Clock) -> None:
    _fail(breaker, RUN - 1)
    Attempt(breaker, call("BAD")).failed(Failing("down"))
    clock.seconds += INTERVAL_SECONDS
    assert _wait(breaker, call("BAD")) == INTERVAL_SECONDS
    Attempt(breaker, call("GOOD")).succeeded()
    assert not breaker.is_open


def test_a_call_that_nobody_else_replaces_probes_an_interval_later(breaker: CircuitBreaker, clock: Clock) -> None:
    _fail(breaker, RUN - 1)
    Attempt(breaker, call("ONLY")).failed(Failing("down"))
    clock.seconds += 2 * INTERVAL_SECONDS
    Attempt(breaker, call("ONLY")).succeeded()
    assert not breaker.is_open


def test_a_business_unit_that_is_refused_pauses_alone(breaker: CircuitBreaker) -> None:
    for _ in range(RUN):
        Attempt(breaker, call(unit="foreign")).failed(Refused("refused"))
    with pytest.raises(Paused, match="refused"):
        Attempt(breaker, call(unit="foreign"))
    Attempt(breaker, call(unit="own")).succeeded()
    assert breaker.is_open
    with pytest.raises(Paused):
        Attempt(breaker, call(unit="foreign"))


def test_a_firewall_stops_the_calls_of_all_business_units(breaker: CircuitBreaker) -> None:
    for _ in range(RUN):
        Attempt(breaker, call(unit="one")).failed(TurnedAway("turned away"))
    with pytest.raises(Paused, match="turned away"):
        Attempt(breaker, call(unit="other"))


@pytest.mark.parametrize("error", [RateLimited("too many"), Refused("refused"), TurnedAway("turned away")])
def test_probes_back_off_while_trustpilot_asks_for_quiet(
    breaker: CircuitBreaker, clock: Clock, error: TrustpilotError
) -> None:
    began, made = clock.seconds, 0
    while clock.seconds < began + 3600:
        try:
            Attempt(breaker, call()).failed(error)
        except Paused as paused:
            clock.seconds += paused.retry_after
        else:
            made += 1
    # 5, 10, 20 … 300, 300 seconds; every 5 seconds they would be 720.
    assert made <= RUN + 18
    assert LONGEST_INTERVAL_SECONDS == 300


def test_a_failing_products_retry_after_pauses_that_product_and_the_others_for_a_minute_at_most(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    Attempt(breaker, call("BAD")).failed(Failing("down", retry_after_header=3600))
    Attempt(breaker, call("GOOD")).succeeded()
    assert _wait(breaker, call("BAD")) == 3600
    for _ in range(RUN):
        Attempt(breaker, call()).failed(Failing("down", retry_after_header=3600))
    assert _wait(breaker, call("GOOD")) == LONGEST_FAILING_SECONDS == 60


def test_the_probe_of_a_paused_unit_that_meets_an_outage_says_nothing_of_the_unit(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    for _ in range(RUN):
        Attempt(breaker, call(unit="foreign")).failed(Refused("refused"))
    clock.seconds += INTERVAL_SECONDS
    Attempt(breaker, call(unit="foreign")).failed(Failing("down"))
    Attempt(breaker, call(unit="foreign")).succeeded()
    assert not breaker.is_open


def test_what_is_paused_is_listed_reported_and_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    events: list[object] = []
    breaker = CircuitBreaker(clock, report=events.append)
    assert breaker.pauses() == []
    for _ in range(RUN):
        Attempt(breaker, call(unit="foreign")).failed(Refused("refused"))
    assert breaker.pauses() == [Pause("foreign", "refused", INTERVAL_SECONDS)]
    _fail(breaker, RUN)
    clock.seconds += 1
    everything = Pause(None, "Trustpilot answered 500", INTERVAL_SECONDS - 1)
    assert breaker.pauses() == [everything, Pause("foreign", "refused", INTERVAL_SECONDS - 1)]
    clock.seconds += INTERVAL_SECONDS
    assert [pause.next_try_seconds for pause in breaker.pauses()] == [0, 0]
    Attempt(breaker, call()).succeeded()
    assert breaker.pauses() == [Pause("foreign", "refused", 0)]
    Attempt(breaker, call(unit="foreign")).succeeded()
    Attempt(breaker, call(unit="foreign")).succeeded()
    # One outage, whatever was paused in it.
    assert events == [BreakerTurned(is_open=True), BreakerTurned(is_open=False)]
    assert caplog.messages == [
        "calls to Trustpilot are paused for business unit foreign for 5 s: refused",
        "calls to Trustpilot are paused for 5 s: Trustpilot answered 500",
        "Trustpilot answers again: calls go on",
        "Trustpilot answers again: calls go on",
    ]


def test_a_pause_says_what_is_paused_why_and_for_how_long(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(2):
        Attempt(breaker, call("BAD")).failed(Failing("down"))
    with pytest.raises(Paused, match=r"^this call to Trustpilot is paused: down$"):
        Attempt(breaker, call("BAD"))
    _fail(breaker, RUN - 1)
    clock.seconds += 0.5
    with pytest.raises(Paused, match=r"^calls to Trustpilot are paused: Trustpilot answered 500$") as paused:
        Attempt(breaker, call())
    assert paused.value.retry_after == INTERVAL_SECONDS


def test_an_outage_leaves_none_of_the_calls_it_met_paused(breaker: CircuitBreaker, clock: Clock) -> None:
    Attempt(breaker, call("MET")).failed(Failing("down", retry_after_header=1000))
    _fail(breaker, RUN - 1)
    clock.seconds += INTERVAL_SECONDS
    Attempt(breaker, call()).succeeded()
    Attempt(breaker, call("MET")).succeeded()


def test_a_units_probe_leaves_other_units_calls_paused(breaker: CircuitBreaker, clock: Clock) -> None:
    for unit in ("own", "foreign"):
        Attempt(breaker, call("BAD", unit=unit)).failed(Refused("refused", retry_after_header=100))
    clock.seconds += 200
    Attempt(breaker, call("BAD", unit="own")).failed(Failing("down", retry_after_header=1000))
    Attempt(breaker, call(unit="foreign")).succeeded()
    with pytest.raises(Paused, match="this call"):
        Attempt(breaker, call("BAD", unit="own"))
    Attempt(breaker, call("BAD", unit="foreign")).succeeded()


def test_who_answers_the_probe_of_all_with_a_refusal_answers(breaker: CircuitBreaker, clock: Clock) -> None:
    _fail(breaker, RUN)
    clock.seconds += INTERVAL_SECONDS
    Attempt(breaker, call(unit="foreign")).failed(Refused("refused"))
    assert not breaker.is_open
    Attempt(breaker, call()).succeeded()


def test_the_first_failures_of_one_cause_do_not_hide_later_ones(breaker: CircuitBreaker) -> None:
    # The same product in another call, or another unit's product of the same name, is another cause.
    for name in ("reviews", "summaries"):
        for unit in ("one", "other"):
            Attempt(breaker, Call(unit, name, frozenset(["A"]))).failed(Failing("down"))
    assert not breaker.is_open
    _fail(breaker)
    assert breaker.is_open


def test_what_nobody_waits_for_probes_once_the_pause_is_over(breaker: CircuitBreaker, clock: Clock) -> None:
    probe = Call("unit", "summaries", frozenset(["probe"]))
    assert not breaker.awaits_probe(probe)
    _fail(breaker, RUN)
    assert not breaker.awaits_probe(probe)
    clock.seconds += INTERVAL_SECONDS
    assert breaker.awaits_probe(probe)
    under_way = Attempt(breaker, call())
    assert not breaker.awaits_probe(probe)
    under_way.withdrawn()
    assert breaker.awaits_probe(probe)
    Attempt(breaker, probe).failed(Failing("down", retry_after_header=50))
    clock.seconds += INTERVAL_SECONDS
    assert not breaker.awaits_probe(probe)
    clock.seconds += 50
    assert breaker.awaits_probe(probe)


@pytest.mark.parametrize("error", [Refused("refused"), TurnedAway("turned away")])
def test_after_a_refusal_nobody_probes_for_an_hour_unless_somebody_waits(
    breaker: CircuitBreaker, clock: Clock, error: TrustpilotError
) -> None:
    probe = Call("unit", "summaries", frozenset(["probe"]))
    for _ in range(RUN):
        Attempt(breaker, call()).failed(error)
    clock.seconds += QUIET_SECONDS - 1
    assert not breaker.awaits_probe(probe)
    clock.seconds += 1
    assert breaker.awaits_probe(probe)
    Attempt(breaker, call()).failed(Failing("down") if isinstance(error, TurnedAway) else RateLimited("too many"))
    clock.seconds += 2 * INTERVAL_SECONDS
    Attempt(breaker, call()).succeeded()


def test_a_retry_after_that_is_shorter_than_the_interval_shortens_nothing(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    Attempt(breaker, call()).failed(RateLimited("too many", retry_after_header=1))
    assert _wait(breaker, call()) == INTERVAL_SECONDS
    clock.seconds += INTERVAL_SECONDS
    Attempt(breaker, call()).failed(Failing("down", retry_after_header=1))
    assert _wait(breaker, call()) == INTERVAL_SECONDS


def test_pauses_for_quiet_double_and_begin_anew_after_a_success(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(2):
        for _ in range(RUN - 1):
            Attempt(breaker, call()).failed(RateLimited("too many"))
        pauses = []
        for _ in range(9):
            Attempt(breaker, call()).failed(RateLimited("too many"))
            with pytest.raises(Paused) as paused:
                Attempt(breaker, call())
            pauses.append(paused.value.retry_after)
            clock.seconds += paused.value.retry_after
        assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
        Attempt(breaker, call()).succeeded()
