"""What is kept of Trustpilot's reviews: a list of fields, whole numbers however written, bounded texts and depth."""

from __future__ import annotations

import contextlib
import json
import zlib
from typing import Any

import pytest

from proxy.reviews.page import Page
from proxy.trustpilot.errors import Malformed
from proxy.trustpilot.reader import LONGEST_TEXT, SummaryCounts, read_batch_summaries, read_reviews

REVIEW: dict[str, Any] = {
    "id": "r1",
    "createdAt": "2024-10-14T17:42:40.286Z",
    "stars": 5,
    "content": "Fine",
    "consumer": {"id": "c1", "displayName": "Ann"},
    "language": "en",
    "attributeRatings": [
        {"attributeId": "a", "attributeName": "Quality", "attributeType": "range_1to5", "rating": 4.0}
    ],
    "attachments": [
        {
            "id": "p",
            "state": "ready",
            "processedFiles": [
                {"mimeType": "image/jpeg", "dimension": "360pxWide", "url": "https://p.example/1.jpg"}
            ],
        }
    ],
    "firstCompanyComment": {"comment": "Thanks", "createdAt": "2024-10-15T17:42:40Z"},
}


def _read(*reviews: object, **answer: object) -> list[dict[str, Any]]:
    return read_reviews(json.dumps({"productReviews": reviews, **answer}).encode(), 100).reviews


def test_a_review_in_trustpilots_public_shape_is_kept_whole() -> None:
    assert _read(REVIEW) == [REVIEW]
    assert _read({**REVIEW, "firstCompanyComment": None, "consumer": None}) == [
        {**REVIEW, "firstCompanyComment": None, "consumer": None}
    ]


@pytest.mark.parametrize(
    "odd",
    [
        {"referenceId": "ORDER-77"},
        {"email": "ann@b.example"},
        {"product": {"id": "p", "sku": "A", "referenceId": "ORDER-77"}},
        {"consumer": {"id": "c1", "displayName": "Ann", "email": "ann@b.example", "name": "Ann Bee"}},
        {"firstCompanyComment": {**REVIEW["firstCompanyComment"], "author": "ann@b.example"}},
        {"attachments": [{**REVIEW["attachments"][0], "uploadedBy": "ann@b.example"}]},
        {"attributeRatings": [{**REVIEW["attributeRatings"][0], "by": {"email": "ann@b.example"}}, "ann@b.example"]},
    ],
)
def test_nothing_that_is_not_on_the_list_of_fields_is_kept(odd: dict[str, Any]) -> None:
    assert _read({**REVIEW, **odd}) == [REVIEW]


@pytest.mark.parametrize("name", ["consumer", "firstCompanyComment", "attachments", "attributeRatings", "language"])
def test_another_type_than_the_documented_one_hides_nothing_in_it(name: str) -> None:
    for odd in ("ann@b.example" if name != "language" else ["ann@b.example"], {"email": "ann@b.example"}):
        assert "ann@" not in json.dumps(_read({**REVIEW, name: odd}))


def test_a_page_that_an_earlier_version_left_in_a_shared_store_is_read_by_the_same_list() -> None:
    left = zlib.compress(json.dumps([True, [{**REVIEW, "referenceId": "ORDER-77"}]]).encode())
    assert Page.decode(left) == Page([REVIEW], complete=True)


def test_stars_and_counts_are_read_as_whole_numbers_written_with_a_fraction() -> None:
    [review] = _read({**REVIEW, "stars": 5.0})
    assert repr(review["stars"]) == "5"
    counts = {"total": 2.0, "fiveStars": 2.0}
    summary = {"sku": "A", "starsAverage": 5, "numberOfReviews": counts}
    counted = read_batch_summaries(json.dumps({"summaries": [summary]}).encode())["A"]
    assert not isinstance(counted, Malformed)
    assert (repr(counted.total), repr(counted.stars)) == ("2", "(0, 0, 0, 0, 2)")


def test_one_odd_summary_in_a_batch_leaves_the_others_readable() -> None:
    odd = {"sku": "B", "numberOfReviews": {"total": "many"}}
    sound = {"sku": "A", "starsAverage": 5, "numberOfReviews": {"total": 2, "fiveStars": 2}}
    read = read_batch_summaries(json.dumps({"summaries": [odd, sound]}).encode())
    assert isinstance(read["B"], Malformed)
    assert read["A"] == SummaryCounts(5.0, 2, (0, 0, 0, 0, 2))


@pytest.mark.parametrize(
    ("links", "has_next"),
    [
        ({"rel": "next-page", "href": "https://t.example/2"}, True),
        ({"next-page": {"href": "https://t.example/2"}}, True),
        ({"next-page": "https://t.example/2"}, True),
        ({"next-page": None}, False),
        ({"more": {"rel": "next-page"}}, True),
        ({"self": {"href": "https://t.example/1"}}, False),
        ({}, False),
    ],
)
def test_links_are_read_from_an_object_too(links: object, has_next: bool) -> None:
    body = json.dumps({"productReviews": [REVIEW], "links": links}).encode()
    assert read_reviews(body, 100).has_next is has_next


def test_a_full_page_with_an_object_of_unknown_links_may_have_a_next_one() -> None:
    body = json.dumps({"productReviews": [REVIEW], "links": {"self": "https://t.example/1"}}).encode()
    assert read_reviews(body, 1).has_next


@pytest.mark.parametrize("depth", [30, 932, 5000])
@pytest.mark.parametrize("opening", ['{"a":', "["])
def test_a_review_with_something_nested_deep_in_it_is_kept_without_it_or_malformed(opening: str, depth: int) -> None:
    closing = "}" if opening == '{"a":' else "]"
    nested = opening * depth + "1" + closing * depth
    text = json.dumps({"productReviews": [{**REVIEW, "language": "NESTED", "more": "NESTED"}]})
    with contextlib.suppress(Malformed):
        [review] = read_reviews(text.replace('"NESTED"', nested).encode(), 100).reviews
        assert review == {name: value for name, value in REVIEW.items() if name != "language"}


def test_texts_and_lists_of_any_length_are_bounded() -> None:
    [review] = _read(
        {
            **REVIEW,
            "content": "\u200b" * 1_200_000,
            "consumer": {"id": "c1", "displayName": "x" * 1_200_000},
            "attributeRatings": REVIEW["attributeRatings"] * 50_000,
        }
    )
    assert len(review["content"]) == LONGEST_TEXT
    assert len(review["consumer"]["displayName"]) == LONGEST_TEXT
    assert len(review["attributeRatings"]) == 100
