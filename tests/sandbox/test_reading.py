from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.running import RunningSandbox
from tests.sandbox.callers import PATIENCE, REVIEWS_PATH, all_reviews, call, reviews, summary


def test_a_page_has_twenty_reviews_unless_told_otherwise(sandbox: RunningSandbox) -> None:
    assert len(reviews(sandbox, "TRUCK-01")["productReviews"]) == 20
    assert len(reviews(sandbox, "TRUCK-01", perPage=100)["productReviews"]) == 100


def test_reviews_come_newest_first(sandbox: RunningSandbox) -> None:
    dates = [review["createdAt"] for review in all_reviews(sandbox, "BLENDER-450")]
    assert dates == sorted(dates, reverse=True)


def test_a_link_leads_to_the_next_page_until_there_is_none(sandbox: RunningSandbox) -> None:
    body = reviews(sandbox, "TRUCK-01", perPage=60, stars=[5, 4], language="en", locale="fr")
    ids = [review["id"] for review in body["productReviews"]]
    while body["links"]:
        (link,) = body["links"]
        assert (link["method"], link["rel"]) == ("GET", "next-page")
        body = requests.get(link["href"], headers={"apikey": sandbox.api_key}, timeout=PATIENCE).json()
        ids += [review["id"] for review in body["productReviews"]]
    wanted = [
        review for review in all_reviews(sandbox, "TRUCK-01") if review["stars"] >= 4 and review["language"] == "en"
    ]
    assert ids == [review["id"] for review in wanted]


def test_exactly_one_full_page_has_no_next_page(sandbox: RunningSandbox) -> None:
    assert reviews(sandbox, "SCARF-100", perPage=100)["links"] == []
    assert len(reviews(sandbox, "SCARF-101", perPage=100)["links"]) == 1


def test_a_page_beyond_the_last_is_empty(sandbox: RunningSandbox) -> None:
    assert reviews(sandbox, "SCARF-100", perPage=100, page=2) == {"productReviews": [], "links": []}


@pytest.mark.parametrize("stars", [[1], [5, 4], [1, 2, 3, 4, 5]])
def test_stars_can_be_repeated(sandbox: RunningSandbox, stars: list[int]) -> None:
    every = all_reviews(sandbox, "TRUCK-01")
    assert all_reviews(sandbox, "TRUCK-01", stars=stars) == [r for r in every if r["stars"] in stars]


def test_language_lets_only_that_language_pass(sandbox: RunningSandbox) -> None:
    every = all_reviews(sandbox, "KETTLE-01")
    french = all_reviews(sandbox, "KETTLE-01", language="fr")
    assert 0 < len(french) < len(every)
    assert french == [review for review in every if review["language"] == "fr"]


def test_a_product_url_is_ignored(sandbox: RunningSandbox) -> None:
    found = reviews(sandbox, "SCARF-100", productUrl="https://shop.example/scarf", perPage=100)
    assert found == reviews(sandbox, "SCARF-100", perPage=100)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"sku": ""},
        {"sku": ["A", "B"]},
        {"sku": "A", "perPage": 101},
        {"sku": "A", "perPage": 0},
        {"sku": "A", "perPage": "many"},
        {"sku": "A", "page": 0},
        {"sku": "A", "page": -1},
        {"sku": "A", "page": "١"},
        {"sku": "A", "stars": 6},
        {"sku": "A", "stars": "4,5"},
        {"sku": "A", "language": ["en", "fr"]},
    ],
)
def test_what_trustpilot_never_promised_is_a_400(sandbox: RunningSandbox, params: dict[str, Any]) -> None:
    answer = call(sandbox, REVIEWS_PATH, params=params)
    assert answer.status_code == 400
    assert "takes" in answer.json()["message"]


@pytest.mark.parametrize("key", ["", "wrong", "sandbox-kéy"])
@pytest.mark.parametrize("path", [REVIEWS_PATH, REVIEWS_PATH.removesuffix("/reviews")])
def test_a_wrong_key_is_a_401(sandbox: RunningSandbox, path: str, key: str) -> None:
    answer = call(sandbox, path, params={"sku": "TRUCK-01"}, headers={"apikey": key.encode()})
    assert (answer.status_code, answer.json()) == (401, {"message": "Invalid API key"})


def test_no_key_is_a_401(sandbox: RunningSandbox) -> None:
    assert requests.get(f"{sandbox.api_url}{REVIEWS_PATH}?sku=A", timeout=PATIENCE).status_code == 401


def test_an_unknown_business_unit_is_a_404(sandbox: RunningSandbox) -> None:
    answer = call(sandbox, "/product-reviews/business-units/unknown/reviews", params={"sku": "TRUCK-01"})
    assert answer.status_code == 404


def test_a_batch_has_a_summary_for_each_sku_that_is_sold(sandbox: RunningSandbox) -> None:
    path = REVIEWS_PATH.removesuffix("/reviews") + "/batch-summaries"
    asked = ["TRUCK-01", "NO-SUCH-THING", "NEW-00", "TRUCK-01"]
    answer = call(sandbox, path, "POST", json={"skus": asked}).json()
    assert answer == {"summaries": [{"sku": sku, **summary(sandbox, sku)} for sku in ("TRUCK-01", "NEW-00")]}


@pytest.mark.parametrize("body", [{}, [], {"skus": "A"}, {"skus": []}, {"skus": [1]}])
def test_a_batch_that_names_no_skus_is_a_400(sandbox: RunningSandbox, body: Any) -> None:
    path = REVIEWS_PATH.removesuffix("/reviews") + "/batch-summaries"
    assert call(sandbox, path, "POST", json=body).status_code == 400


def test_one_connection_carries_many_calls(sandbox: RunningSandbox) -> None:
    with requests.Session() as session:
        answers = [
            session.get(
                sandbox.api_url + REVIEWS_PATH,
                params={"sku": sku},
                headers={"apikey": sandbox.api_key},
                timeout=PATIENCE,
            )
            for sku in ("TRUCK-01", "NEW-00", "MUG-01")
        ]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers.get("Connection", "keep-alive") for answer in answers} == {"keep-alive"}
