"""How events reach those who listen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from proxy.clock import CAUSE
from proxy.events import CallEnded, CallStarted, Events, FileFailed, Happened

Turns = list[Callable[[], None]]


class Heard:
    """A listener that remembers what it heard, and in how many turns."""

    def __init__(self) -> None:
        self.turns: list[list[object]] = []
        self.happened: list[Happened] = []

    def __call__(self, happened: Sequence[Happened]) -> None:
        self.turns.append([event for event, _, _ in happened])
        self.happened += happened


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def turns() -> Turns:
    return []


@pytest.fixture
def events(heard: Heard, turns: Turns) -> Events:
    made = Events(heard)
    made.wait_for(turns.append)
    return made


def test_what_each_request_reports_waits_for_the_servers_next_turn_in_order(
    events: Events, heard: Heard, turns: Turns
) -> None:
    CAUSE.set("id-1")
    reported = [CallStarted("reviews"), CallEnded("reviews", "200", 0.1, 10), CallStarted("summary")]
    for event in reported:
        events.report(event)
    CAUSE.set("")
    assert heard.turns == []
    assert len(turns) == 1
    turns.pop()()
    assert heard.turns == [reported]
    assert [cause for _, _, cause in heard.happened] == ["id-1"] * 3
    times = [at for _, at, _ in heard.happened]
    assert times == sorted(times)


def test_no_more_than_a_hundred_wait(events: Events, heard: Heard) -> None:
    for _ in range(250):
        events.report(CallStarted("reviews"))
    assert [len(turn) for turn in heard.turns] == [100, 100]
    events.tell()
    assert sum(map(len, heard.turns)) == 250


def test_a_turn_that_comes_too_late_tells_nothing_twice(events: Events, heard: Heard, turns: Turns) -> None:
    events.report(CallStarted("reviews"))
    events.tell()
    turns.pop()()
    assert heard.turns == [[CallStarted("reviews")]]


def test_what_is_rare_is_told_at_once(events: Events, heard: Heard, turns: Turns) -> None:
    events.report(FileFailed("full"))
    assert (heard.turns, turns) == ([[FileFailed("full")]], [])


def test_without_a_server_all_is_told_at_once_to_everybody() -> None:
    one, other = Heard(), Heard()
    Events(one, other).report(CallStarted("reviews"))
    assert one.turns == other.turns == [[CallStarted("reviews")]]
