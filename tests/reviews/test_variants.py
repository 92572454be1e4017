"""Variants of one product: how many calls they cost, and what a change of one of them does."""

from __future__ import annotations

from typing import Literal

from proxy.cache import Lifetimes
from proxy.clock import Deadline, spawn
from proxy.reviews import ProductReviews, Updates, View
from proxy.reviews.models import Review, ReviewEvent, at_url
from proxy.reviews.page_loader import Selection
from proxy.reviews.view import ENGLISH
from tests.reviews.trustpilot import FullLists, NoAssets, counts, in_memory, many, reads, review, select, total

SKUS = [f"P{number}" for number in range(24)]


def test_24_variants_cost_one_call_cold_and_none_warm() -> None:
    trustpilot = FullLists({sku: [review(f"r-{sku}", place)] for place, sku in enumerate(SKUS)})
    proxy = reads(trustpilot)
    first, again = (proxy.block(select(*SKUS), View(limit=20), Deadline.after(10)).body for _ in range(2))
    assert [shown["id"] for shown in first["reviews"]] == [f"r-{sku}" for sku in SKUS[:20]]
    assert total(first) == 24
    assert again == first
    assert proxy.summary(select(*SKUS), ENGLISH, Deadline.after(10)).body["total"] == 24
    assert trustpilot.pages_asked == [(",".join(SKUS), 1)]
    assert trustpilot.batches_asked == []


def test_of_more_than_a_page_trustpilots_merged_summary_counts_each_review_once() -> None:
    shared = many("s", 80)
    trustpilot = FullLists({"A": [*shared, *many("a", 60)], "B": [*shared, *many("b", 60)]})
    block = reads(trustpilot).block(select("A", "B"), View(), Deadline.after(10)).body
    assert total(block) == 200
    assert trustpilot.batches_asked == [["A,B"]]


def test_a_change_of_any_variant_has_them_asked_for_again() -> None:
    trustpilot = FullLists({"A": many("a", 3), "B": many("b", 3), "C": many("c", 3)})
    cache = in_memory(Lifetimes(10**7, 10**7, 10**7), lambda: 0.0, spawn)
    proxy = ProductReviews(cache, trustpilot, NoAssets(), lambda: 0.0)
    for calls, sku in enumerate("ABC", start=1):
        assert proxy.block(select("A", "B", "C"), View(), Deadline.after(10)).body["found"]
        assert len(trustpilot.pages_asked) == calls
        trustpilot.products = {**trustpilot.products, sku: [review(f"new-{sku}", 0)]}
        Updates(cache).purge("u", [sku])
    block = proxy.block(select("A", "B", "C"), View(limit=20), Deadline.after(10)).body
    assert {shown["id"] for shown in block["reviews"]} == {"new-A", "new-B", "new-C"}


def test_variants_that_are_cached_each_by_itself_cost_no_call_together() -> None:
    trustpilot = FullLists({"A": many("a", 3), "B": many("b", 3)})
    proxy = reads(trustpilot)
    for sku in "AB":
        proxy.block(select(sku), View(), Deadline.after(10))
    assert total(proxy.block(select("A", "B"), View(), Deadline.after(10)).body) == 6
    assert len(trustpilot.pages_asked) == 2


def test_of_long_lists_that_are_cached_each_by_itself_trustpilot_still_counts_what_they_share() -> None:
    shared = many("s", 80)
    trustpilot = FullLists({"A": [*shared, *many("a", 60)], "B": [*shared, *many("b", 60)]})
    proxy = reads(trustpilot)
    for sku in "AB":
        proxy.block(select(sku), View(), Deadline.after(10))
    assert total(proxy.block(select("A", "B"), View(), Deadline.after(10)).body) == 200


def test_so_many_long_skus_that_no_url_takes_them_are_asked_for_in_several_calls() -> None:
    skus = [f"{number:02d}" + "x" * 190 for number in range(50)]
    trustpilot = FullLists({sku: many(sku, 1) for sku in skus})
    assert total(reads(trustpilot).block(select(*skus), View(), Deadline.after(10)).body) == 50
    assert sorted(len(sku.split(",")) for sku, _ in trustpilot.pages_asked) == [10, 20, 20]


def test_imported_reviews_are_asked_for_only_where_they_are_wanted_and_counted() -> None:
    trustpilot = FullLists({"A": many("a", 3)}, imported={"A": many("i", 120)})
    proxy = reads(trustpilot)
    assert total(proxy.block(select("A"), View(), Deadline.after(10)).body) == 3
    assert len(trustpilot.pages_asked) == 1
    both = Selection("u", ("A",), sources=("trustpilot", "imported"))
    block = proxy.block(both, View(), Deadline.after(10)).body
    assert total(block) == 123
    assert {shown["source"] for shown in block["reviews"]} == {"trustpilot", "imported"}
    assert proxy.summary(both, ENGLISH, Deadline.after(10)).body["total"] == 123
    assert (len(trustpilot.pages_asked), trustpilot.batches_asked) == (2, [["A"]])


def test_a_webhook_brings_the_page_of_a_product_up_to_date_too() -> None:
    url = "https://shop.example/a"
    lists = {at_url(url): many("a", 3), "A": many("a", 3), at_url("https://shop.example/b"): many("b", 3)}
    trustpilot = FullLists(lists)
    cache = in_memory(Lifetimes(10**7, 10**7, 10**7), lambda: 0.0, spawn)
    proxy = ProductReviews(cache, trustpilot, NoAssets(), lambda: 0.0)

    def shown() -> list[list[str | None]]:
        blocks = [proxy.block(select(sku), View(limit=20), Deadline.after(10)).body for sku in lists]
        return [[each["id"] for each in block["reviews"]] for block in blocks]

    def event(kind: Literal["created", "updated", "deleted"], name: str, address: str | None) -> ReviewEvent:
        written = Review(name, "2025-01-01T00:00:00Z", 5, "Fine", language="en")
        return ReviewEvent(kind, "A", name, written, hidden=False, whole=True, product_url=address)

    before, old = shown(), ["a00000", "a00001", "a00002"]
    assert before[0] == before[1] == old
    calls = len(trustpilot.pages_asked)
    # Told by its address, then found as its SKU's page and that one share reviews, then by its own id.
    for happened, expected in (
        (event("created", "n1", url), ["n1", *old]),
        (event("created", "n2", None), ["n2", "n1", *old]),
        (event("deleted", "n1", None), ["n2", *old]),
    ):
        Updates(cache).apply("u", [happened])
        assert shown() == [expected, expected, before[2]]
    assert len(trustpilot.pages_asked) == calls


def test_a_products_page_takes_the_place_of_a_sku() -> None:
    url = "https://shop.example/a,b"
    trustpilot = FullLists({at_url(url): many("a", 2)}, {"A": counts(2)})
    block = reads(trustpilot).block(select(at_url(url)), View(), Deadline.after(10)).body
    assert (block["sku"], block["count"]) == ("", 2)
