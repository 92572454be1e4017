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


def test_a_signal_in_the_middle_of_telling_finds_what_waits_for_the_first_listener(turns: Turns) -> None:
    first, other = Heard(), Heard()

    def interrupted(happened: Sequence[Happened]) -> None:
        other(happened)
        told.tell_first()

    told = Events(first, interrupted)
    told.wait_for(turns.append)
    told.report(CallStarted("reviews"))
    told.tell()
    assert first.turns == [[CallStarted("reviews")]] * 2
    assert other.turns == [[CallStarted("reviews")]]
    told.tell()
    assert len(other.turns) == 1


def test_a_listener_that_fails_is_not_told_the_same_again(heard: Heard, turns: Turns) -> None:
    def fails(happened: Sequence[Happened]) -> None:
        raise ValueError(happened)

    told = Events(heard, fails)
    told.wait_for(turns.append)
    told.report(CallStarted("reviews"))
    with pytest.raises(ValueError, match="reviews"):
        told.tell()
    told.tell()
    assert len(heard.turns) == 1
