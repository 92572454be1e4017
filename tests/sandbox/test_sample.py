from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.running import RunningSandbox
from tests.sandbox.callers import REVIEWS_PATH, all_reviews, call, reviews, summary

LETTERS = "a" * 5000


def _sizes(sandbox: RunningSandbox) -> dict[str, int]:
    sizes: dict[str, int] = sandbox.control("GET", "/").json()["business_units"][sandbox.business_unit]
    return sizes


def test_there_are_at_least_forty_products_in_several_languages(sandbox: RunningSandbox) -> None:
    sizes = _sizes(sandbox)
    assert len(sizes) >= 40
    spoken = {review["language"] for sku in sizes if sku != "SPARSE-01" for review in all_reviews(sandbox, sku)}
    assert spoken == {"en", "fr", "de", "es", "nl", "da", "ar", "he", "ja"}


def test_the_toy_truck_is_the_seeds(sandbox: RunningSandbox) -> None:
    newest = reviews(sandbox, "TRUCK-01")["productReviews"][0]
    ratings = newest.pop("attributeRatings")
    assert newest == {
        "id": "670d5810ba62e6b31de97de9",
        "createdAt": "2024-10-14T17:42:40.286Z",
        "stars": 5,
        "content": "Such a great toy truck, my kids really enjoy it! ",
        "consumer": {"id": "6176xxxx", "displayName": "Kevin Bob"},
        "language": "en",
        "attachments": [],
        "firstCompanyComment": None,
    }
    assert [(rating["attributeName"], rating["rating"]) for rating in ratings] == [("Value for money", 4.0)]
    assert summary(sandbox, "TRUCK-01") == {
        "starsAverage": 4.7,
        "numberOfReviews": {
            "total": 153, "oneStar": 2, "twoStars": 3, "threeStars": 8, "fourStars": 20, "fiveStars": 120
        },
    }  # fmt: skip


def test_one_product_has_no_reviews(sandbox: RunningSandbox) -> None:
    assert reviews(sandbox, "NEW-00") == {"productReviews": [], "links": []}
    assert summary(sandbox, "NEW-00")["starsAverage"] == 0.0


def test_a_product_nobody_sells_has_no_reviews(sandbox: RunningSandbox) -> None:
    assert reviews(sandbox, "NO-SUCH-THING") == {"productReviews": [], "links": []}
    assert summary(sandbox, "NO-SUCH-THING")["numberOfReviews"]["total"] == 0


def test_the_newest_120_of_450_blender_reviews_have_one_star(sandbox: RunningSandbox) -> None:
    stars = [review["stars"] for review in all_reviews(sandbox, "BLENDER-450")]
    assert len(stars) == 450
    assert (set(stars[:120]), min(stars[120:])) == ({1}, 2)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("<script>", id="a script"),
        pytest.param("{{ ${email_address} }}", id="Liquid output"),
        pytest.param("{% abort_message('gotcha') %}", id="a Liquid tag"),
        pytest.param("👨‍👩‍👧‍👦", id="a family of one emoji"),
        pytest.param("\u202e", id="a right-to-left override"),
        pytest.param("منتج", id="Arabic"),
        pytest.param("\u0000", id="NUL"),
        pytest.param("\u001b[31m", id="a terminal's colour"),
        pytest.param(LETTERS, id="5,000 letters"),
        pytest.param("\ud800", id="a lone surrogate"),
        pytest.param('"', id="a quote"),
    ],
)
def test_hostile_reviews_hold(sandbox: RunningSandbox, text: str) -> None:
    assert [review for review in all_reviews(sandbox, "HOSTILE-01") if text in review["content"]]


def test_lone_surrogates_travel_as_json_escapes(sandbox: RunningSandbox) -> None:
    answer = call(sandbox, REVIEWS_PATH, params={"sku": "HOSTILE-01", "perPage": 100})
    assert b"\\ud800" in answer.content
    assert answer.content.isascii()


def test_sparse_reviews_are_malformed_in_the_ways_that_matter(sandbox: RunningSandbox) -> None:
    found = all_reviews(sandbox, "SPARSE-01")
    assert "not an object" in found
    whole: list[dict[str, Any]] = [review for review in found if isinstance(review, dict)]
    assert {"5", 9} <= {review["stars"] for review in whole if "stars" in review}
    assert 12 in [review.get("content") for review in whole]


def test_malformed_stars_do_not_count_into_the_summary(sandbox: RunningSandbox) -> None:
    whole = [review for review in all_reviews(sandbox, "SPARSE-01") if isinstance(review, dict)]
    counted = Counter(review.get("stars") for review in whole if type(review.get("stars")) is int)
    told = summary(sandbox, "SPARSE-01")["numberOfReviews"]
    assert told["total"] == sum(counted[stars] for stars in range(1, 6))


def test_there_are_photos_of_several_widths_and_company_replies(sandbox: RunningSandbox) -> None:
    found = all_reviews(sandbox, "BLENDER-450")
    photos = [photo for review in found for photo in review["attachments"]]
    assert {"360pxWide", "720pxWide", "original"} <= {file["dimension"] for file in photos[0]["processedFiles"]}
    assert all(file["url"].startswith("https://") for photo in photos for file in photo["processedFiles"])
    replies = [review["firstCompanyComment"] for review in found if review["firstCompanyComment"]]
    assert all(set(reply) == {"comment", "createdAt"} for reply in replies)
    assert replies


def test_attribute_names_come_in_the_locale_asked_for(sandbox: RunningSandbox) -> None:
    def name(**params: str) -> str:
        newest = reviews(sandbox, "TRUCK-01", perPage=1, **params)["productReviews"][0]
        return str(newest["attributeRatings"][0]["attributeName"])

    assert name() == "Value for money"
    assert name(locale="fr-FR") == name(locale="fr") == "Rapport qualité-prix"
    assert name(locale="de_DE") == "Preis-Leistungs-Verhältnis"
    assert name(locale="fi-FI") == "Value for money"


def test_the_second_business_unit_sells_less_and_has_its_own_truck(sandbox: RunningSandbox) -> None:
    units = sandbox.control("GET", "/").json()["business_units"]
    assert 0 < len(units[sandbox.second_business_unit]) < 10
    path = REVIEWS_PATH.replace(sandbox.business_unit, sandbox.second_business_unit)
    theirs = call(sandbox, path, params={"sku": "TRUCK-01"}).json()["productReviews"]
    assert "670d5810ba62e6b31de97de9" not in [review["id"] for review in theirs]


def test_another_start_says_the_same(sandbox: RunningSandbox) -> None:
    with RunningSandbox() as again:
        for sku in ("LAMP-02", *sandbox.generate(1, 20), *again.generate(1, 20)):
            assert all_reviews(again, sku) == all_reviews(sandbox, sku)
