"""What is kept of Trustpilot's reviews: a list of fields, whole numbers however written, bounded texts and depth."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest

from proxy.reviews.models import LONGEST_TEXT
from proxy.reviews.summary import Summary
from proxy.trustpilot.decode import read_batch_summaries, read_events, read_reviews
from proxy.trustpilot.errors import Malformed

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
    page = read_reviews(json.dumps({"productReviews": reviews, **answer}).encode(), 100)
    return [json.loads(raw) for raw in page.raw]


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


def test_one_review_that_is_not_as_documented_changes_none_of_the_others() -> None:
    odd = {**REVIEW, "consumer": "Ann"}
    others = [{**REVIEW, "content": "\ud800 lone"}, {**REVIEW, "stars": 4.5}, REVIEW, 7]
    del (without := dict(REVIEW))["consumer"]
    assert _read(odd, *others) == [without, {**REVIEW, "content": "? lone"}, REVIEW]


@pytest.mark.parametrize("name", ["id", "content", "createdAt"])
def test_a_review_without_a_readable_essential_is_dropped_and_counted(name: str) -> None:
    body = json.dumps({"productReviews": [REVIEW, {**REVIEW, name: 7}]}).encode()
    page = read_reviews(body, 100)
    assert ([json.loads(raw) for raw in page.raw], page.dropped, page.countable) == ([REVIEW], 1, False)


def test_an_item_of_a_list_that_is_not_as_documented_is_left_out() -> None:
    attachment = REVIEW["attachments"][0]
    film = {**attachment["processedFiles"][0], "mimeType": 7}
    odd = [{**attachment, "state": 7}, {**attachment, "processedFiles": [film]}]
    assert _read({**REVIEW, "attachments": odd}) == [
        {**REVIEW, "attachments": [{**attachment, "processedFiles": []}]}
    ]


def test_stars_and_counts_are_read_as_whole_numbers_written_with_a_fraction() -> None:
    [review] = _read({**REVIEW, "stars": 5.0})
    assert repr(review["stars"]) == "5"
    counts = {"total": 2.0, "fiveStars": 2.0}
    summary = {"sku": "A", "starsAverage": 5, "numberOfReviews": counts}
    counted = read_batch_summaries(json.dumps({"summaries": [summary]}).encode())["A"]
    assert isinstance(counted, Summary)
    assert (repr(counted.total), repr(counted.stars)) == ("2", "(0, 0, 0, 0, 2)")


def test_one_odd_summary_in_a_batch_leaves_the_others_readable() -> None:
    odd = {"sku": "B", "numberOfReviews": {"total": "many"}}
    sound = {"sku": "A", "starsAverage": 5, "numberOfReviews": {"total": 2, "fiveStars": 2}}
    read = read_batch_summaries(json.dumps({"summaries": [odd, sound]}).encode())
    assert isinstance(read["B"], Malformed)
    assert read["A"] == Summary(5.0, 2, (0, 0, 0, 0, 2))


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
    assert read_reviews(body, 100).complete is not has_next


def test_a_full_page_with_an_object_of_unknown_links_may_have_a_next_one() -> None:
    body = json.dumps({"productReviews": [REVIEW], "links": {"self": "https://t.example/1"}}).encode()
    assert not read_reviews(body, 1).complete


@pytest.mark.parametrize("depth", [30, 932, 5000])
@pytest.mark.parametrize("opening", ['{"a":', "["])
def test_a_review_with_something_nested_deep_in_it_is_kept_without_it_or_malformed(opening: str, depth: int) -> None:
    closing = "}" if opening == '{"a":' else "]"
    nested = opening * depth + "1" + closing * depth
    text = json.dumps({"productReviews": [{**REVIEW, "language": "NESTED", "more": "NESTED"}]})
    with contextlib.suppress(Malformed):
        [raw] = read_reviews(text.replace('"NESTED"', nested).encode(), 100).raw
        assert json.loads(raw) == {name: value for name, value in REVIEW.items() if name != "language"}


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


GOOD: dict[str, Any] = {
    "eventName": "product-review-created",
    "version": "1",
    "eventData": {
        "id": "r1",
        "stars": 4,
        "content": "Fine",
        "createdAt": "2024-10-14T17:42:40.286Z",
        "product": {"sku": "TRUCK-01", "name": "Truck"},
        "consumer": {"id": "c1", "displayName": "Ann"},
        "state": "published",
        "language": None,
    },
}


def _events(*events: object) -> bytes:
    return json.dumps({"events": events}).encode()


def _changed(**data: object) -> dict[str, Any]:
    return {**GOOD, "eventData": {**GOOD["eventData"], **data}}


def _said(*events: object) -> list[dict[str, Any]]:
    return [json.loads(msgspec.json.encode(event.review)) for event in read_events(_events(*events))[0]]


def test_an_event_says_the_review_without_what_is_not_part_of_it() -> None:
    [event], ignored = read_events(_events(GOOD))
    assert (event.kind, event.sku, event.review_id, event.hidden, ignored) == ("created", "TRUCK-01", "r1", False, 0)
    listed = {"id", "stars", "content", "createdAt", "consumer", "language"}
    assert _said(GOOD) == [{name: value for name, value in GOOD["eventData"].items() if name in listed}]


def test_a_new_review_is_known_by_the_page_of_its_product_too() -> None:
    [event], ignored = read_events(_events(_changed(product={"productUrl": "https://shop.example/a"})))
    assert (event.sku, event.product_url, ignored) == (None, "https://shop.example/a", 0)


def test_an_event_says_no_more_than_the_reviews_call_and_names_the_author_as_it_does() -> None:
    consumer = {"id": "c1", "name": "Ann Bee", "email": "ann@b.example"}
    [review] = _said(_changed(consumer=consumer, referenceId="ORDER-77"))
    assert review["consumer"] == {"id": "c1", "displayName": "Ann Bee"}
    assert set(review) == {"id", "stars", "content", "createdAt", "consumer", "language"}


def test_an_event_is_whole_only_if_it_says_what_the_reviews_call_would() -> None:
    more: dict[str, Any] = {"attributeRatings": [], "attachments": [], "firstCompanyComment": None, "language": "en"}
    whole = _changed(**more)
    assert [event.whole for event in read_events(_events(GOOD, whole))[0]] == [False, True]
    for name in (*more, "stars", "content", "createdAt", "consumer"):
        lacking = {**whole["eventData"]}
        del lacking[name]
        assert not read_events(_events({**whole, "eventData": lacking}))[0][0].whole, name


@pytest.mark.parametrize("odd", [{"stars": "5"}, {"content": 3}, {"createdAt": 7}, {"consumer": ["Ann"]}])
def test_what_an_event_says_in_another_type_it_does_not_say(odd: dict[str, Any]) -> None:
    [event], _ = read_events(_events(_changed(**odd, attributeRatings=[], attachments=[], firstCompanyComment=None)))
    assert not event.whole
    assert all(_said(_changed(**odd))[0].get(name) in (None, 0) for name in odd)


def test_a_deletion_may_name_the_review_only() -> None:
    deletion = {"eventName": "product-review-deleted", "eventData": {"id": "r1"}}
    [event], ignored = read_events(_events(deletion))
    assert (event.kind, event.sku, event.review_id, ignored) == ("deleted", None, "r1", 0)


def test_the_test_event_of_the_settings_page_holds_nothing() -> None:
    assert read_events(b"{}") == ([], 0)


def test_a_review_that_is_not_published_is_hidden() -> None:
    [event], _ = read_events(_events(_changed(state="underReview")))
    assert event.hidden


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        {"eventName": "product-review-created"},
        {**GOOD, "eventName": "service-review-created"},
        _changed(product=None),
        _changed(product={"sku": 7}),
        _changed(product={"sku": ""}),
        _changed(id=None),
        _changed(id=17),
    ],
)
def test_what_is_no_event_about_a_product_review_is_counted_and_left_out(event: object) -> None:
    events, ignored = read_events(_events(event, GOOD))
    assert (len(events), ignored) == (1, 1)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"events": {}}', b"{", b"\xff", b'{"events": NaN}'])
def test_a_body_that_is_nothing_like_it_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_events(body)
