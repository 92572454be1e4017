"""All reviews of a shop are read once; then no product of it is cold, and one without a copy has no reviews."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from proxy.clock import Priority
from proxy.trustpilot import Rejected
from proxy.trustpilot.changes import read_events
from tests.sync.shop import FRESH, UNIT, Heart


class Killed(BaseException):
    """Ends a process in the middle of its work."""


def shop_of(folder: Path, products: int, reviews: int) -> tuple[Heart, list[str]]:
    heart = Heart(has_feed=True, fills=folder)
    skus = [f"S{number}" for number in range(products)]
    chance = random.Random(1)
    for number in range(products * reviews):
        heart.clock.now += 60
        heart.shop.add(skus[number % products], stars=chance.randint(1, 5))
    return heart, skus


def texts(heart: Heart, sku: str) -> list[str]:
    return [review["content"] for review in heart.shop.products[sku]][:20]


def test_then_no_product_is_cold_and_an_unknown_one_has_no_reviews_without_a_call(tmp_path: Path) -> None:
    heart, skus = shop_of(tmp_path, 50, 12)
    heart.sync.round()
    # The feed's newest page, all seven, and the summaries twice.
    assert heart.shop.calls == {"feed": 1 + 7, "shop_summaries": 2}
    heart.shop.calls.clear()
    for sku in skus:
        assert heart.ask(sku) == texts(heart, sku)
    assert heart.ask("UNKNOWN", "NEW") == []
    assert heart.shop.calls == {}
    heart.shop.add("NEW", content="The first")
    heart.clock.now += FRESH
    heart.sync.round()
    assert heart.ask("NEW") == ["The first"]


def test_the_first_review_of_a_product_is_there_once_a_webhook_told_of_it(tmp_path: Path) -> None:
    heart, _ = shop_of(tmp_path, 5, 2)
    heart.sync.round()
    assert heart.ask("ASKED") == []
    heart.clock.now += FRESH / 2
    for sku in ("ASKED", "COLD"):
        told = {name: value for name, value in heart.shop.add(sku, content="The first").items() if name != "language"}
        body = {"events": [{"eventName": "product-review-created", "eventData": {**told, "product": {"sku": sku}}}]}
        heart.updates.apply(UNIT, read_events(json.dumps(body).encode())[0])
        assert [heart.ask(sku) for _ in range(3)] == [["The first"]] * 3
    heart.shop.add("PURGED", content="The first")
    assert heart.ask("PURGED") == []
    heart.updates.purge(UNIT, ["PURGED"])
    assert heart.ask("PURGED") == ["The first"]


def test_a_review_without_a_date_that_can_be_read_stops_nothing(tmp_path: Path) -> None:
    heart, skus = shop_of(tmp_path, 50, 12)
    of_the_middle = heart.shop.products[skus[0]][6]
    of_the_middle["createdAt"] += " or so"
    heart.sync.round()
    assert heart.shops.load(UNIT).is_backfilled
    heart.shop.calls.clear()
    assert heart.ask(*skus[1:]) == [text for sku in skus[1:] for text in texts(heart, sku)]
    assert heart.shop.calls == {}


def test_it_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    heart, skus = shop_of(tmp_path, 40, 25)
    for page in (2, 5, 9):
        heart = killed_at(tmp_path, heart, page)
    heart.sync.round()
    assert heart.shop.calls["reviews"] == 0
    # Ten pages and the end; the feed's own; each page that was asked for when it was killed.
    assert heart.shop.calls["feed"] <= 11 + 1 + 3
    heart.shop.calls.clear()
    for sku in skus:
        assert heart.ask(sku) == texts(heart, sku)
    assert heart.shop.calls == {}


def killed_at(folder: Path, heart: Heart, page: int) -> Heart:
    call = heart.shop.feed

    def killing(business_unit: str, number: int, priority: Priority) -> object:
        answer = call(business_unit, number, priority)
        if priority is Priority.BACKFILL and number == page:
            raise Killed
        return answer

    heart.feed_call = killing  # type: ignore[assignment]  # as the call is, while it lives
    with pytest.raises(Killed):
        heart.sync.round()
    return Heart(has_feed=True, fills=folder, before=heart)


def test_what_happens_meanwhile_is_right_in_the_end(tmp_path: Path) -> None:
    heart, skus = shop_of(tmp_path, 30, 30)
    chance = random.Random(2)
    call = heart.shop.feed

    def changing(business_unit: str, number: int, priority: Priority) -> object:
        answer = call(business_unit, number, priority)
        for _ in range(3):
            sku = chance.choice(skus)
            if chance.random() < 0.5:
                heart.shop.add(sku, stars=chance.randint(1, 5))
            else:
                heart.shop.products[sku].pop(chance.randrange(len(heart.shop.products[sku])))
        return answer

    heart.feed_call = changing  # type: ignore[assignment]  # as the call is
    heart.sync.round()
    heart.feed_call = call
    assert heart.shops.load(UNIT).is_backfilled
    heart.clock.now += 2 * 3600
    heart.sync.round()
    for sku in skus:
        assert heart.ask(sku) == texts(heart, sku)


def test_a_store_that_was_emptied_meanwhile_takes_no_product_for_one_without_reviews(tmp_path: Path) -> None:
    heart, skus = shop_of(tmp_path, 3, 5)
    heart.sync.round()
    empty(heart)
    heart.sync.round()
    heart.shop.add("NEW")
    heart.clock.now += FRESH
    heart.sync.round()
    heart.updates.purge(UNIT, skus)
    for sku in (*skus, "NEW"):
        assert heart.ask(sku) == texts(heart, sku)


def test_a_worker_that_starts_after_a_refusal_takes_no_product_for_one_without_reviews(tmp_path: Path) -> None:
    heart, skus = shop_of(tmp_path, 3, 5)
    heart.sync.round()
    heart.shop.error = Rejected("not now")
    heart.clock.now += FRESH
    heart.sync.round()
    heart.shop.error = None
    for _ in range(2):
        heart.clock.now += 3600
        heart.sync.round()
    started = Heart(has_feed=True, fills=tmp_path, before=heart)
    started.shops.load(UNIT)
    shows_all(started, skus)


@pytest.mark.parametrize("new", [None, "NEW"])
def test_a_worker_that_starts_after_the_list_of_skus_was_lost_takes_no_product_for_one_without_reviews(
    tmp_path: Path, new: str | None
) -> None:
    heart, skus = shop_of(tmp_path, 3, 5)
    heart.sync.round()
    name = f"sync:{UNIT}:skus"
    heart.backend.remove(name, heart.backend.get(name) or b"")
    started = Heart(has_feed=True, fills=tmp_path, before=heart)
    if new:
        heart.shop.add(new)
    heart.clock.now += FRESH
    started.sync.round()
    shows_all(started, skus)
    heart.shops.load(UNIT)
    for sku in skus:
        assert heart.shops.without_reviews_at(UNIT, sku) is None


def test_what_is_written_after_a_store_was_emptied_is_not_taken_for_all(tmp_path: Path) -> None:
    heart, skus = shop_of(tmp_path, 3, 5)
    heart.sync.round()
    call = heart.shop.feed

    def emptying(business_unit: str, number: int, priority: Priority) -> object:
        empty(heart)
        return call(business_unit, number, priority)

    heart.feed_call = emptying  # type: ignore[assignment]  # as the call is
    for new in (None, "NEW"):
        if new:
            heart.shop.add(new)
        heart.clock.now += FRESH
        heart.sync.round()
        other = Heart(has_feed=True, fills=tmp_path, before=heart)
        other.shops.load(UNIT)
        shows_all(other, skus)


def shows_all(heart: Heart, skus: list[str]) -> None:
    """Check that each product is shown with its reviews once its copies are gone."""
    heart.updates.purge(UNIT, skus)
    for sku in skus:
        assert heart.ask(sku) == texts(heart, sku)


def empty(heart: Heart) -> None:
    """Take all that the synchronisation keeps out of the store, as a Redis that starts again does."""
    for name in ("", ":skus", ":backfill", ":counted", ":touched"):
        key = f"sync:{UNIT}{name}"
        heart.backend.remove(key, heart.backend.get(key) or b"")


def test_a_product_that_is_new_after_a_refusal_is_known_to_all_workers(tmp_path: Path) -> None:
    heart, _ = shop_of(tmp_path, 3, 5)
    heart.sync.round()
    other = Heart(has_feed=True, fills=tmp_path, before=heart)
    other.sync.round()
    heart.shop.error = Rejected("not now")
    heart.clock.now += FRESH
    heart.sync.round()
    heart.shop.error = None
    heart.shop.add("NEW")
    heart.clock.now += 3600
    heart.sync.round()
    heart.updates.purge(UNIT, ["NEW"])
    other.sync.round()
    assert other.ask("NEW") == texts(heart, "NEW")


def test_a_page_that_is_lost_leaves_no_product_wrong(tmp_path: Path) -> None:
    heart, skus = shop_of(tmp_path, 30, 30)
    heart.shop.lost_page = 4
    heart.sync.round()
    for sku in skus:
        assert heart.ask(sku) == texts(heart, sku)


def test_products_of_more_than_a_page_are_complete_with_their_summary(tmp_path: Path) -> None:
    heart, skus = shop_of(tmp_path, 2, 150)
    heart.sync.round()
    heart.shop.calls.clear()
    for sku in skus:
        assert heart.ask(sku) == texts(heart, sku)
    assert heart.shop.calls == {}
