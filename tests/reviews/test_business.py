"""The shop itself: its rating and the reviews of it, alone, in Trustpilot's shape, and in a product's place."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.cache import State
from proxy.clock import Deadline
from proxy.reviews import Unavailable, View
from proxy.reviews.models import SHOP
from proxy.reviews.view import display_in
from tests.reviews.trustpilot import AllAssets, FullLists, many, reads, review, select

NUMBERS = {"total": 1204, "oneStar": 4, "twoStars": 10, "threeStars": 40, "fourStars": 150, "fiveStars": 1000}
UNIT = {
    "displayName": "Toys & <Trucks>",
    "name": {"identifying": "toys.example"},
    "score": {"trustScore": 4.6, "stars": 4.5},
    "numberOfReviews": NUMBERS,
}
PAGE = "https://www.trustpilot.com/review/toys.example"
REVIEWS = [
    review("s1", 1, title=" Quick & kind ", text="Came <fast>", consumer={"displayName": "Zoë"}, isVerified=True),
    review("s2", 2, title=None, text="Slow", stars=2, companyReply={"text": "Sorry", "createdAt": "2024-12-29"}),
    review("s3", 3, text="", stars=1),
]


def lists(unit: dict[str, Any] | None = UNIT, reviews: Any = REVIEWS) -> FullLists:
    trustpilot = FullLists({"A": many("a", 2), "B": []})
    trustpilot.shop = unit
    trustpilot.shop_reviews = list(reviews)
    return trustpilot


def test_a_shop_is_answered_with_its_rating_and_its_newest_reviews() -> None:
    answer = reads(lists(), AllAssets()).business("u", View(display=display_in("de")), Deadline.after(10))
    first, second = answer.body["reviews"]
    assert {name: value for name, value in answer.body.items() if name != "reviews"} == {
        "found": True,
        "name": "Toys &amp; &lt;Trucks&gt;",
        "trust_score": 4.6,
        "trust_score_text": "4,6",
        "stars": 4.5,
        "stars_icons": "★★★★½",
        "stars_alt": "4,5 von 5 Sternen",
        "stars_image": "https://images.example/stars-4.5.png?a=1&b=2",
        "label": "Hervorragend",
        "total": 1204,
        "total_text": "1.204",
        "count": 2,
        "disclosure": "Wir zeigen unsere neuesten Bewertungen",
        "links": {"trustpilot": "https://www.trustpilot.com/review/u.example?a=1&b=2"},
    }
    shown = {
        "id": "s1",
        "stars": 5,
        "source": "trustpilot",
        "content": "Came &lt;fast&gt;",
        "author": "Zoë",
        "date_text": "28. Dez. 2024",
        "title": "Quick &amp; kind",
    }
    assert shown.items() <= {**first, "attributes": ()}.items()
    assert (second["id"], second["title"], second["reply"]) == ("s2", "", "Sorry")
    assert answer.freshness.state is State.MISS


def test_a_shops_texts_are_plain_where_that_is_asked_for_and_its_reviews_filtered_and_cut() -> None:
    proxy = reads(lists())
    body = proxy.business("u", View(html=False, stars=frozenset({4, 5})), Deadline.after(10)).body
    assert (body["name"], body["reviews"][0]["title"], body["count"]) == ("Toys & <Trucks>", "Quick & kind", 1)
    assert body["disclosure"] == "Showing our 4 & 5 star reviews"
    assert (body["stars_image"], body["links"]) == (None, {"trustpilot": PAGE})
    assert [one["id"] for one in proxy.business("u", View(limit=1), Deadline.after(10)).body["reviews"]] == ["s1"]
    assert proxy.business("u", View(limit=1), Deadline.after(10)).body["count"] == 1
    assert proxy.business("u", View(limit=0), Deadline.after(10)).body["reviews"] == []


def test_without_reviews_a_shop_is_asked_for_by_its_rating_alone() -> None:
    trustpilot = lists()
    assert reads(trustpilot).business("u", View(limit=0), Deadline.after(10)).body["found"]
    assert trustpilot.pages_asked == []


def test_a_shop_whose_reviews_cannot_be_had_has_its_rating_which_is_not_fresh() -> None:
    trustpilot = lists()
    trustpilot.failing.add(SHOP)
    proxy = reads(trustpilot)
    proxy.business("u", View(limit=0), Deadline.after(10))
    answer = proxy.business("u", View(), Deadline.after(10))
    assert (answer.body["found"], answer.body["total"], answer.body["reviews"]) == (True, 1204, [])
    assert answer.body["disclosure"] == ""
    assert answer.freshness.state is State.STALE


def test_stars_that_trustpilot_does_not_tell_are_its_scores_and_a_shop_nobody_rated_has_none() -> None:
    unit = {**UNIT, "score": {"trustScore": 3.8}}
    assert reads(lists(unit)).business("u", View(), Deadline.after(10)).body["stars"] == 4
    nobody = reads(lists({"displayName": "New"}, []), AllAssets()).business("u", View(), Deadline.after(10)).body
    told = {name: value for name, value in nobody.items() if value not in (None, "", 0, [], False)}
    link = {"trustpilot": "https://www.trustpilot.com/review/u.example?a=1&b=2"}
    assert told == {"name": "New", "total_text": "0", "links": link}
    assert reads(lists({"displayName": "New"}, [])).business("u", View(), Deadline.after(10)).body["links"] == {
        "trustpilot": None
    }
    assert reads(lists({"displayName": "New"})).business("u", View(), Deadline.after(10)).body["found"]


def test_a_shop_that_cannot_be_had_is_an_error_or_empty() -> None:
    proxy = reads(lists(None), AllAssets())
    with pytest.raises(Unavailable, match=r"down, and no copy is held") as refused:
        proxy.business("u", View(), Deadline.after(10))
    assert not refused.value.late
    with pytest.raises(Unavailable, match=r"down, and no copy is held"):
        proxy.trustpilot_business_unit("u", Deadline.after(10))
    empty = proxy.empty_business("u", View(), "it is down")
    full = reads(lists(), AllAssets()).business("u", View(), Deadline.after(10)).body
    assert empty.keys() == full.keys() | {"error"}
    kept = {name: value for name, value in empty.items() if value not in (None, "", 0, [], False)}
    link = {"trustpilot": "https://www.trustpilot.com/review/u.example?a=1&b=2"}
    assert kept == {"error": "it is down", "total_text": "0", "links": link}


def test_a_shop_in_trustpilots_shape() -> None:
    answer = reads(lists()).trustpilot_business_unit("u", Deadline.after(10))
    assert answer.body == {"id": "u", **UNIT}
    assert answer.freshness.state is State.MISS
    nobody = reads(lists({})).trustpilot_business_unit("u", Deadline.after(10)).body
    assert nobody == {
        "id": "u",
        "displayName": "",
        "name": {"identifying": ""},
        "score": {"trustScore": 0, "stars": 0},
        "numberOfReviews": dict.fromkeys(NUMBERS, 0),
    }


def test_a_shop_stands_in_for_a_product_without_reviews_only() -> None:
    proxy = reads(lists(), AllAssets())
    view = View(fallback=True)
    assert proxy.block(select("A"), view, Deadline.after(10)).body["scope"] == "product"
    assert proxy.block(select("B"), View(), Deadline.after(10)).body["scope"] == "product"
    block = proxy.block(select("B"), view, Deadline.after(10)).body
    assert (block["sku"], block["found"], block["count"], block["scope"]) == ("B", True, 2, "business")
    summary = block["summary"]
    assert summary
    assert (summary["average"], summary["total"], summary["distribution"]["one_star"]) == (4.6, 1204, 4)
    assert [(one["id"], one["source"]) for one in block["reviews"]] == [("s1", "trustpilot"), ("s2", "trustpilot")]
    assert block["links"] == {"trustpilot": "https://www.trustpilot.com/review/u.example?a=1&b=2"}
    assert reads(lists()).block(select("B"), view, Deadline.after(10)).body["links"] == {"trustpilot": PAGE}
    both = proxy.blocks(select("A", "B"), view, Deadline.after(10)).body["products"]
    assert [each["scope"] for each in both] == ["product", "business"]


def test_a_product_that_cannot_be_had_is_replaced_where_an_empty_answer_is_asked_for() -> None:
    trustpilot = lists()
    trustpilot.failing.add("A")
    proxy, view = reads(trustpilot), View(fallback=True)
    # The shop is held from here on: else it might be a miss once more below, while its first fetch is under way.
    proxy.block(select("B"), view, Deadline.after(10))
    with pytest.raises(Unavailable):
        proxy.block(select("A"), view, Deadline.after(10))
    answer = proxy.block(select("A"), view, Deadline.after(10), empty_on_error=True)
    assert (answer.body["scope"], answer.body["found"]) == ("business", True)
    assert "no copy is held" in answer.body["error"]
    assert answer.freshness.state is State.STALE
    with pytest.raises(Unavailable):
        proxy.block(select("A"), View(), Deadline.after(10), empty_on_error=True)
    blocks = proxy.blocks(select("A", "B"), view, Deadline.after(10)).body["products"]
    assert [(each["scope"], "error" in each) for each in blocks] == [("business", True), ("business", False)]
    with pytest.raises(Unavailable):
        proxy.blocks(select("A"), view, Deadline.after(10))
    body = proxy.blocks(select("A"), view, Deadline.after(10), empty_on_error=True).body
    assert [each["scope"] for each in body["products"]] == ["business"]


def test_a_shop_that_cannot_be_had_leaves_the_product_as_it_is() -> None:
    proxy = reads(lists(None))
    answer = proxy.block(select("B"), View(fallback=True), Deadline.after(10))
    assert (answer.body["scope"], answer.body["found"]) == ("product", False)
    assert answer.freshness.state is State.MISS
    again = proxy.block(select("B"), View(fallback=True), Deadline.after(10))
    assert again.freshness.state is State.STALE
