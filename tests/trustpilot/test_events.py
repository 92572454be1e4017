from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.trustpilot.errors import Malformed
from proxy.trustpilot.events import read_events, tells_enough

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


def test_an_event_tells_the_review_without_what_is_not_part_of_it() -> None:
    [event], ignored = read_events(_events(GOOD))
    assert (event.kind, event.sku, event.review_id, event.hidden, ignored) == ("created", "TRUCK-01", "r1", False, 0)
    assert set(event.review) == {"id", "stars", "content", "createdAt", "consumer"}
    assert tells_enough(event.review)


def test_an_event_tells_no_more_than_the_reviews_call_and_names_the_author_as_it_does() -> None:
    consumer = {"id": "c1", "name": "Ann Bee", "email": "ann@b.example"}
    [event], _ = read_events(_events(_changed(consumer=consumer, referenceId="ORDER-77", stars=4.0)))
    assert event.review["consumer"] == {"id": "c1", "displayName": "Ann Bee"}
    assert set(event.review) == {"id", "stars", "content", "createdAt", "consumer"}
    assert repr(event.review["stars"]) == "4"


def test_an_event_is_whole_only_if_it_tells_what_views_and_blocks_show() -> None:
    more: dict[str, Any] = {"attributeRatings": [], "attachments": [], "firstCompanyComment": None}
    assert [event.whole for event in read_events(_events(GOOD, _changed(**more)))[0]] == [False, False]
    assert read_events(_events(_changed(language="en", **more)))[0][0].whole
    for name in more:
        told = {**more, "language": "en"}
        del told[name]
        assert not read_events(_events(_changed(**told)))[0][0].whole, name


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


@pytest.mark.parametrize("missing", ["id", "stars", "content", "createdAt"])
def test_without_its_essentials_a_review_can_not_be_shown(missing: str) -> None:
    [event], _ = read_events(_events(GOOD))
    assert not tells_enough({name: value for name, value in event.review.items() if name != missing})


@pytest.mark.parametrize("data", [{"stars": 9}, {"stars": "5"}, {"content": 3}, {"createdAt": "yesterday"}])
def test_a_malformed_review_can_not_be_shown(data: dict[str, object]) -> None:
    [event], _ = read_events(_events(_changed(**data)))
    assert not tells_enough(event.review)
