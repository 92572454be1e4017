from __future__ import annotations

from proxy.trustpilot.quota import YEAR_DAYS
from tools.freshness import PAGE, ages, page


def test_the_table_of_ages_is_what_the_planner_does() -> None:
    text = PAGE.read_text("utf-8")
    assert page(text) == text


def test_a_feed_keeps_the_freshness_that_is_set_whatever_the_plan() -> None:
    for products in (1_000, 50_000):
        new, hidden, edited = ages(200_000, products, has_feed=True, skus_per_call=100)
        a_day = 86_400 / new + 86_400 / hidden * products / 1000 + products * 86_400 / edited
        assert new == 900
        assert a_day <= 200_000 / YEAR_DAYS * 1.1
