"""Odd answers, shared reviews, cold carts, very many pages."""

from __future__ import annotations

import itertools
import json
from threading import Event

import pytest

from proxy.cache import Lifetimes, State
from proxy.clock import Deadline, spawn
from proxy.reviews import ProductReviews, Selection, Unavailable, View, Warmed, page_loader
from proxy.reviews.view import ENGLISH
from proxy.terminal import bar
from proxy.trustpilot import Malformed, Unreachable
from proxy.warming import IntoStore, Warming
from tests.reviews.trustpilot import (
    AllAssets,
    FullLists,
    NoAssets,
    counts,
    in_memory,
    many,
    reads,
    review,
    select,
    total,
)


def test_one_odd_summary_in_a_batch_fails_its_own_product_only() -> None:
    skus = [f"P{number}" for number in range(20)]
    summaries = {sku: counts(101) for sku in skus} | {"P7": {"numberOfReviews": {"total": "many"}}}
    trustpilot = FullLists({sku: many(sku, 101) for sku in skus}, summaries)
    body = reads(trustpilot).blocks(select(*skus), View(), Deadline.after(10)).body
    totals = {block["sku"]: block["summary"] and block["summary"]["total"] for block in body["products"]}
    assert totals == {sku: None if sku == "P7" else 101 for sku in skus}
    assert all(block["found"] for block in body["products"])


def test_a_malformed_review_that_was_dropped_is_counted_by_trustpilots_own_summary() -> None:
    trustpilot = FullLists({"A": [*many("a", 4), {"id": "odd", "stars": "five"}]}, {"A": counts(5)})
    block = reads(trustpilot).block(select("A"), View(), Deadline.after(10)).body
    assert (total(block), block["count"]) == (5, 3)
    proxy = reads(trustpilot)
    proxy.block(select("A"), View(), Deadline.after(10))
    assert proxy.summary(select("A"), ENGLISH, Deadline.after(10)).body["total"] == 5


def test_a_review_that_is_listed_under_two_variants_is_shown_and_counted_once() -> None:
    shared = many("s", 2)
    proxy = reads(FullLists({"A": [*shared, review("a", 5)], "B": [*shared, review("b", 6)]}))
    block = proxy.block(select("A", "B"), View(limit=20), Deadline.after(10)).body
    assert [shown["id"] for shown in block["reviews"]] == ["s00000", "s00001", "a", "b"]
    assert total(block) == 4
    assert proxy.summary(select("A", "B"), ENGLISH, Deadline.after(10)).body["total"] == 4


def test_a_cold_cart_asks_for_all_summaries_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    # Only a machine that stands still for long starts the look-ups later than a batch waits for them.
    monkeypatch.setattr(page_loader, "EXPECTED_SECONDS", 5)
    skus = [f"P{number}" for number in range(20)]
    trustpilot = FullLists({sku: many(sku, 101) for sku in skus}, {sku: counts(101) for sku in skus})
    body = reads(trustpilot).blocks(select(*skus), View(), Deadline.after(10)).body
    assert [total(block) for block in body["products"]] == [101] * 20
    assert [sorted(batch) for batch in trustpilot.batches_asked] == [sorted(skus)]


def _warmed(skus: list[str], source: IntoStore) -> dict[Warmed, int]:
    warming = Warming(source, Event(), bar(""))
    warming.run(skus)
    return warming.counts


def test_warming_100_products_asks_for_their_summaries_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_loader, "EXPECTED_SECONDS", 5)
    skus = [f"P{number}" for number in range(100)]
    trustpilot = FullLists({sku: many(sku, 101) for sku in skus}, {sku: counts(101) for sku in skus})
    source = IntoStore(reads(trustpilot), "u", ("trustpilot",))
    assert _warmed(skus, source) == {Warmed.FETCHED: 100}
    assert (len(trustpilot.pages_asked), len(trustpilot.batches_asked)) == (100, 1)


def test_warming_where_imported_reviews_are_shown_leaves_nothing_to_ask_for() -> None:
    trustpilot = FullLists({"A": many("a", 3), "B": []}, imported={"A": many("i", 120), "B": many("j", 2)})
    proxy = reads(trustpilot)
    source = IntoStore(proxy, "u", ("trustpilot", "imported"))
    assert _warmed(["A", "B", "C"], source) == {Warmed.FETCHED: 2, Warmed.WITHOUT_REVIEWS: 1}
    asked = len(trustpilot.pages_asked), len(trustpilot.batches_asked)
    assert asked == (6, 1)
    for sku, counted in (("A", 123), ("B", 2)):
        both = Selection("u", (sku,), sources=("trustpilot", "imported"))
        assert total(proxy.block(both, View(), Deadline.after(10)).body) == counted
    assert (len(trustpilot.pages_asked), len(trustpilot.batches_asked)) == asked


