"""Whose fetch failed is left alone for its time, and no other."""

from __future__ import annotations

from proxy.cache import Key
from proxy.cache.cache import Backoff, Failure

A, B, OTHER = Key("p", "a"), Key("p", "b"), Key("q", "a")
DOWN, AWAY = ValueError("down"), ValueError("away")


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_each_key_is_left_alone_for_its_own_time() -> None:
    clock = Clock()
    backoff = Backoff(clock)
    backoff.add(A, DOWN, 5, answers=True)
    backoff.add(B, AWAY, 10, answers=False)
    assert backoff.get(A) == Failure(DOWN, 1005, answers=True)
    assert backoff.get(B) == Failure(AWAY, 1010, answers=False)
    assert backoff.get(OTHER) is None
    assert backoff.get(Key("p", "c")) is None
    clock.seconds += 5
    assert backoff.get(A) is None
    assert backoff.get(B) is not None
    clock.seconds += 5
    assert backoff.get(B) is None


def test_a_later_failure_takes_the_earlier_ones_place() -> None:
    clock = Clock()
    backoff = Backoff(clock)
    backoff.add(A, DOWN, 5, answers=True)
    clock.seconds += 4
    backoff.add(A, AWAY, 5, answers=False)
    assert backoff.get(A) == Failure(AWAY, 1009, answers=False)


def test_what_is_over_is_not_kept() -> None:
    clock = Clock()
    backoff = Backoff(clock)
    backoff.add(A, DOWN, 5, answers=True)
    clock.seconds += 5
    backoff.add(B, DOWN, 5, answers=True)
    assert [*backoff._products["p"]] == ["b"]


def test_a_change_of_a_product_leaves_none_of_its_keys_alone_any_more() -> None:
    backoff = Backoff(Clock())
    for key in (A, B, OTHER):
        backoff.add(key, DOWN, 5, answers=True)
    backoff.drop("p")
    backoff.drop("unknown")
    assert (backoff.get(A), backoff.get(B)) == (None, None)
    assert backoff.get(OTHER) is not None
