"""Whose turn it is among calls that wait for a place. The clock is the test's own; the threads are real."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from proxy.clock import PATIENCE, Deadline, Patience, Priority
from proxy.trustpilot.bulkhead import REFRESHES_AT_ONCE, Bulkhead
from proxy.trustpilot.errors import Busy

AT_ONCE = Deadline.after(0)
FOREGROUND, BACKGROUND = Priority.FOREGROUND, Priority.BACKGROUND


class Calls:
    """Calls that wait in a bulkhead of one place, which is taken. ``made`` tells their order once it is free."""

    def __init__(self) -> None:
        self.now = 0.0
        self.made: list[str] = []
        self._bulkhead = Bulkhead(1, now=lambda: self.now)
        self._threads: list[threading.Thread] = []
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


def test_refreshes_take_few_places_and_none_that_the_next_caller_needs() -> None:
    wide, narrow = Bulkhead(1000), Bulkhead(8)
    with ExitStack() as under_way:
        for _ in range(REFRESHES_AT_ONCE):
            under_way.enter_context(wide.slot(BACKGROUND, AT_ONCE))
        with pytest.raises(Busy, match="too many refreshes"):
            under_way.enter_context(wide.slot(BACKGROUND, AT_ONCE))
        for _ in range(7):
            under_way.enter_context(narrow.slot(BACKGROUND, AT_ONCE))
        with pytest.raises(Busy, match="too many calls"):
            under_way.enter_context(narrow.slot(BACKGROUND, AT_ONCE))
        under_way.enter_context(narrow.slot(FOREGROUND, AT_ONCE))
    with wide.slot(BACKGROUND, AT_ONCE), narrow.slot(BACKGROUND, AT_ONCE):
        pass
