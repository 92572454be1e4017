"""Whose turn it is among calls that wait for a place. The clock is the test's own; the threads are real."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from proxy.cache import PATIENCE, Patience
from proxy.clock import Deadline, Priority
from proxy.trustpilot import Busy
from proxy.trustpilot.circuit_breaker import REFRESHES_AT_ONCE, Bulkhead

AT_ONCE = Deadline.after(0)
FOREGROUND, BACKGROUND = Priority.FOREGROUND, Priority.BACKGROUND


class Calls:
    """Calls that wait in a bulkhead of one place, which is taken. ``made`` tells their order once it is free.

    ``before`` are the seconds that earlier calls took.
    """

    def __init__(self, before: Sequence[float] = ()) -> None:
        self.now = 0.0
        self.made: list[str] = []
        self._bulkhead = Bulkhead(1, now=lambda: self.now)
        self._threads: list[threading.Thread] = []
        for seconds in before:
            with self._bulkhead.slot(FOREGROUND, AT_ONCE):
                self.now += seconds
        self._taken = ExitStack()
        self._taken.enter_context(self._bulkhead.slot(FOREGROUND, AT_ONCE))

    def wait(self, name: str, *, until: float) -> Patience:
        """Have a call queue whose caller waits until ``until``."""
        patience = Patience()
        patience.extend(Deadline(until))
        before = self._bulkhead.waiting

        def call() -> None:
            PATIENCE.set(patience)
            with self._bulkhead.slot(FOREGROUND, Deadline.after(20)):
                self.made.append(name)

        self._threads.append(threading.Thread(target=call))
        self._threads[-1].start()
        while self._bulkhead.waiting == before:
            time.sleep(0.001)
        return patience

    def leave(self, name: str) -> None:
        """Have a call queue that gives up at once."""
        with pytest.raises(Busy), self._bulkhead.slot(FOREGROUND, AT_ONCE):
            self.made.append(name)

    @property
    def waiting(self) -> int:
        return self._bulkhead.waiting

    def free(self) -> int:
        """Return how many places are free."""
        with ExitStack() as taken:
            for number in range(10):
                try:
                    taken.enter_context(self._bulkhead.slot(FOREGROUND, AT_ONCE))
                except Busy:
                    return number
        return 10

    def go_on(self, after: float) -> list[str]:
        """Free the place after so many seconds, in which the first call was under way; return the order."""
        self.now += after
        self._taken.close()
        for thread in self._threads:
            thread.join(20)
        return self.made


def test_the_call_whose_caller_has_the_least_time_left_goes_first() -> None:
    calls = Calls()
    calls.wait("later", until=9)
    calls.wait("sooner", until=5)
    assert calls.go_on(1) == ["sooner", "later"]


def test_a_call_nobody_waits_for_any_more_goes_behind_those_somebody_waits_for() -> None:
    calls = Calls()
    calls.wait("gone", until=1)
    calls.wait("gone too", until=2)
    calls.wait("waited for", until=9)
    assert calls.go_on(3) == ["waited for", "gone", "gone too"]


def test_a_call_that_can_not_be_answered_in_time_any_more_goes_behind_too() -> None:
    calls = Calls()
    calls.wait("too late", until=10.5)
    calls.wait("in time", until=12)
    # A call that took ten seconds: the next is expected to take one, a tenth of that.
    assert calls.go_on(10) == ["in time", "too late"]


def test_who_joins_a_call_keeps_it_waited_for() -> None:
    calls = Calls()
    calls.wait("other", until=8)
    calls.wait("joined", until=1).extend(Deadline(6))
    assert calls.go_on(2) == ["joined", "other"]


def test_a_call_that_gets_no_place_in_time_is_not_made_and_takes_none_later() -> None:
    bulkhead = Bulkhead(1)
    with (
        bulkhead.slot(FOREGROUND, AT_ONCE),
        pytest.raises(Busy, match="too many calls"),
        bulkhead.slot(FOREGROUND, Deadline.after(0.05)),
    ):
        raise AssertionError("there is no place")
    with bulkhead.slot(FOREGROUND, AT_ONCE):
        pass


class Ended(Deadline, frozen=True):
    """The deadline of a call whose thread is ended while it waits, as gunicorn's worker ends a request."""

    def remaining(self) -> float:
        raise SystemExit


