"""The shop itself, alone and in the place of a product without reviews; Trustpilot's own calls for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests.running import SECRET, UNIT, RunningSandbox, Served, served_here


def get(proxy: Served, path: str, **params: Any) -> requests.Response:
    return requests.get(proxy.url + path, params=params, headers={"X-Api-Key": SECRET}, timeout=20)


def trustpilots(sandbox: RunningSandbox, path: str, **params: Any) -> Any:
    headers = {"apikey": sandbox.api_key}
    return requests.get(sandbox.api_url + path, params=params, headers=headers, timeout=20).json()


def test_the_shop_is_shown_with_its_score_its_word_and_its_newest_reviews(sandbox: RunningSandbox) -> None:
    shop = trustpilots(sandbox, f"/business-units/{UNIT}")
    with served_here(sandbox) as proxy:
        answer = get(proxy, "/v1/business", limit=2, stars="4,5", format="text").json()
        again = get(proxy, "/v1/business", limit=2, stars="4,5", format="text")
        german = get(proxy, "/v1/business", display_locale="de").json()
    assert answer["found"] is True
    assert (answer["name"], answer["trust_score"]) == (shop["displayName"], shop["score"]["trustScore"])
    assert answer["trust_score_text"] == str(answer["trust_score"])
    assert (answer["label"], german["label"]) == ("Great", "Gut")
    assert answer["total"] == shop["numberOfReviews"]["total"]
    assert answer["links"] == {"trustpilot": f"https://www.trustpilot.com/review/{shop['name']['identifying']}"}
    assert answer["disclosure"] == "Showing our 4 & 5 star reviews"
    full = [
        review
        for page in (1, 2)
        for review in trustpilots(sandbox, f"/business-units/{UNIT}/reviews", perPage=100, page=page)["reviews"]
        if review["stars"] >= 4
    ]
    assert [review["id"] for review in answer["reviews"]] == [review["id"] for review in full[:2]]
    assert answer["reviews"][0]["title"] == " ".join(full[0]["title"].split())
    assert answer["reviews"][0]["content"] == " ".join(full[0]["text"].split())
    assert again.headers["X-Cache"] == "hit"
    assert sandbox.calls()["business_unit"] == 2  # one of them is the test's


def test_a_product_without_reviews_falls_back_to_the_shop_in_at_most_three_calls(sandbox: RunningSandbox) -> None:
    with served_here(sandbox) as proxy:
        plain = get(proxy, "/v1/reviews", sku="NEW-00").json()
        sandbox.reset()
    with served_here(sandbox) as proxy:
        answer = get(proxy, "/v1/reviews", sku="NEW-00", fallback="business", stars="5")
        found = get(proxy, "/v1/reviews", sku="TRUCK-01", fallback="business").json()
        cart = get(proxy, "/v1/products", skus="NEW-00,TRUCK-01", fallback="business").json()
        too_few = {"sku": "TRUCK-01", "fallback": "business", "min_reviews": 154}
        instead, *fragments = (
            get(proxy, f"/v1/{path}", **too_few, **more)
            for path, more in (("reviews", {}), ("fragment", {}), ("fragment", {"style": "line"}))
        )
    assert (plain["found"], plain["scope"]) == (False, "product")
    body = answer.json()
    assert (answer.status_code, body["found"], body["scope"], body["sku"]) == (200, True, "business", "NEW-00")
    assert body["disclosure"] == "Showing our 5 star reviews"
    assert body["summary"]["total"] > 0
    assert {review["stars"] for review in body["reviews"]} == {5}
    assert set(body["reviews"][0]) == set(found["reviews"][0])
    assert found["scope"] == "product"
    assert [block["scope"] for block in cart["products"]] == ["business", "product"]
    assert (instead.json()["scope"], instead.json()["summary"]["total"] < 154) == ("business", True)
    assert ["<table" in fragment.text for fragment in fragments] == [True, True]
    assert sum(sandbox.calls().values()) == 3 + 2  # TRUCK-01 has a page and a summary
    assert sandbox.calls()["business_unit"] == 1


def test_a_shop_that_cannot_be_had_leaves_the_product_not_found(sandbox: RunningSandbox) -> None:
    sandbox.behave("fail", kinds=["business_unit"])
    with served_here(sandbox) as proxy:
        answer = get(proxy, "/v1/reviews", sku="NEW-00", fallback="business")
        shop = get(proxy, "/v1/business")
        empty = get(proxy, "/v1/business", on_error="empty").json()
    assert (answer.status_code, answer.json()["found"], answer.headers["X-Cache"]) == (200, False, "miss")
    assert shop.status_code == 503
    assert (empty["found"], empty["trust_score"], "error" in empty) == (False, None, True)


def test_a_product_that_cannot_be_had_is_an_error_unless_that_is_to_count_as_nothing_found(
    sandbox: RunningSandbox,
) -> None:
    with served_here(sandbox) as proxy:
        assert get(proxy, "/v1/business").json()["found"]
        assert get(proxy, "/v1/reviews", sku="SCARF-101").json()["found"]
        sandbox.behave("fail", kinds=["reviews"])
        failed = get(proxy, "/v1/reviews", sku="TRUCK-01", fallback="business")
        instead = get(proxy, "/v1/reviews", sku="TRUCK-01", fallback="business", on_error="empty").json()
        fragment = get(proxy, "/v1/fragment", sku="TRUCK-01", fallback="business").text
        half = get(proxy, "/v1/products", skus="TRUCK-01,SCARF-101", fallback="business").json()
        none = get(proxy, "/v1/products", skus="TRUCK-01,MUG-01", fallback="business", on_error="empty").json()
    assert failed.status_code == 503
    assert (instead["found"], instead["scope"], instead["sku"]) == (True, "business", "TRUCK-01")
    assert instead["error"] == failed.json()["detail"]
    assert "<table" in fragment
    assert [block["scope"] for block in none["products"]] == ["business"] * 2
    assert [(block["scope"], "error" in block) for block in half["products"]] == [
        ("business", True),
        ("product", False),
    ]


@pytest.mark.parametrize(
    ("path", "params"),
    [
        (f"/business-units/{UNIT}/reviews", {"perPage": 7, "page": 2}),
        (f"/business-units/{UNIT}/reviews", {"stars": "5", "perPage": 20}),
        (f"/product-reviews/business-units/{UNIT}/imported-reviews", {"sku": "OLD-01", "perPage": 50, "page": 2}),
        (f"/product-reviews/business-units/{UNIT}/imported-reviews-summaries", {"sku": "OLD-01"}),
    ],
)
def test_a_drop_in_url_answers_what_trustpilot_does(
    sandbox: RunningSandbox, path: str, params: dict[str, Any]
) -> None:
    expected = trustpilots(sandbox, path, **params)
    with served_here(sandbox) as proxy:
        answer = get(proxy, "/v1" + path, **params).json()
    for name in expected.keys() - {"links"}:
        assert _shown(answer[name]) == _shown(expected[name])
    assert len(answer.get("links", [])) == len(expected.get("links", []))


def _shown(value: Any) -> Any:
    """What is compared of reviews: not who wrote them, of whom the proxy keeps the name only."""
    if not isinstance(value, list):
        return value
    names = ("id", "stars", "title", "text", "content", "createdAt", "language", "companyReply", "isVerified")
    return [{name: review[name] for name in names if name in review} for review in value]


def test_the_drop_in_business_unit_has_trustpilots_shape(sandbox: RunningSandbox) -> None:
    expected = trustpilots(sandbox, f"/business-units/{UNIT}")
    with served_here(sandbox) as proxy:
        answer = get(proxy, f"/v1/business-units/{UNIT}").json()
        unknown = get(proxy, "/v1/business-units/nobody")
    assert answer["numberOfReviews"] == expected["numberOfReviews"]
    assert (answer["score"], answer["displayName"]) == (expected["score"], expected["displayName"])
    assert answer["name"]["identifying"] == expected["name"]["identifying"]
    assert unknown.status_code == 404


def test_batch_summaries_cost_one_call_and_are_trustpilots(sandbox: RunningSandbox) -> None:
    skus = ["TRUCK-01", "SCARF-101", "KETTLE-01"]
    path = f"/product-reviews/business-units/{UNIT}/batch-summaries"
    headers = {"apikey": sandbox.api_key}
    expected = requests.post(sandbox.api_url + path, json={"skus": skus}, headers=headers, timeout=20).json()
    with served_here(sandbox) as proxy:
        answers = [
            requests.post(f"{proxy.url}/v1{path}", json={"skus": skus}, headers={"X-Api-Key": SECRET}, timeout=20)
            for _ in range(2)
        ]
        bad = [
            requests.post(f"{proxy.url}/v1{path}", data=body, headers={"X-Api-Key": SECRET, **kind}, timeout=20)
            for body, kind in (
                (b"{}", {"Content-Type": "application/json"}),
                (b'{"skus": [""]}', {"Content-Type": "application/json"}),
                (json.dumps({"skus": ["MUG-01"] * 101}).encode(), {"Content-Type": "application/json"}),
                (b"{}", {"Content-Type": "text/plain"}),
            )
        ]
    assert [answer.json() for answer in answers] == [expected, expected]
    assert sandbox.calls() == {"batch_summaries": 2}
    assert [answer.status_code for answer in bad] == [400, 400, 400, 415]