def test_warming_tells_what_a_product_came_to_and_whether_its_summary_is_lacking() -> None:
    trustpilot = FullLists({"A": many("a", 3), "B": many("b", 120)}, {"B": counts(120)}, {"B": many("i", 120)})
    proxy = reads(trustpilot)
    for outcome in (Warmed.FETCHED, Warmed.FRESH_ALREADY):
        assert proxy.warm_page(select("A"), Deadline.after(10)) == (outcome, False)
        assert proxy.warm_page(select("B"), Deadline.after(10)) == (outcome, True)
        assert proxy.warm_page(select("C"), Deadline.after(10)) == (Warmed.WITHOUT_REVIEWS, False)
        assert proxy.warm_summaries("u", ["B"], Deadline.after(10)) == {"B": outcome}
    assert trustpilot.pages_asked == [("A", 1), ("B", 1), ("C", 1)]
    imported = Selection("u", ("B",), sources=("imported",))
    assert proxy.warm_page(imported, Deadline.after(10)) == (Warmed.FETCHED, False)
    assert trustpilot.batches_asked == [["B"], ["B"]]
    trustpilot.failing.add("D")
    with pytest.raises(Unreachable):
        proxy.warm_page(select("D"), Deadline.after(10))
    odd = FullLists({}, {"A": {"numberOfReviews": {"total": "many"}}, "B": counts(1)})
    outcomes = reads(odd).warm_summaries("u", ["A", "B"], Deadline.after(10))
    assert (type(outcomes["A"]), outcomes["B"]) == (Malformed, Warmed.FETCHED)


def test_a_stale_page_is_fetched_again_for_the_next_reader_and_kept_where_it_cannot_be() -> None:
    now = [0.0]
    trustpilot = FullLists({"A": many("a", 1)})
    cache = in_memory(Lifetimes(10, 1000, 10), lambda: now[0], spawn)
    proxy = ProductReviews(cache, trustpilot, NoAssets(), lambda: now[0])
    assert proxy.block(select("A"), View(), Deadline.after(10)).freshness.state is State.MISS
    trustpilot.products = {"A": many("b", 1)}
    proxy.refetch("u", "A")
    assert trustpilot.pages_asked == [("A", 1)]
    now[0] = 20
    trustpilot.failing.add("A")
    proxy.refetch("u", "A")
    trustpilot.failing.clear()
    now[0] = 100
    proxy.refetch("u", "A")
    answer = proxy.block(select("A"), View(), Deadline.after(10))
    assert (answer.body["reviews"][0]["id"], answer.freshness.state) == ("b00000", State.HIT)


def test_the_same_reads_go_through_another_cache() -> None:
    known_empty = {("u", "B")}
    trustpilot = FullLists({"A": many("a", 1), "B": many("b", 1)})
    lifetimes = Lifetimes(10**7, 10**7, 10**7)
    proxy = ProductReviews(
        in_memory(lifetimes, lambda: 0.0, spawn),
        trustpilot,
        AllAssets(),
        lambda: 0.0,
        without_reviews=lambda unit, sku: 1_000.0 if (unit, sku) in known_empty else None,
    )
    other = proxy.through(in_memory(lifetimes, lambda: 0.0, spawn))
    for each in (proxy, other):
        assert each.block(select("A"), View(), Deadline.after(10)).body["links"]["trustpilot"]
        assert not each.block(select("B"), View(), Deadline.after(10)).body["found"]
    assert trustpilot.pages_asked == [("A", 1), ("A", 1)]
    assert other.block(select("A"), View(), Deadline.after(10)).freshness.state is State.HIT


def test_a_review_deleted_between_the_fetches_of_two_pages_hides_no_other() -> None:
    reviews = [review(f"r{n:03d}", n, stars=1 + 4 * (n in (100, 230))) for n in range(250)]
    trustpilot = FullLists({"A": reviews}, {"A": counts(250)})
    clock = itertools.count(step=10).__next__
    cache = in_memory(Lifetimes(10**7, 10**7, 10**7), clock, spawn, max_bytes=10**8)
    proxy = ProductReviews(cache, trustpilot, NoAssets(), clock)
    view = View(min_chars=0)
    assert len(proxy.trustpilot_reviews(select("A"), view, 1, 100, Deadline.after(10))[0]) == 100
    trustpilot.products = {"A": reviews[:50] + reviews[51:]}
    left = [one["id"] for one in trustpilot.products["A"]]
    shown = []
    for number in (1, 2, 3):
        raws, *_ = proxy.trustpilot_reviews(select("A"), view, number, 100, Deadline.after(10))
        shown.append([json.loads(raw)["id"] for raw in raws])
    assert shown[1:] == [left[100:200], left[200:]]
    assert trustpilot.pages_asked[:4] == [("A", 1), ("A", 2), ("A", 1), ("A", 2)]


def test_copies_of_many_pages_are_not_searched_beyond_the_deadline() -> None:
    skus = [f"P{number}" for number in range(3)]
    proxy = reads(FullLists({sku: many(sku, 300) for sku in skus}, {sku: counts(300) for sku in skus}))
    wanting = View(min_chars=1000)
    assert not proxy.block(select(*skus), wanting, Deadline.after(30)).body["found"]
    with pytest.raises(Unavailable) as refused:
        proxy.block(select(*skus), wanting, Deadline.after(0))
    assert refused.value.late


def test_each_page_but_the_last_says_that_more_follow() -> None:
    proxy = reads(FullLists({"A": many("a", 21)}))
    pages = [
        proxy.trustpilot_reviews(select("A"), View(min_chars=0), page, 7, Deadline.after(10)) for page in (1, 2, 3)
    ]
    assert [(len(shown), more) for shown, more, _ in pages] == [(7, True), (7, True), (7, False)]


def test_a_list_that_is_not_newest_first_is_read_to_its_end_and_sorted() -> None:
    proxy = reads(FullLists({"A": many("a", 250)[::-1]}, {"A": counts(250)}))
    shown = proxy.block(select("A"), View(), Deadline.after(10)).body["reviews"]
    assert [one["id"] for one in shown] == ["a00000", "a00001", "a00002"]
