"""One call confirms a shop and brings what is new; what it cannot show is found once an hour."""

from __future__ import annotations

import logging

import pytest

from proxy.cache import State
from proxy.clock import Priority
from proxy.trustpilot import Failing, NoAccess
from tests.running import RunningProxy, RunningSandbox
from tests.sync.shop import FRESH, UNIT, Heart, moment
from tests.sync.test_validator import shop_of, wait_until

HOUR = 3600.0


def fed(products: int = 20, reviews: int = 2) -> tuple[Heart, list[str]]:
    """A shop whose feed was read, with all products cached after it."""
    heart = Heart(has_feed=True)
    heart.shop.products["S0"] = []
    heart.sync.round()
    heart.clock.now += 1
    skus = shop_of(heart, products, reviews)
    return heart, skus


def texts(heart: Heart, sku: str) -> list[str]:
    return [review["content"] for review in heart.shop.products[sku]]


def test_one_call_confirms_every_product() -> None:
    heart, skus = fed()
    for _ in range(3):
        heart.clock.now += FRESH
        heart.sync.round()
        assert {heart.state(sku) for sku in skus} == {State.HIT}
    assert heart.shop.calls == {"feed": 3}


def test_a_new_review_is_in_the_answer_after_the_next_reading_without_another_call() -> None:
    heart, skus = fed()
    heart.clock.now += FRESH
    heart.shop.add("S3", content=None)
    heart.shop.add("S3", content="Newest")
    heart.sync.round()
    assert "Newest" in heart.ask("S3")
    heart.ask(*skus)
    assert heart.shop.calls == {"feed": 1}


def test_more_new_reviews_than_a_page_holds_are_all_brought() -> None:
    heart, skus = fed(products=30, reviews=3)
    heart.clock.now += FRESH
    heart.sync.round()
    heart.shop.calls.clear()
    heart.clock.now += FRESH
    for number in range(250):
        heart.shop.add(skus[number % 30])
    heart.sync.round()
    assert heart.shop.calls == {"feed": 3}
    assert heart.ask(*skus) == [text for sku in skus for text in texts(heart, sku)]
    assert heart.shop.calls == {"feed": 3}


def test_what_was_cached_before_the_first_reading_is_confirmed_by_counts_first() -> None:
    heart = Heart(has_feed=True)
    skus = shop_of(heart, 5)
    heart.sync.round()
    heart.shop.calls.clear()
    heart.clock.now += FRESH
    heart.sync.round()
    heart.ask(*skus)
    assert heart.shop.calls == {"feed": 1, "summaries": 1}
    heart.clock.now += FRESH
    heart.sync.round()
    heart.ask(*skus)
    assert heart.shop.calls == {"feed": 2, "summaries": 1}


def test_the_newest_review_may_be_deleted_meanwhile() -> None:
    heart, _ = fed()
    heart.clock.now += FRESH
    heart.sync.round()
    heart.shop.products["S19"].pop(0)
    heart.clock.now += FRESH
    heart.sync.round()
    assert heart.shop.calls == {"feed": 2}
    assert heart.shops.load(UNIT).since < heart.clock.now - FRESH


def test_a_hidden_review_leaves_within_the_hour_and_only_its_product_is_fetched() -> None:
    heart, skus = fed()
    heart.clock.now += HOUR
    heart.sync.round()
    heart.shop.calls.clear()
    gone = heart.shop.products["S4"].pop()["content"]
    heart.clock.now += HOUR
    heart.sync.round()
    assert heart.shop.calls == {"feed": 1, "shop_summaries": 1, "reviews": 1}
    assert gone not in heart.ask("S4")
    assert heart.ask(*skus) == [text for sku in skus for text in texts(heart, sku)]
    assert heart.shop.calls["reviews"] == 1


def test_after_a_last_page_that_is_full_another_is_looked_at_only_when_there_may_be_one() -> None:
    heart, _ = fed(products=1000, reviews=1)
    heart.clock.now += HOUR
    heart.sync.round()
    heart.shop.calls.clear()
    for pages in (1, 2, 2):
        heart.clock.now += HOUR
        heart.sync.round()
        assert heart.shop.calls["shop_summaries"] == pages
        heart.shop.calls.clear()
        heart.shop.add("S1000")


def test_one_that_came_while_another_was_hidden_is_found_although_as_many_are_counted() -> None:
    heart, _ = fed()
    heart.clock.now += HOUR
    heart.sync.round()
    heart.shop.products["S4"].pop()
    heart.shop.add("S4")
    heart.clock.now += HOUR
    heart.sync.round()
    assert heart.ask("S4") == texts(heart, "S4")


def test_a_feed_in_another_order_is_said_once_and_counts_take_its_place(caplog: pytest.LogCaptureFixture) -> None:
    heart, skus = fed()
    heart.shop.is_oldest_first = True
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            heart.clock.now += FRESH
            heart.sync.round()
            heart.ask(*skus)
    assert heart.shop.calls == {"feed": 1, "summaries": 3}
    assert [record.message for record in caplog.records].count(caplog.records[0].message) == 1
    assert "not newest first" in caplog.records[0].message


