"""Stale pages are confirmed by counts, a hundred in a call, and only what changed is fetched."""

from __future__ import annotations

import time

import pytest

from proxy.cache import State
from proxy.sync.validator import MOST_RIDES
from proxy.trustpilot import Failing, QuotaUsedUp, TrustpilotError
from tests.running import RunningProxy, RunningSandbox
from tests.sync.shop import FRESH, MISSING, STALE, Heart


def shop_of(heart: Heart, products: int, reviews: int = 2) -> list[str]:
    skus = [f"S{number}" for number in range(products)]
    for sku in skus:
        for _ in range(reviews):
            heart.shop.add(sku)
    heart.ask(*skus)
    heart.shop.calls.clear()
    return skus


def test_a_hundred_stale_products_are_confirmed_by_one_call() -> None:
    heart = Heart()
    skus = shop_of(heart, 100)
    heart.clock.now += FRESH
    heart.ask(*skus)
    assert heart.shop.calls == {"summaries": 1}
    assert {heart.state(sku) for sku in skus} == {State.HIT}


def test_only_what_changed_is_fetched() -> None:
    heart = Heart()
    skus = shop_of(heart, 50)
    heart.clock.now += FRESH
    heart.shop.add("S7")
    heart.shop.products["S9"].pop()
    heart.shop.products["S11"][0]["stars"] = 1
    heart.ask(*skus)
    assert heart.shop.calls == {"summaries": 1, "reviews": 3}
    assert heart.ask("S7", "S9") == [review["content"] for sku in ("S7", "S9") for review in heart.shop.products[sku]]


def test_a_summary_that_never_equals_its_page_does_not_mean_a_fetch_each_time() -> None:
    heart = Heart()
    heart.shop.counts_more = 3
    skus = shop_of(heart, 4)
    for _ in range(5):
        heart.clock.now += FRESH
        heart.ask(*skus)
    assert heart.shop.calls == {"summaries": 5, "reviews": 4}
    heart.clock.now += FRESH
    heart.shop.add("S1")
    heart.ask(*skus)
    assert heart.shop.calls == {"summaries": 6, "reviews": 5}


def test_a_product_of_more_than_a_page_is_compared_with_its_summary_of_then() -> None:
    heart = Heart()
    shop_of(heart, 1, reviews=150)
    for _ in range(3):
        heart.clock.now += FRESH
        heart.ask("S0")
    # Nothing says what was counted when it was fetched first, so it is fetched once more.
    assert heart.shop.calls == {"summaries": 3, "reviews": 1}


def test_a_product_without_reviews_is_confirmed_too_before_it_is_gone() -> None:
    heart = Heart()
    heart.shop.products["NEW"] = []
    heart.ask("NEW", "UNKNOWN")
    heart.shop.calls.clear()
    for _ in range(4):
        heart.clock.now += MISSING / 2
        assert heart.ask("NEW", "UNKNOWN") == []
    assert heart.shop.calls == {"summaries": 4}
    heart.shop.add("NEW", content="The first")
    heart.clock.now += MISSING / 2
    heart.ask("NEW")
    assert heart.ask("NEW") == ["The first"]


def test_what_counts_cannot_show_is_fetched_at_least_once_per_stale_time() -> None:
    heart = Heart()
    shop_of(heart, 1)
    heart.shop.products["S0"][0]["content"] = "Edited"
    asked = 0
    while "Edited" not in heart.ask("S0"):
        heart.clock.now += FRESH
        asked += 1
    assert asked * FRESH <= STALE
    assert heart.shop.calls["reviews"] == 1


def test_a_size_that_is_rejected_is_halved_until_it_is_taken() -> None:
    heart = Heart()
    skus = shop_of(heart, 100)
    heart.shop.most_skus = 30
    heart.clock.now += FRESH
    heart.ask(*skus)
    assert [len(batch) for batch in heart.shop.batches] == [100, 50, 25, 25, 25, 25]
    assert heart.shop.calls["reviews"] == 0
    heart.clock.now += FRESH
    heart.ask(*skus)
    assert [len(batch) for batch in heart.shop.batches[6:]] == [25] * 4


