"""How fresh a copy is when the machine's clock is set back."""

from __future__ import annotations

import pytest

from proxy.api.responses import freshness_headers
from proxy.cache.entry import Lifetimes
from proxy.cache.freshness import Freshness, State

STORED = 1_000_000.0
ENTRY = Lifetimes(fresh=2, stale=60, missing=2).entry(b"value", found=True, now=STORED)


def test_a_clock_set_back_an_hour_makes_no_copy_fresh_for_an_hour() -> None:
    assert not ENTRY.is_fresh(STORED - 3600)
    assert not ENTRY.is_gone(STORED - 3600)


@pytest.mark.parametrize(("ahead", "fresh"), [(0.0, True), (1.0, True), (2.0, True), (2.5, False)])
def test_a_copy_from_a_machine_whose_clock_is_a_little_ahead_is_fresh(ahead: float, fresh: bool) -> None:
    assert ENTRY.is_fresh(STORED - ahead) is fresh


@pytest.mark.parametrize(("jump", "max_age"), [(-3600, 2), (-1, 2), (0, 2), (1, 1), (2, 0), (302, 0)])
def test_max_age_is_never_more_than_the_configured_freshness(jump: int, max_age: int) -> None:
    freshness = Freshness(State.HIT, ENTRY.stored_at, ENTRY.fresh_until)
    assert dict(freshness_headers(freshness, STORED + jump))["Cache-Control"] == f"private, max-age={max_age}"
