"""Reads over a Trustpilot that answers in bytes: odd answers, shared reviews, cold carts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from threading import Event
from typing import Any

import pytest

from proxy.app import spawn
from proxy.cache import Cache, Flights, Lifetimes, MemoryStore
from proxy.clock import Deadline, Priority
from proxy.reviews import ProductReviews, Selection, Unavailable, View, Warmed, batching
from proxy.trustpilot import ReviewsPage, SummaryCounts
from proxy.trustpilot.errors import Malformed
from proxy.trustpilot.reader import read_batch_summaries, read_reviews
from proxy.warming import warm_all
from proxy.warming.sources import IntoStore


class Bytes:
    """Trustpilot's two calls, answered from a list and a summary per SKU and read as the client reads them."""

    def __init__(self, products: dict[str, list[Any]], summaries: dict[str, dict[str, Any]] | None = None) -> None:
        self.products = products
        self.summaries = summaries or {}
        self.pages_asked: list[tuple[str, int]] = []
        self.batches_asked: list[list[str]] = []

    def reviews(
        self,
        business_unit: str,
        sku: str,
        *,
        stars: Sequence[int],
        language: str | None,
        locale: str | None,
        page: int,
        priority: Priority,
    ) -> ReviewsPage:
        self.pages_asked.append((sku, page))
        full = [
            review
            for review in self.products[sku]
            if (not stars or review.get("stars") in stars) and (not language or review["language"] == language)
        ]
        links = [{"rel": "next-page"}] if len(full) > page * 100 else []
        body = {"productReviews": full[(page - 1) * 100 : page * 100], "links": links}
        return read_reviews(json.dumps(body).encode(), 100)

    def batch_summaries(
        self, business_unit: str, skus: Sequence[str], *, priority: Priority
    ) -> dict[str, SummaryCounts | Malformed]:
        self.batches_asked.append(list(skus))
        listed = [{"sku": sku, **self.summaries[sku]} for sku in skus if sku in self.summaries]
        return read_batch_summaries(json.dumps({"summaries": listed}).encode())


def review(name: str, minute: int, **fields: Any) -> dict[str, Any]:
    moment = f"2024-{12 - minute // 720:02d}-{28 - minute // 60 % 12:02d}T23:{59 - minute % 60:02d}:00Z"
    return {"id": name, "createdAt": moment, "stars": 5, "language": "en", "content": "Fine", **fields}


def many(prefix: str, count: int) -> list[dict[str, Any]]:
    return [review(f"{prefix}{place:05d}", place) for place in range(count)]


def counts(total: int) -> dict[str, Any]:
    numbers = {"total": total, "oneStar": 0, "twoStars": 0, "threeStars": 0, "fourStars": 0, "fiveStars": total}
    return {"starsAverage": 5.0, "numberOfReviews": numbers}


def reads(trustpilot: Bytes) -> ProductReviews:
    clock = iter(range(10**6)).__next__
    return ProductReviews(
        Cache(MemoryStore(10**7, clock), Flights(spawn), Lifetimes(10**7, 10**7, 10**7), clock), trustpilot, clock
    )


def select(*skus: str) -> Selection:
    return Selection("u", skus)


def test_one_odd_summary_in_a_batch_fails_its_own_product_only() -> None:
    skus = [f"P{number}" for number in range(20)]
    summaries = {sku: counts(101) for sku in skus} | {"P7": {"numberOfReviews": {"total": "many"}}}
    trustpilot = Bytes({sku: many(sku, 101) for sku in skus}, summaries)
    body = reads(trustpilot).blocks(select(*skus), View(), Deadline.after(10)).body
    totals = {block["sku"]: block["summary"] and block["summary"]["total"] for block in body["products"]}
    assert totals == {sku: None if sku == "P7" else 101 for sku in skus}
    assert all(block["found"] for block in body["products"])


def test_a_malformed_review_that_was_dropped_is_counted_by_trustpilots_own_summary() -> None:
    trustpilot = Bytes({"A": [*many("a", 4), {"id": "odd", "stars": "five"}]}, {"A": counts(5)})
    block = reads(trustpilot).block(select("A"), View(), Deadline.after(10)).body
    assert (block["summary"]["total"], block["count"]) == (5, 3)
    proxy = reads(trustpilot)
    proxy.block(select("A"), View(), Deadline.after(10))
    assert proxy.summary(select("A"), Deadline.after(10)).body["total"] == 5


def test_a_review_that_is_listed_under_two_variants_is_shown_and_counted_once() -> None:
    shared = many("s", 2)
    proxy = reads(Bytes({"A": [*shared, review("a", 5)], "B": [*shared, review("b", 6)]}))
    block = proxy.block(select("A", "B"), View(limit=20), Deadline.after(10)).body
    assert [shown["id"] for shown in block["reviews"]] == ["s00000", "s00001", "a", "b"]
    assert block["summary"]["total"] == 4
    assert proxy.summary(select("A", "B"), Deadline.after(10)).body["total"] == 4


def test_a_cold_cart_asks_for_all_summaries_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    # Only a machine that stands still for long starts the look-ups later than a batch waits for them.
    monkeypatch.setattr(batching, "EXPECTED_SECONDS", 5)
    skus = [f"P{number}" for number in range(20)]
    trustpilot = Bytes({sku: many(sku, 101) for sku in skus}, {sku: counts(101) for sku in skus})
    body = reads(trustpilot).blocks(select(*skus), View(), Deadline.after(10)).body
    assert [block["summary"]["total"] for block in body["products"]] == [101] * 20
    assert [sorted(batch) for batch in trustpilot.batches_asked] == [sorted(skus)]


def test_warming_100_products_asks_for_their_summaries_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "EXPECTED_SECONDS", 5)
    skus = [f"P{number}" for number in range(100)]
    trustpilot = Bytes({sku: many(sku, 101) for sku in skus}, {sku: counts(101) for sku in skus})
    source = IntoStore(reads(trustpilot), "u")
    tally = warm_all(skus, source, stop=Event(), progressed=lambda: None, waiting=lambda _: None)
    assert tally.counts == {Warmed.FETCHED: 100}
    assert (len(trustpilot.pages_asked), len(trustpilot.batches_asked)) == (100, 1)


def test_copies_of_many_pages_are_not_searched_beyond_the_deadline() -> None:
    skus = [f"P{number}" for number in range(3)]
    proxy = reads(Bytes({sku: many(sku, 300) for sku in skus}, {sku: counts(300) for sku in skus}))
    wanting = View(min_chars=1000)
    assert not proxy.block(select(*skus), wanting, Deadline.after(30)).body["found"]
    with pytest.raises(Unavailable) as refused:
        proxy.block(select(*skus), wanting, Deadline.after(0))
    assert refused.value.late


def test_a_list_that_is_not_newest_first_is_read_to_its_end_and_sorted() -> None:
    proxy = reads(Bytes({"A": many("a", 250)[::-1]}, {"A": counts(250)}))
    shown = proxy.block(select("A"), View(), Deadline.after(10)).body["reviews"]
    assert [one["id"] for one in shown] == ["a00000", "a00001", "a00002"]
