"""One execution per key, whoever asks; the jobs run when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import add

import pytest

from proxy.cache import PATIENCE, DeadlinePassed, Group, Key
from proxy.clock import Deadline


class Jobs:
    """What was spawned and has not run."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.group: Group[str] = Group(self.waiting.append)

    def run(self) -> None:
        """Run the job that came first."""
        self.waiting.pop(0)()


NOW = Deadline.after(0)
A, B, OTHER = Key("p", "a"), Key("p", "b"), Key("q", "a")


def _never() -> str:
    raise AssertionError("it joins the call under way")


def test_who_asks_while_a_call_is_under_way_joins_it() -> None:
    jobs = Jobs()
    first = jobs.group.do(A, lambda: "made")
    assert jobs.group.do(A, _never) is first
    with pytest.raises(DeadlinePassed):
        first.wait(NOW)
    jobs.run()
    assert (first.wait(NOW), jobs.waiting) == ("made", [])


def test_who_asks_after_it_ended_causes_another() -> None:
    jobs = Jobs()
    first = jobs.group.do(A, lambda: "first")
    jobs.run()
    second = jobs.group.do(A, lambda: "second")
    jobs.run()
    assert (first.wait(NOW), second.wait(NOW)) == ("first", "second")


def test_each_part_and_product_is_called_for_itself_and_ends_for_itself() -> None:
    jobs = Jobs()
    calls = [jobs.group.do(key, partial(add, key.product, key.part)) for key in (A, B, OTHER)]
    jobs.run()
    assert [jobs.group.do(key, _never) for key in (B, OTHER)] == calls[1:]
    jobs.run()
    jobs.run()
    assert [call.wait(NOW) for call in calls] == ["pa", "pb", "qa"]


def test_nothing_is_kept_of_products_without_a_call() -> None:
    jobs = Jobs()
    for key in (A, B, OTHER):
        jobs.group.do(key, lambda: "made")
    while jobs.waiting:
        jobs.run()
    assert not jobs.group._calls


def test_a_failure_is_raised_in_everyone_who_waits_and_remembered_for_nobody() -> None:
    jobs = Jobs()

    def failing() -> str:
        raise ValueError("down")

    call = jobs.group.do(A, failing)
    jobs.run()
    for _ in range(2):
        with pytest.raises(ValueError, match="down"):
            call.wait(NOW)
    assert jobs.group.do(A, lambda: "made") is not call


def test_a_call_of_before_a_change_is_joined_by_nobody_and_ends_no_later_one() -> None:
    jobs = Jobs()
    before = jobs.group.do(A, lambda: "old")
    jobs.group.forget("q")
    assert jobs.group.do(A, _never) is before
    jobs.group.forget("p")
    after = jobs.group.do(A, lambda: "new")
    assert after is not before
    jobs.run()
    assert jobs.group.do(A, _never) is after
    jobs.run()
    assert (before.wait(NOW), after.wait(NOW)) == ("old", "new")


def test_the_work_knows_until_when_somebody_waits_for_it() -> None:
    jobs = Jobs()
    seen: list[object] = []

    def work() -> str:
        seen.append(PATIENCE.get())
        return "made"

    call = jobs.group.do(A, work)
    with pytest.raises(DeadlinePassed):
        call.wait(NOW)
    jobs.run()
    later = Deadline.after(5)
    call.wait(later)
    assert seen == [call.patience]
    assert call.patience.until == later.at
