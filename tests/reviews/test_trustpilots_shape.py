"""What the drop-in URLs answer: pages of reviews, summaries and the shop's reviews, in Trustpilot's own shape."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from proxy.cache import State
from proxy.clock import Deadline
from proxy.reviews import ProductReviews, Selection, Unavailable, View
from proxy.reviews.business import service_review_in_trustpilots_shape
from proxy.reviews.view import ENGLISH
from tests.reviews.trustpilot import FullLists, counts, many, reads, review, select

ALL = View(min_chars=0)


def page(proxy: ProductReviews, number: int, size: int, view: View = ALL, *skus: str) -> tuple[Sequence[str], bool]:
    shown, more, freshness = proxy.trustpilot_reviews(select(*(skus or "A")), view, number, size, Deadline.after(10))
    assert freshness.state in (State.HIT, State.MISS)
    return [json.loads(raw)["id"] for raw in shown], more


def test_a_list_is_paged_through_to_its_end_and_no_further_than_it_has_to_be_read() -> None:
    trustpilot = FullLists({"A": many("a", 250)})
    proxy = reads(trustpilot)
    names = [f"a{number:05d}" for number in range(250)]
    assert page(proxy, 1, 20) == (names[:20], True)
    assert page(proxy, 5, 20) == (names[80:100], True)
    assert trustpilot.pages_asked == [("A", 1)]
    assert page(proxy, 6, 20) == (names[100:120], True)
    assert page(proxy, 2, 100) == (names[100:200], True)
    assert page(proxy, 3, 100) == (names[200:], False)
    assert page(proxy, 4, 100) == ([], False)
    assert {number for _, number in trustpilot.pages_asked} == {1, 2, 3}


def test_under_filters_one_review_more_tells_whether_a_page_follows() -> None:
    stars = [5, 1, 5, 5, 1]
    proxy = reads(FullLists({"A": [review(f"r{n}", n, stars=star) for n, star in enumerate(stars)]}))
    five = View(stars=frozenset({5}), min_chars=0)
    assert page(proxy, 1, 2, five) == (["r0", "r2"], True)
    assert page(proxy, 2, 2, five) == (["r3"], False)
    assert page(proxy, 1, 3, five) == (["r0", "r2", "r3"], False)
    assert page(proxy, 1, 5) == ([f"r{n}" for n in range(5)], False)


def test_reviews_are_handed_out_as_trustpilot_has_them() -> None:
    one = review("a", 1, consumer={"id": "c", "displayName": "Zoë <b>"}, content=" {{ x }} ")
    shown, *_ = reads(FullLists({"A": [one]})).trustpilot_reviews(select("A"), ALL, 1, 20, Deadline.after(10))
    assert list(map(json.loads, shown)) == [one]


def test_a_page_that_cannot_be_had_is_an_error_and_one_that_can_in_part_is_not_fresh() -> None:
    down = FullLists({"A": many("a", 250)})
    proxy = reads(down)
    assert page(proxy, 1, 100)[1]
    down.failing.add("A")
    with pytest.raises(Unavailable, match="down, and no copy is held"):
        proxy.trustpilot_reviews(select("A"), ALL, 2, 100, Deadline.after(10))
    shown, more, freshness = proxy.trustpilot_reviews(select("A"), ALL, 2, 60, Deadline.after(10))
    assert (len(shown), more, freshness.state) == (40, True, State.STALE)
    with pytest.raises(Unavailable, match="down, and no copy is held"):
        reads(down).trustpilot_reviews(select("A"), ALL, 1, 20, Deadline.after(10))


def test_a_summary_in_trustpilots_shape_is_counted_or_trustpilots_own() -> None:
    stars = [5, 5, 4, 1]
    counted = [review(f"r{n}", n, stars=star) for n, star in enumerate(stars)]
    trustpilot = FullLists({"A": counted, "B": many("b", 120)}, {"B": counts(120), "C": counts(9)})
    proxy = reads(trustpilot)
    numbers = {"total": 4, "oneStar": 1, "twoStars": 0, "threeStars": 0, "fourStars": 1, "fiveStars": 2}
    proxy.block(select("A"), View(), Deadline.after(10))
    answer = proxy.trustpilot_summary(select("A"), Deadline.after(10))
    assert answer.body == {"starsAverage": 3.8, "numberOfReviews": numbers}
    assert answer.freshness.state is State.HIT
    assert proxy.trustpilot_summary(select("B"), Deadline.after(10)).body == counts(120)
    nothing = dict.fromkeys(numbers, 0)
    assert proxy.trustpilot_summary(select("X"), Deadline.after(10)).body == {
        "starsAverage": 0,
        "numberOfReviews": nothing,
    }
    asked = ["B", "A", "C", "X"]
    summaries, freshness = proxy.trustpilot_summaries("u", asked, Deadline.after(10))
    assert [each["sku"] for each in summaries] == asked
    assert [each["numberOfReviews"]["total"] for each in summaries] == [120, 4, 9, 0]
    assert summaries[1] == {"sku": "A", "starsAverage": 3.8, "numberOfReviews": numbers}
    assert freshness.state is State.MISS
    batches = [sorted(batch) for batch in trustpilot.batches_asked]
    assert batches == [["B"], ["X"], ["C"]]
    assert proxy.trustpilot_summaries("u", asked, Deadline.after(10))[1].state is State.HIT


def test_summaries_that_cannot_be_read_are_an_error() -> None:
    odd = {"numberOfReviews": {"total": "many"}}
    with pytest.raises(Unavailable, match="no copy is held"):
        reads(FullLists({}, {"A": odd})).trustpilot_summaries("u", ["A"], Deadline.after(10))


def test_a_review_of_the_shop_has_trustpilots_own_names() -> None:
    stored = {
        "id": "s1",
        "stars": 4,
        "title": "Quick",
        "content": "Came fast",
        "language": "en",
        "createdAt": "2024-12-28T10:00:00Z",
        "consumer": {"displayName": "Zoë"},
        "firstCompanyComment": {"comment": "Thanks", "createdAt": "2024-12-29T10:00:00Z"},
        "isVerified": True,
    }
    shaped: dict[str, Any] = {
        "id": "s1",
        "stars": 4,
        "title": "Quick",
        "text": "Came fast",
        "language": "en",
        "createdAt": "2024-12-28T10:00:00Z",
        "consumer": {"displayName": "Zoë"},
        "companyReply": {"text": "Thanks", "createdAt": "2024-12-29T10:00:00Z"},
        "isVerified": True,
    }
    assert service_review_in_trustpilots_shape(json.dumps(stored).encode()) == shaped
    bare = service_review_in_trustpilots_shape(b'{"stars": 1, "firstCompanyComment": {}, "consumer": {}}')
    nothing = dict.fromkeys(shaped) | {"stars": 1, "title": "", "text": "", "isVerified": False}
    assert bare == nothing | {
        "consumer": {"displayName": None},
        "companyReply": {"text": None, "createdAt": None},
    }
    assert service_review_in_trustpilots_shape(b'{"stars": 1}') == nothing | {"consumer": {"displayName": None}}


def test_what_cannot_be_had_is_empty_where_that_is_asked_for_in_each_shape() -> None:
    proxy = reads(FullLists({}))
    block = proxy.empty_block(select("A", "B"), "it is down")
    assert (block["sku"], block["found"], block["summary"], block["error"]) == ("A,B", False, None, "it is down")
    blocks = proxy.empty_blocks(select("A", "B"), "it is down")
    assert {name: value for name, value in blocks.items() if name != "products"} == {
        "found": False,
        "count": 2,
        "error": "it is down",
    }
    assert [(each["sku"], each["error"]) for each in blocks["products"]] == [("A", "it is down"), ("B", "it is down")]
    summary = proxy.empty_summary(select("A"), ENGLISH, "it is down")
    found = proxy.summary(select("A"), ENGLISH, Deadline.after(10)).body
    assert summary == {**found, "error": "it is down"}
    assert (summary["sku"], summary["found"], summary["total"]) == ("A", False, 0)


def test_the_summary_of_a_product_with_reviews_is_found() -> None:
    proxy = reads(FullLists({"A": many("a", 2)}, {"A": counts(2)}))
    summary = proxy.summary(Selection("u", ("A",)), ENGLISH, Deadline.after(10)).body
    assert (summary["sku"], summary["found"], summary["total"], summary["average"]) == ("A", True, 2, 5.0)
