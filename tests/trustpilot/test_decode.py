"""What is kept of Trustpilot's reviews: a list of fields, whole numbers however written, bounded texts and depth."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from proxy.reviews.models import (
    LONGEST_TEXT,
    PER_PAGE,
    UNDATED,
    Comment,
    Consumer,
    FeedItem,
    Page,
    Shop,
    read_service_review,
)
from proxy.reviews.view import Summary
from proxy.trustpilot import Malformed
from proxy.trustpilot.changes import read_deletions, read_events, read_feed, read_shop_summaries
from proxy.trustpilot.client import (
    read_batch_summaries,
    read_business_unit,
    read_object,
    read_reviews,
    read_service_reviews,
    read_summary,
)

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
    page = read_reviews(json.dumps({"productReviews": reviews, **answer}).encode())
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
    page = read_reviews(body)
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
    assert read_reviews(body).complete is not has_next


def test_a_full_page_with_an_object_of_unknown_links_may_have_a_next_one() -> None:
    for count, may_lead_on in ((PER_PAGE - 1, False), (PER_PAGE, True)):
        body = json.dumps({"productReviews": [REVIEW] * count, "links": {"self": "https://t.example/1"}}).encode()
        assert read_reviews(body).complete is not may_lead_on


@pytest.mark.parametrize("depth", [30, 932, 5000])
@pytest.mark.parametrize("opening", ['{"a":', "["])
def test_a_review_with_something_nested_deep_in_it_is_kept_without_it_or_malformed(opening: str, depth: int) -> None:
    closing = "}" if opening == '{"a":' else "]"
    nested = opening * depth + "1" + closing * depth
    text = json.dumps({"productReviews": [{**REVIEW, "language": "NESTED", "more": "NESTED"}]})
    with contextlib.suppress(Malformed):
        [raw] = read_reviews(text.replace('"NESTED"', nested).encode()).raw
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


def test_the_test_event_of_the_settings_page_holds_nothing() -> None:
    assert read_events(b"{}") == ([], 0)


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
        _changed(product=None, id=None),
    ],
)
def test_what_is_no_event_about_a_product_review_is_counted_and_left_out(event: object) -> None:
    events, ignored = read_events(_events(event, GOOD))
    assert (len(events), ignored) == (1, 1)


@pytest.mark.parametrize("odd", [None, 17, ""])
def test_an_event_that_does_not_say_which_review_it_is_of_is_about_its_product(odd: object) -> None:
    [event], ignored = read_events(_events(_changed(id=odd)))
    assert (event.review_id, event.review.id) == ("", None)
    assert (event.sku, ignored) == (read_events(_events(GOOD))[0][0].sku, 0)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"events": {}}', b"{", b"\xff", b'{"events": NaN}'])
def test_a_body_that_is_nothing_like_it_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_events(body)


SERVICE: dict[str, Any] = {
    "id": "s1",
    "stars": 4,
    "title": "Quick",
    "text": "Came in a day",
    "createdAt": "2024-10-14T17:42:40Z",
    "language": "en",
    "isVerified": True,
    "consumer": {"id": "c1", "displayName": "Ann", "email": "ann@b.example"},
    "companyReply": {"text": "Thanks", "createdAt": "2024-10-15T17:42:40Z", "author": "ann@b.example"},
    "referenceId": "ORDER-77",
}


def _service(*reviews: object, **answer: object) -> Page:
    return read_service_reviews(json.dumps({"reviews": reviews, **answer}).encode())


def test_a_review_of_the_shop_has_the_names_of_a_products() -> None:
    page = _service(SERVICE)
    assert (page.dropped, page.complete) == (0, True)
    read = read_service_review(page.raw[0])
    assert (read.id, read.stars, read.title, read.content, read.language) == (
        "s1",
        4,
        "Quick",
        "Came in a day",
        "en",
    )
    assert read.is_verified is True
    assert read.created_at == "2024-10-14T17:42:40Z"
    assert isinstance(read.consumer, Consumer)
    assert (read.consumer.id, read.consumer.display_name) == ("c1", "Ann")
    assert read.first_company_comment == Comment("Thanks", "2024-10-15T17:42:40Z")
    assert b"ann@" not in page.raw[0]
    assert b"ORDER" not in page.raw[0]


@pytest.mark.parametrize("reply", [None, "Thanks", ["Thanks"]])
def test_a_shops_reply_of_another_type_is_none(reply: object) -> None:
    read = read_service_review(_service({**SERVICE, "companyReply": reply, "isVerified": "yes"}).raw[0])
    assert not read.first_company_comment
    assert read.is_verified is False


@pytest.mark.parametrize("name", ["id", "title", "text", "createdAt"])
def test_a_review_of_the_shop_that_cannot_be_read_is_dropped_and_counted(name: str) -> None:
    page = _service(SERVICE, {**SERVICE, name: 7}, "odd")
    assert (len(page.raw), page.dropped) == (1, 2)
    assert len(_service({**SERVICE, name: None}, SERVICE).raw) == 2


def test_pages_of_the_shops_reviews_lead_on_as_a_products_do() -> None:
    assert not _service(*[SERVICE] * PER_PAGE).complete
    assert _service(SERVICE, SERVICE).complete
    assert not _service(SERVICE, links=[{"rel": "self"}, {"rel": "next-page"}]).complete
    assert _service(SERVICE, SERVICE, links=[{"rel": "self"}]).complete
    assert _service(links=[{"rel": "next-page"}]).complete


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"reviews": {}}, "Trustpilot's answer holds no list of reviews"),
        ({}, "Trustpilot's answer holds no list of reviews"),
        ({"reviews": [], "links": "next"}, "Trustpilot's answer holds no list of links"),
        ({"reviews": [{**SERVICE, "id": 7}]}, "Trustpilot's answer holds no review that can be read"),
        ([], "what Trustpilot sent is not a JSON object"),
    ],
)
def test_an_answer_about_the_shop_that_is_nothing_like_it_says_why(body: object, why: str) -> None:
    with pytest.raises(Malformed) as error:
        read_service_reviews(json.dumps(body).encode())
    assert str(error.value) == why


UNIT_ANSWER: dict[str, Any] = {
    "displayName": "Shop",
    "name": {"identifying": "www.shop-1.example"},
    "score": {"trustScore": 4.6, "stars": 4.5},
    "numberOfReviews": {
        "total": 21,
        "oneStar": 1,
        "twoStars": 2,
        "threeStars": 3,
        "fourStars": 5,
        "fiveStars": 10.0,
    },
}


def _shop(**other: object) -> Shop:
    return read_business_unit(json.dumps({**UNIT_ANSWER, **other}).encode())


def test_a_business_unit_is_read_with_its_score_and_counts() -> None:
    assert _shop() == Shop("Shop", "www.shop-1.example", 4.6, 4.5, [21, 1, 2, 3, 5, 10])


@pytest.mark.parametrize("odd", [None, 7, [], "x"])
def test_what_a_business_unit_lacks_is_empty(odd: object) -> None:
    name = "x" if odd == "x" else ""
    shop = _shop(displayName=odd, name=odd, score=odd, numberOfReviews=odd)
    assert shop == Shop(name, "", None, None, [0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("score", [0, 0.9, 5.1, True, "4", None])
def test_a_score_that_is_no_rating_is_none(score: object) -> None:
    shop = _shop(score={"trustScore": score, "stars": score})
    assert (shop.trust_score, shop.stars) == (None, None)


@pytest.mark.parametrize("score", [1, 5])
def test_a_score_reaches_from_one_to_five(score: int) -> None:
    shop = _shop(score={"trustScore": score, "stars": score})
    assert (repr(shop.trust_score), repr(shop.stars)) == (f"{score}.0", f"{score}.0")


@pytest.mark.parametrize("domain", ["a/b", "a b", '"', "", "x" * 254, 7])
def test_a_domain_that_may_not_stand_in_a_link_is_none(domain: object) -> None:
    assert _shop(name={"identifying": domain}).domain == ""
    assert _shop(name={"identifying": "x" * 253}).domain == "x" * 253


def test_a_shops_name_is_bounded() -> None:
    assert _shop(displayName="x" * 300).name == "x" * 200


FEED_REVIEW: dict[str, Any] = {
    **REVIEW,
    "referenceId": "ORDER-77",
    "consumer": {**REVIEW["consumer"], "email": "ann@b.example"},
    "product": {"sku": " A ", "productUrl": "https://s.example/a"},
}


def _feed(*reviews: object) -> tuple[list[FeedItem], int]:
    return read_feed(json.dumps({"productReviews": reviews}).encode())


@pytest.mark.parametrize(
    "beside",
    [
        [],
        [7],
        [{**FEED_REVIEW, "stars": "five", "product": None}],
        [{**FEED_REVIEW, "content": "\ud800", "product": None}],
    ],
)
def test_a_feeds_review_names_its_product_also_beside_odd_ones(beside: list[object]) -> None:
    [item], given = _feed(FEED_REVIEW, *beside)
    assert (item.sku, item.product_url, item.written, given) == (
        "A",
        "https://s.example/a",
        1728927760.286,
        1 + len(beside),
    )
    assert json.loads(msgspec.json.encode(item.review)) == REVIEW


@pytest.mark.parametrize("product", [None, {}, {"sku": ""}, {"sku": "  "}, {"productUrl": "https://s.example/a"}, 7])
def test_a_feeds_review_without_a_product_is_left_out_and_counted(product: object) -> None:
    assert _feed({**FEED_REVIEW, "product": product}) == ([], 1)


@pytest.mark.parametrize(
    ("created", "written"), [("soon", UNDATED), (None, UNDATED), ("0001-01-01T00:00+14:00", UNDATED)]
)
def test_a_feeds_review_without_a_date_counts_as_the_oldest(created: object, written: float) -> None:
    [item], _ = _feed({**FEED_REVIEW, "createdAt": created})
    assert (item.written, item.product_url) == (written, "https://s.example/a")


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (read_feed, "Trustpilot's answer holds no list of reviews"),
        (read_shop_summaries, "Trustpilot's answer holds no list of summaries"),
        (read_batch_summaries, "Trustpilot's answer holds no list of summaries"),
        (lambda body: read_deletions(body, "reviews", "reviewId"), "Trustpilot's answer holds no list of deletions"),
        (read_reviews, "Trustpilot's answer holds no list of reviews"),
        (read_summary, "Trustpilot's summary holds no counts"),
    ],
)
def test_an_answer_without_its_list_says_so(read: Callable[[bytes], object], why: str) -> None:
    for body in (b"{}", b'{"productReviews": {}, "summaries": 7, "reviews": "x", "numberOfReviews": []}'):
        with pytest.raises(Malformed) as error:
            read(body)
        assert str(error.value) == why


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xff", "what Trustpilot sent is not JSON"),
        (b'{"a": NaN}', "what Trustpilot sent is not JSON"),
        (b'{"a": 1e999}', "what Trustpilot sent is not JSON"),
        (b"[" * 100_000, "what Trustpilot sent is not JSON"),
        (b"7", "what Trustpilot sent is not a JSON object"),
    ],
)
def test_what_is_no_json_object_says_so(body: bytes, why: str) -> None:
    with pytest.raises(Malformed) as error:
        read_object(body)
    assert str(error.value) == why


def test_lone_surrogates_are_replaced_in_names_and_lists_too() -> None:
    assert read_object(rb'{"\ud800": ["\udfff", {"a": "\u00e4\ud800"}, 1.5]}') == {"?": ["?", {"a": "ä?"}, 1.5]}


@pytest.mark.parametrize(
    ("average", "counts", "read"),
    [
        (4.2, {"total": 1}, 4.2),
        (0, {"total": 4, "fourStars": 4}, 4.0),
        (5, {"total": 4, "fourStars": 4}, 5.0),
        (5.1, {"total": 4, "fourStars": 4}, 4.0),
        (None, {"total": 4, "fourStars": 4}, 4.0),
        (4.2, {"total": 0}, None),
        (4.2, {}, None),
    ],
)
def test_the_average_is_trustpilots_where_it_can_be_one(average: object, counts: object, read: float | None) -> None:
    assert read_summary(json.dumps({"starsAverage": average, "numberOfReviews": counts}).encode()).average == read


@pytest.mark.parametrize("count", ["7", -1, 2**53 + 2, 1.5, True, []])
def test_a_count_that_is_none_says_so(count: object) -> None:
    with pytest.raises(Malformed, match=r"^Trustpilot's summary holds a count that is none$"):
        read_summary(json.dumps({"numberOfReviews": {"total": count}}).encode())
    assert read_summary(json.dumps({"numberOfReviews": {"total": 2**53}}).encode()).total == 2**53


@pytest.mark.parametrize("average", ["4.2", True, []])
def test_an_average_that_is_none_says_so(average: object) -> None:
    with pytest.raises(Malformed, match=r"^Trustpilot's summary holds no average$"):
        read_summary(json.dumps({"starsAverage": average, "numberOfReviews": {"total": 1}}).encode())


def test_a_batch_of_which_nothing_can_be_read_is_malformed() -> None:
    odd = [{"sku": "A"}, {"sku": "B", "numberOfReviews": 7}]
    with pytest.raises(Malformed, match=r"^Trustpilot's summary holds no counts$"):
        read_batch_summaries(json.dumps({"summaries": odd}).encode())
    assert read_batch_summaries(b'{"summaries": [7, {"sku": 8}]}') == {}


@pytest.mark.parametrize(
    ("state", "hidden"), [("Published", False), (None, False), ("", False), ("underReview", True)]
)
def test_an_events_review_is_hidden_in_any_state_but_one(state: object, hidden: bool) -> None:
    assert [event.hidden for event in read_events(_events(_changed(state=state)))[0]] == [hidden]


@pytest.mark.parametrize("consumer", [{"id": "c", "displayName": "Ann", "name": "Bee"}, {"id": "c", "name": "Ann"}])
def test_an_events_author_is_the_name_that_is_displayed(consumer: object) -> None:
    assert _said(_changed(consumer=consumer))[0]["consumer"] == {"id": "c", "displayName": "Ann"}


@pytest.mark.parametrize(("name", "kind"), [("updated", "updated"), ("deleted", "deleted")])
def test_an_update_needs_no_product(name: str, kind: str) -> None:
    given = {**_changed(product={"sku": " B "}), "eventName": f"product-review-{name}"}
    without = {**_changed(product=None), "eventName": f"product-review-{name}"}
    events, ignored = read_events(_events(given, without))
    assert ([(event.kind, event.sku) for event in events], ignored) == ([(kind, "B"), (kind, None)], 0)


def test_an_event_beside_odd_values_says_the_rest() -> None:
    odd = _changed(stars=True, content="\ud800 Fine", product={"sku": "B", "name": 7}, attributeRatings=["odd"])
    [event], ignored = read_events(_events(odd))
    assert (event.sku, event.review.content, event.review.stars, ignored) == ("B", "? Fine", 0, 0)
    assert event.review.attribute_ratings == []


def test_a_body_without_events_says_so() -> None:
    with pytest.raises(Malformed, match=r"^the body holds no list of events$"):
        read_events(b'{"event": []}')
