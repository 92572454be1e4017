"""The one policy: fresh, stale or gone, since an entry was fetched or confirmed; and a clock that is set back."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from proxy.cache import Entry, Freshness, Lifetimes, Pace, State

FETCHED = 1_000_000.0
POLICY = Lifetimes(fresh=2, stale=60, missing=5)
ENTRY = Entry(b"value", found=True, fetched_at=FETCHED)
NOTHING = Entry(b"value", found=False, fetched_at=FETCHED)


@pytest.mark.parametrize(
    ("entry", "age", "state"),
    [
        (ENTRY, 0, State.HIT),
        (ENTRY, 1.9, State.HIT),
        (ENTRY, 2, State.STALE),
        (ENTRY, 59.9, State.STALE),
        (ENTRY, 60, State.MISS),
        (NOTHING, 4.9, State.HIT),
        (NOTHING, 5, State.MISS),
        (replace(ENTRY, confirmed_at=FETCHED + 50), 51.9, State.HIT),
        (replace(ENTRY, confirmed_at=FETCHED + 50), 52, State.STALE),
        (replace(ENTRY, confirmed_at=FETCHED + 50), 110, State.MISS),
        (replace(ENTRY, outdated_at=FETCHED + 1), 0.9, State.HIT),
        (replace(ENTRY, outdated_at=FETCHED + 1), 1, State.STALE),
        (replace(ENTRY, outdated_at=FETCHED + 1, confirmed_at=FETCHED + 50), 51, State.STALE),
        (None, 0, State.MISS),
    ],
)
def test_an_entry_is_fresh_then_stale_then_gone(entry: Entry | None, age: float, state: State) -> None:
    assert POLICY.state(entry, FETCHED + age) is state


def test_without_a_stale_phase_an_entry_lives_as_long_as_it_is_fresh() -> None:
    policy = Lifetimes(fresh=10, stale=0, missing=5)
    assert [policy.state(ENTRY, FETCHED + age) for age in (9, 10)] == [State.HIT, State.MISS]


def test_the_age_of_an_answer_counts_from_when_it_was_confirmed() -> None:
    confirmed = POLICY.freshness(replace(ENTRY, confirmed_at=FETCHED + 50), State.HIT)
    headers = dict(confirmed.headers(FETCHED + 51))
    assert (headers["Age"], headers["Cache-Control"]) == ("1", "private, max-age=1")


def test_an_answer_made_of_two_is_as_old_as_the_older() -> None:
    older = Freshness(State.HIT, 10.0, 30.0, 90.0, 20.0)
    newer = Freshness(State.STALE, 15.0, 25.0, 95.0)
    joined = older.with_(newer)
    assert joined == newer.with_(older) == Freshness(State.STALE, 10.0, 25.0, 90.0, 15.0)
    assert joined.as_of == 15.0


def test_a_clock_set_back_an_hour_makes_no_entry_fresh_for_an_hour() -> None:
    assert POLICY.state(ENTRY, FETCHED - 3600) is State.STALE


@pytest.mark.parametrize(
    ("ahead", "state"), [(0.0, State.HIT), (1.0, State.HIT), (2.0, State.HIT), (2.5, State.STALE)]
)
def test_an_entry_from_a_machine_whose_clock_is_a_little_ahead_is_fresh(ahead: float, state: State) -> None:
    assert POLICY.state(ENTRY, FETCHED - ahead) is state


@pytest.mark.parametrize(("jump", "max_age"), [(-3600, 2), (-1, 2), (0, 2), (1, 1), (2, 0), (302, 0)])
def test_max_age_is_never_more_than_the_configured_freshness(jump: int, max_age: int) -> None:
    freshness = POLICY.freshness(ENTRY, State.HIT)
    assert dict(freshness.headers(FETCHED + jump))["Cache-Control"] == f"private, max-age={max_age}"


def test_without_reviews_an_entry_that_can_be_confirmed_is_stale_for_the_second_half_of_its_life() -> None:
    policy = Lifetimes(fresh=2, stale=60, missing=6, confirms=True)
    assert [policy.state(NOTHING, FETCHED + age) for age in (2.9, 3, 5.9, 6)] == [
        State.HIT,
        State.STALE,
        State.STALE,
        State.MISS,
    ]


def test_a_fetch_is_due_shortly_before_an_entry_that_is_never_confirmed_would_be_gone() -> None:
    assert POLICY.whole_until(ENTRY) == FETCHED + 58
    assert POLICY.whole_until(NOTHING) == FETCHED + 58
    confirmed = replace(ENTRY, confirmed_at=FETCHED + 57)
    assert POLICY.fresh_until(confirmed) == FETCHED + 58
    assert POLICY.may_be_confirmed(ENTRY, FETCHED + 57.9)
    assert not POLICY.may_be_confirmed(ENTRY, FETCHED + 58)
    assert not POLICY.may_be_confirmed(replace(ENTRY, outdated_at=FETCHED + 1), FETCHED + 1)
    # Where it is fresh for longer than it is stale, it is whole for as long.
    assert Lifetimes(fresh=10, stale=0, missing=5).whole_until(ENTRY) == FETCHED + 10


def test_while_the_plan_is_short_everything_lasts_longer() -> None:
    policy = Lifetimes(fresh=2, stale=10, missing=5, pace=Pace(fresh=3.0, whole=2.0))
    assert policy.fresh_now == 6
    assert policy.fresh_until(ENTRY) == FETCHED + 6
    assert policy.whole_until(ENTRY) == FETCHED + 16
    assert policy.gone_at(ENTRY) == FETCHED + 12
    assert policy.gone_at(NOTHING) == FETCHED + 5
    assert Lifetimes(fresh=2, stale=10, missing=5, pace=Pace(fresh=1.5)).gone_at(ENTRY) == FETCHED + 10


def test_an_entry_is_kept_for_longer_where_a_whole_shop_may_be_confirmed() -> None:
    confirms = dataclasses.replace(POLICY, confirms=True)
    assert (POLICY.kept_until(ENTRY), POLICY.kept_until(NOTHING)) == (FETCHED + 60, FETCHED + 5)
    assert confirms.kept_until(ENTRY) > FETCHED + 3600
    assert confirms.kept_until(NOTHING) == FETCHED + 5


@pytest.mark.parametrize(("fresh", "stale", "missing"), [(9, 2, 3), (2, 9, 3), (2, 3, 9)])
def test_the_longest_an_entry_may_be_answered_is_the_longest_of_the_three(
    fresh: float, stale: float, missing: float
) -> None:
    assert Lifetimes(fresh, stale, missing).longest == 9