@pytest.mark.parametrize("is_its_turn", [False, True])
def test_a_call_that_is_ended_while_it_waits_keeps_no_place(*, is_its_turn: bool) -> None:
    bulkhead = Bulkhead(1)
    under_way = bulkhead.slot(FOREGROUND, AT_ONCE)
    under_way.__enter__()

    class EndedInItsTurn(Ended, frozen=True):
        def remaining(self) -> float:
            if is_its_turn:
                under_way.__exit__(None, None, None)
            return super().remaining()

    with pytest.raises(SystemExit), bulkhead.slot(FOREGROUND, EndedInItsTurn(0)):
        raise AssertionError("there is no place")
    if not is_its_turn:
        under_way.__exit__(None, None, None)
    with bulkhead.slot(FOREGROUND, AT_ONCE):
        assert bulkhead.waiting == 0


def test_what_a_call_takes_is_expected_of_all_of_late_the_newest_counting_a_tenth() -> None:
    calls = Calls(before=(10, 10))
    calls.wait("too late", until=21.70)
    calls.wait("in time", until=21.72)
    # 10 % of 10, then of the 9 above that, less a tenth as the one under way takes no time: 1.71 seconds.
    assert calls.go_on(0) == ["in time", "too late"]


def test_a_place_that_is_given_back_is_one_place() -> None:
    bulkhead = Bulkhead(2)
    for _ in range(3):
        with ExitStack() as under_way:
            for _ in range(2):
                under_way.enter_context(bulkhead.slot(FOREGROUND, AT_ONCE))
            with pytest.raises(Busy, match=r"^too many calls to Trustpilot are under way$"):
                under_way.enter_context(bulkhead.slot(FOREGROUND, AT_ONCE))
            assert bulkhead.waiting == 0
    refreshing = Bulkhead(1000)
    for _ in range(3):
        with ExitStack() as under_way:
            for _ in range(REFRESHES_AT_ONCE):
                under_way.enter_context(refreshing.slot(BACKGROUND, AT_ONCE))
            with pytest.raises(Busy, match=r"^too many refreshes are under way$"):
                under_way.enter_context(refreshing.slot(BACKGROUND, AT_ONCE))
            under_way.enter_context(refreshing.slot(FOREGROUND, AT_ONCE))


def test_a_place_is_handed_from_one_to_the_next_and_free_after_the_last() -> None:
    calls = Calls()
    calls.wait("first", until=5)
    calls.wait("second", until=9)
    assert calls.waiting == 2
    assert calls.go_on(1) == ["first", "second"]
    assert calls.waiting == 0
    assert calls.free() == 1


def test_who_has_left_is_passed_over_also_among_those_that_are_late() -> None:
    calls = Calls()
    calls.leave("gone")
    calls.wait("late", until=1)
    calls.wait("in time", until=9)
    assert calls.waiting == 2
    assert calls.go_on(3) == ["in time", "late"]


def test_a_refresh_leaves_an_eighth_of_the_places_and_only_those() -> None:
    for size, most in ((7, 7), (8, 7), (16, 14)):
        bulkhead = Bulkhead(size, refreshes=100)
        with ExitStack() as under_way:
            for _ in range(most):
                under_way.enter_context(bulkhead.slot(BACKGROUND, AT_ONCE))
            with pytest.raises(Busy, match=r"^too many calls to Trustpilot are under way$"):
                under_way.enter_context(bulkhead.slot(BACKGROUND, AT_ONCE))