def test_a_size_that_was_rejected_is_tried_again_a_day_later_and_grows_back_step_by_step() -> None:
    heart = Heart()
    skus = shop_of(heart, 100)
    heart.shop.most_skus = 30
    heart.clock.now += FRESH
    heart.ask(*skus)

    def largest_of_a_day() -> int:
        heart.shop.batches.clear()
        # And a step: each copy is fetched once a day, after which there is nothing to confirm.
        for _ in range(17):
            heart.clock.now += STALE / 16
            heart.ask(*skus)
        return max(len(batch) for batch in heart.shop.batches)

    assert largest_of_a_day() == 50
    heart.shop.most_skus = 100
    assert largest_of_a_day() == 50
    assert largest_of_a_day() == 100


def test_where_the_call_itself_is_rejected_products_are_fetched_as_without_it() -> None:
    heart = Heart()
    skus = shop_of(heart, 2)
    heart.shop.most_skus = 0
    heart.clock.now += FRESH
    heart.shop.add("S0", content="New")
    heart.ask(*skus)
    assert heart.shop.calls == {"summaries": 2, "reviews": 2}
    assert "New" in heart.ask("S0")


@pytest.mark.parametrize("error", [Failing("500"), QuotaUsedUp("used up")])
def test_while_the_call_fails_stale_copies_are_answered_and_it_is_made_again_later(error: TrustpilotError) -> None:
    heart = Heart()
    skus = shop_of(heart, 3)
    heart.clock.now += FRESH
    heart.shop.error = error
    assert len(heart.ask(*skus)) == len(heart.ask(*skus)) == 6
    assert heart.shop.calls == {"summaries": 1}
    heart.shop.error = None
    heart.clock.now += 1
    heart.ask(*skus)
    assert heart.shop.calls == {"summaries": 2}
    assert heart.state("S0") is State.HIT


def test_a_call_that_is_not_full_takes_along_what_is_stale_soon_but_not_what_nobody_asks_for() -> None:
    heart = Heart()
    skus = shop_of(heart, 3)
    heart.clock.now += FRESH
    heart.ask(*skus)
    for _ in range(MOST_RIDES + 2):
        heart.clock.now += FRESH
        heart.ask("S0")
    assert [sorted(batch) for batch in heart.shop.batches] == [["S0", "S1", "S2"]] * (MOST_RIDES + 1) + [["S0"]] * 2


def test_what_is_asked_for_while_it_is_fresh_is_taken_along_on_and_on() -> None:
    heart = Heart()
    skus = shop_of(heart, 3)
    heart.clock.now += FRESH
    for _ in range(MOST_RIDES + 2):
        heart.ask(*skus)
        heart.clock.now += FRESH
        heart.ask("S0")
    assert [sorted(batch) for batch in heart.shop.batches] == [skus] * (MOST_RIDES + 3)


def test_a_webhook_that_came_meanwhile_is_not_undone_by_a_confirmation() -> None:
    heart = Heart()
    shop_of(heart, 1)
    heart.cache.invalidate("u/S0")
    heart.clock.now += FRESH
    assert len(heart.ask("S0")) == 2
    assert heart.shop.calls["reviews"] == 1


def test_without_sync_each_stale_product_is_fetched() -> None:
    heart = Heart(sync=False)
    skus = shop_of(heart, 3)
    heart.clock.now += FRESH
    heart.ask(*skus)
    assert heart.shop.calls == {"reviews": 3}


def test_a_running_proxy_confirms_and_fetches_only_what_changed(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, SYNC="summaries", CACHE_FRESH_SECONDS="0.5") as proxy:
        skus = [f"KETTLE-0{number}" for number in (1, 2, 3)]
        for sku in skus:
            proxy.get("/v1/reviews", sku=sku)
        assert sandbox.calls()["reviews"] == 3
        sandbox.change(1, 3, ["added"])  # of another product
        for _ in range(2):
            wait_until(proxy, skus[0], "stale")
            for sku in skus:
                assert proxy.get("/v1/reviews", sku=sku).status_code == 200
            wait_until(proxy, skus[0], "hit")
        calls = sandbox.calls()
        assert calls["reviews"] == 3
        assert 2 <= calls["batch_summaries"] <= 6


def wait_until(proxy: RunningProxy, sku: str, state: str) -> None:
    for _ in range(200):
        if proxy.get("/v1/reviews", sku=sku).headers["X-Cache"] == state:
            return
        time.sleep(0.05)
    raise AssertionError(f"it was never {state}")