def test_a_review_without_a_date_that_can_be_read_is_in_no_wrong_place() -> None:
    heart, _ = fed()
    heart.clock.now += FRESH
    heart.shop.add("S4", createdAt=f"{moment(heart.clock.now)} or so")
    heart.shop.add("S3", content="Newest")
    heart.sync.round()
    assert "Newest" in heart.ask("S3")
    assert heart.shop.calls == {"feed": 1}


def test_a_page_that_is_lost_is_noticed_where_the_last_review_was_on_it(caplog: pytest.LogCaptureFixture) -> None:
    heart, skus = fed(products=30, reviews=8)
    heart.clock.now += FRESH
    heart.sync.round()
    for number in range(100):
        heart.shop.add(skus[number % 30])
    heart.shop.lost_page = 2
    heart.clock.now += FRESH
    heart.sync.round()
    assert "does not lead to what was read last" in caplog.text
    heart.shop.lost_page = 10**9
    heart.clock.now += FRESH
    heart.sync.round()
    heart.ask(*skus)
    assert heart.shop.calls["summaries"] == 1
    assert heart.ask(*skus) == [text for sku in skus for text in texts(heart, sku)]


@pytest.mark.parametrize(("error", "feeds"), [(NoAccess("403"), 1), (Failing("500"), 2)])
def test_a_feed_that_cannot_be_read_confirms_nothing_and_counts_take_its_place(error: Exception, feeds: int) -> None:
    heart, skus = fed()
    call = heart.shop.feed

    def failing(business_unit: str, page: int, priority: Priority) -> object:
        call(business_unit, page, priority)
        raise error

    heart.feed_call = failing  # type: ignore[assignment]  # it never returns
    for _ in range(2):
        heart.clock.now += FRESH
        heart.sync.round()
    heart.shop.add("S1", content="New")
    heart.clock.now += FRESH
    heart.ask(*skus)
    assert heart.shop.calls["feed"] == feeds
    assert "New" in heart.ask("S1")


def test_deleted_reviews_and_all_reviews_of_deleted_people_leave_every_copy() -> None:
    heart = Heart()
    shop_of(heart, 6, reviews=3)
    first, second = heart.shop.products["S1"][:2]
    heart.shop.deleted += [(heart.clock.now, first["id"]), (heart.clock.now, "unknown"), (heart.clock.now, "other")]
    heart.shop.deleted_consumers.append((heart.clock.now, second["consumer"]["id"]))
    heart.sync.round()
    assert heart.ask("S1") == texts(heart, "S1")[2:]
    assert heart.shop.calls == {}
    heart.clock.now += HOUR
    third = heart.shop.products["S1"][2]
    heart.shop.deleted.append((heart.clock.now - HOUR - 60, third["id"]))
    heart.sync.round()
    assert third["content"] not in [review.content for page in heart.pages("S1") for review in page]


@pytest.mark.parametrize("ahead", [6 * HOUR, 400 * 24 * HOUR])
def test_a_clock_that_was_ahead_keeps_no_new_review_and_no_deletion_waiting(ahead: float) -> None:
    heart, skus = fed()
    heart.shop.add("LATER", content="Fetched while it was ahead")
    heart.clock.now += ahead
    heart.sync.round()
    heart.ask("LATER")
    heart.clock.now -= ahead
    heart.shop.add("S3", content="New")
    heart.shop.add("LATER", content="New")
    removed = heart.shop.products["S4"].pop()
    heart.shop.deleted.append((heart.clock.now, removed["id"]))
    heart.clock.now += FRESH + 1
    heart.sync.round()
    heart.ask("LATER", *skus)
    assert heart.ask("LATER", *skus) == [text for sku in ("LATER", *skus) for text in texts(heart, sku)]
    heart.shop.calls.clear()
    for _ in range(2):
        heart.clock.now += FRESH
        heart.sync.round()
        heart.ask("LATER", *skus)
    assert heart.shop.calls == {"feed": 2, "summaries": 1}


def test_a_running_proxy_reads_the_feed_and_shows_a_new_review_without_fetching(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, SYNC="auto", CACHE_FRESH_SECONDS="1") as proxy:
        for _ in range(100):
            if sandbox.calls()["feed"] > 1:
                break
            wait_until(proxy, "KETTLE-01", "hit")
        proxy.get("/v1/reviews", sku="LAMP-01")
        [change] = sandbox.change(1, 3, ["added"])
        proxy.get("/v1/reviews", sku=change["sku"])
        for _ in range(200):
            if change["id"] in proxy.get("/v1/reviews", sku=change["sku"]).text:
                break
        assert change["id"] in proxy.get("/v1/reviews", sku=change["sku"]).text
        fetched = [call for call in sandbox.ledger().calls if call.kind == "reviews" and change["sku"] in call.skus]
        assert len(fetched) <= 1
        assert proxy.get("/readyz").json()["sync"]["read_by_feed"] == 1
        assert 'ccproxy_sync_feed_reads_total{outcome="read"}' in proxy.get("/metrics").text
