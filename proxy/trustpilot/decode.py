"""Reads Trustpilot's JSON as untrusted input: what is not as documented never gets past this module."""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec import inspect as types

from proxy.reviews.models import (
    LONGEST_LIST,
    LONGEST_TEXT,
    UNDATED,
    Consumer,
    FeedItem,
    Page,
    Review,
    ReviewEvent,
    ServiceReview,
    Shop,
    Text,
)
from proxy.reviews.view import STAR_WORDS, Summary
from proxy.trustpilot.errors import Malformed

_MOST_COUNTED = 2**53
"""Beyond it JSON's readers no longer count exactly, and no product has so many reviews."""

_ODD = object()
"""In the place of a value that is not of its field's type."""

_ESSENTIAL = ("id", "content", "createdAt")
"""Of another type than text, they make a review unreadable."""

_OF_SERVICE = ("id", "title", "text", "createdAt")
"""The same of a review of the shop."""

_LONGEST_NAME = 200

_KINDS: dict[object, Literal["created", "updated", "deleted"]] = {
    "product-review-created": "created",
    "product-review-updated": "updated",
    "product-review-deleted": "deleted",
}


class _Reviews(Struct, rename="camel"):
    product_reviews: list[Review]
    links: Raw = Raw(b"null")


class _Author(Consumer, rename="camel"):
    name: Text = UNSET


class _Product(Struct, rename="camel"):
    sku: Text = UNSET
    product_url: Text = UNSET


class _EventData(Review, rename="camel"):
    """What an event says of a review. Events and the reviews call differ in the author's name."""

    consumer: _Author | UnsetType | None = UNSET
    product: _Product | UnsetType | None = UNSET
    state: Text = UNSET


class _FeedReview(Review, rename="camel"):
    product: _Product | UnsetType | None = UNSET


class _Feed(Struct, rename="camel"):
    product_reviews: list[_FeedReview]


class _Summaries(Struct):
    summaries: list[Raw]


class _Event(Struct, rename="camel"):
    event_name: Text = UNSET
    event_data: _EventData | UnsetType | None = UNSET


class _Webhook(Struct):
    events: list[Raw]


_REVIEWS = msgspec.json.Decoder(_Reviews)
_FEED = msgspec.json.Decoder(_Feed)
_SUMMARIES = msgspec.json.Decoder(_Summaries)
_WEBHOOK = msgspec.json.Decoder(_Webhook)
_EVENT = msgspec.json.Decoder(_Event)
_REFUSED = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What msgspec raises for a value that is not of its type, a text too long, a lone surrogate, or no UTF-8."""


def read_reviews(body: bytes, per_page: int) -> Page:
    """Read the answer of a reviews call. Raises :class:`Malformed`."""
    try:
        answer = _REVIEWS.decode(body)
        reviews, unreadable, links = answer.product_reviews, 0, msgspec.json.decode(answer.links)
    except _REFUSED:
        reviews, unreadable, links = _read_slowly(body)
    return _page(reviews, unreadable, links, per_page)


def read_service_reviews(body: bytes, per_page: int) -> Page:
    """Read the answer of the call for the shop's own reviews. Raises :class:`Malformed`."""
    answer = read_object(body)
    given = answer.get("reviews")
    if not isinstance(given, list):
        raise Malformed("Trustpilot's answer holds no list of reviews")
    reviews = [
        _service_review(review)
        for review in given
        if isinstance(review, dict) and all(isinstance(review.get(name), str | None) for name in _OF_SERVICE)
    ]
    return _page(reviews, len(given) - len(reviews), answer.get("links"), per_page)


def _service_review(given: dict[str, Any]) -> ServiceReview:
    """Give the fields of a service review the names that those of a product review have."""
    reply = given.get("companyReply")
    named = {**given, "content": given.get("text")}
    if isinstance(reply, dict):
        named["firstCompanyComment"] = {"comment": reply.get("text"), "createdAt": reply.get("createdAt")}
    review = msgspec.convert(_fitting(named, _SERVICE_TYPE), ServiceReview)
    review.is_verified = given.get("isVerified") is True
    return review


def read_business_unit(body: bytes) -> Shop:
    """Read the answer of the call for a business unit. Raises :class:`Malformed`."""
    answer = read_object(body)
    name, score, numbers = answer.get("name"), answer.get("score"), answer.get("numberOfReviews")
    domain = name.get("identifying") if isinstance(name, dict) else None
    shown = answer.get("displayName")
    counts = [_count(numbers.get(each)) for each in ("total", *STAR_WORDS)] if isinstance(numbers, dict) else [0] * 6
    rated = score if isinstance(score, dict) else {}
    return Shop(
        shown[:_LONGEST_NAME] if isinstance(shown, str) else "",
        domain if isinstance(domain, str) and re.fullmatch(r"[\w.-]{1,253}", domain) else "",
        _rating(rated.get("trustScore")),
        _rating(rated.get("stars")),
        counts,
    )


def _rating(value: object) -> float | None:
    """Return a rating of at least one star, ``None`` for none."""
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 5 else None
    )


def _page(reviews: Sequence[Review], unreadable: int, links: object, per_page: int) -> Page:
    if not isinstance(links, list | dict | None):
        raise Malformed("Trustpilot's answer holds no list of links")
    given = len(reviews) + unreadable
    if isinstance(links, list):
        has_next = any(map(_leads_on, links))
    else:
        # Without a list of links a full page may have a next one: claiming completeness would be a guess.
        has_next = given >= per_page or (links is not None and _names_next(links))
    page = Page.of(reviews, complete=not (has_next and given), dropped=unreadable)
    if given and not page.index:
        raise Malformed("Trustpilot's answer holds no review that can be read")
    return page


def read_batch_summaries(body: bytes) -> dict[str, Summary | Malformed]:
    """Read the answer of a batch-summaries call, by SKU. Raises :class:`Malformed` when nothing of it can be read.

    A summary that can't be read is an error in its own SKU's place, so that it fails nobody who shares the call.
    """
    summaries = read_object(body).get("summaries")
    if not isinstance(summaries, list):
        raise Malformed("Trustpilot's answer holds no list of summaries")
    read: dict[str, Summary | Malformed] = {}
    for summary in summaries:
        if isinstance(summary, dict) and isinstance(sku := summary.get("sku"), str):
            try:
                read[sku] = _summary(summary)
            except Malformed as error:
                read[sku] = error
    unreadable = [summary for summary in read.values() if isinstance(summary, Malformed)]
    if unreadable and len(unreadable) == len(read):
        raise unreadable[0]
    return read


def read_summary(body: bytes) -> Summary:
    """Read the answer of a summary call. Raises :class:`Malformed`."""
    return _summary(read_object(body))


def read_feed(body: bytes) -> tuple[list[FeedItem], int]:
    """Read a page of a shop's private list; tell too how many reviews it held.

    The reviewer's address and the order number, which that list adds, are no fields of a :class:`Review`. What names
    no product is left out. Raises :class:`Malformed`.
    """
    try:
        reviews = _FEED.decode(body).product_reviews
        given = len(reviews)
    except _REFUSED:
        listed = read_object(body).get("productReviews")
        if not isinstance(listed, list):
            raise Malformed("Trustpilot's answer holds no list of reviews") from None
        given = len(listed)
        fitting = (_fitting(review, _FEED_TYPE) for review in listed if isinstance(review, dict))
        reviews = [msgspec.convert(review, _FeedReview) for review in fitting]
    items = []
    for review in reviews:
        product = review.product or _Product()
        sku = (product.sku or "").strip()
        if sku:
            plain = Review(**{name: getattr(review, name) for name in Review.__struct_fields__})
            items.append(FeedItem(sku, plain, _written(plain), product.product_url or None))
    return items, given


def _written(review: Review) -> float:
    try:
        moment = review.moment
    except (ValueError, OverflowError):
        return UNDATED
    return moment.timestamp() if moment else UNDATED


def read_shop_summaries(body: bytes) -> tuple[Iterator[tuple[str, Summary]], int]:
    """Read a page of the summaries of all of a shop's products; tell too how many it held. Raises :class:`Malformed`.

    Each is read when it is asked for, as there are a thousand. What can't be read is left out.
    """
    try:
        listed: Any = _SUMMARIES.decode(body).summaries
    except _REFUSED:
        listed = read_object(body).get("summaries")
    if not isinstance(listed, list):
        raise Malformed("Trustpilot's answer holds no list of summaries")
    return _summaries(listed), len(listed)


def _summaries(listed: Sequence[object]) -> Iterator[tuple[str, Summary]]:
    for given in listed:
        summary = _value_of(given) if isinstance(given, Raw) else given
        if isinstance(summary, dict) and isinstance(sku := summary.get("sku"), str):
            with contextlib.suppress(Malformed):
                yield sku, _summary(summary)


def _value_of(raw: Raw) -> object:
    """Return what ``raw`` says, ``None`` where that can't be read."""
    try:
        return msgspec.json.decode(raw)
    except _REFUSED:
        with contextlib.suppress(Malformed):
            return read_object(bytes(raw))
    return None


def read_deletions(body: bytes, members: str, name: str) -> tuple[list[str], str | None]:
    """Return what the list ``members`` has under ``name``, and the next page's token. Raises :class:`Malformed`."""
    answer = read_object(body)
    listed, token = answer.get(members), answer.get("nextToken")
    if not isinstance(listed, list):
        raise Malformed("Trustpilot's answer holds no list of deletions")
    ids = [one.get(name) for one in listed if isinstance(one, dict)]
    return [one for one in ids if isinstance(one, str) and one], token if isinstance(token, str) and token else None


def read_events(body: bytes) -> tuple[list[ReviewEvent], int]:
    """Return the events about product reviews, in order, and how many others or unreadable ones there were.

    The shape is ``{"events": [{"eventName", "eventData": {"id", "stars", "product": {"sku"}, …}}]}``
    ("Webhooks", Trustpilot's documentation). An empty object is the test event of Trustpilot's settings page.
    Trustpilot does not sign them. Raises :class:`Malformed` when the body is nothing like it.
    """
    try:
        given: Any = _WEBHOOK.decode(body).events
    except _REFUSED:
        answer = read_object(body)
        given = answer.get("events") if answer else []
        if not isinstance(given, list):
            raise Malformed("the body holds no list of events") from None
    events = [event for event in map(_event, given) if event is not None]
    return events, len(given) - len(events)


def read_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object, nothing looser than JSON. Raises :class:`Malformed`."""
    with contextlib.suppress(*_REFUSED):
        # Much the faster way. What it refuses is no JSON, or holds a lone surrogate.
        answer = msgspec.json.decode(body)
        if isinstance(answer, dict):
            return answer
    try:
        answer = json.loads(body, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_scrubbed)
    except (ValueError, RecursionError) as error:
        raise Malformed("what Trustpilot sent is not JSON") from error
    if not isinstance(answer, dict):
        raise Malformed("what Trustpilot sent is not a JSON object")
    return answer


def _read_slowly(body: bytes) -> tuple[list[Review], int, Any]:
    """Return the reviews of an answer, how many are unreadable, and its links, looking at each value by itself."""
    answer = read_object(body)
    given = answer.get("productReviews")
    if not isinstance(given, list):
        raise Malformed("Trustpilot's answer holds no list of reviews")
    reviews = [
        msgspec.convert(_fitting(review, _REVIEW_TYPE), Review)
        for review in given
        if isinstance(review, dict) and all(isinstance(review.get(name), str | None) for name in _ESSENTIAL)
    ]
    return reviews, len(given) - len(reviews), answer.get("links")


_REVIEW_TYPE = types.type_info(Review)
_SERVICE_TYPE = types.type_info(ServiceReview)
_EVENT_TYPE = types.type_info(_Event)
_FEED_TYPE = types.type_info(_FeedReview)


def _fitting(value: Any, kind: types.Type, *, wholly: bool = False) -> Any:
    """Return what of ``value`` is of ``kind``, its texts and lists bounded, or :data:`_ODD`.

    Fields that are not fit are left out of an object; ``wholly``: the object with them.
    """
    if isinstance(kind, types.UnionType):
        if value is None:
            return None if any(isinstance(one, types.NoneType) for one in kind.types) else _ODD
        kind = kind.types[0]
    if isinstance(kind, types.StructType):
        if not isinstance(value, dict):
            return _ODD
        given = {field.encode_name: field.type for field in kind.fields if field.encode_name in value}
        read = {name: _fitting(value[name], type_) for name, type_ in given.items()}
        fit = {name: one for name, one in read.items() if one is not _ODD}
        return _ODD if wholly and len(fit) < len(read) else fit
    if isinstance(kind, types.ListType):
        if not isinstance(value, list):
            return _ODD
        items = (_fitting(item, kind.item_type, wholly=True) for item in value[:LONGEST_LIST])
        return [item for item in items if item is not _ODD]
    if isinstance(kind, types.StrType):
        return value[:LONGEST_TEXT] if isinstance(value, str) else _ODD
    # A float holds no greater number, and msgspec reads none.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) <= sys.float_info.max else _ODD


def _event(given: Any) -> ReviewEvent | None:
    event = _read_event(given)
    kind = _KINDS.get(event.event_name) if event else None
    data = event.event_data if event else None
    if kind is None or not data or not data.id:
        return None
    product = data.product or _Product()
    sku, url = (product.sku or "").strip(), product.product_url or None
    if not (sku or url) and kind == "created":
        return None  # nothing is cached that could be found by it
    review = Review(**{name: getattr(data, name) for name in Review.__struct_fields__})
    if data.consumer:
        review.consumer = Consumer(data.consumer.id, data.consumer.display_name or data.consumer.name)
    essential = (data.created_at, data.stars, data.content, data.consumer, data.language)
    # Events often lack these, where the reviews call has them, if only as null or an empty list.
    often_lacking = (data.attribute_ratings, data.attachments, data.first_company_comment)
    whole = all(essential) and UNSET not in often_lacking
    hidden = (data.state or "published").lower() != "published"
    return ReviewEvent(kind, sku or None, data.id, review, hidden, whole, url)


def _read_event(given: Any) -> _Event | None:
    try:
        if isinstance(given, Raw):
            try:
                return _EVENT.decode(given)
            except _REFUSED:
                given = read_object(bytes(given))
        return msgspec.convert(_fitting(given, _EVENT_TYPE), _Event) if isinstance(given, dict) else None
    except Malformed:
        return None


def _leads_on(link: object) -> bool:
    return isinstance(link, dict) and link.get("rel") == "next-page"


def _names_next(links: dict[str, Any]) -> bool:
    """Tell whether an object in the place of the list of links is the next page's link, or holds it."""
    return _leads_on(links) or bool(links.get("next-page")) or any(map(_leads_on, links.values()))


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("a number is out of range")
    return number


def _scrubbed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Replace lone surrogates, which JSON can escape but UTF-8 cannot write."""
    return {_utf8(name): _in_utf8(value) for name, value in pairs}


def _in_utf8(value: Any) -> Any:
    if isinstance(value, str):
        return _utf8(value)
    # The objects in a list have been through here already.
    return [_in_utf8(item) for item in value] if isinstance(value, list) else value


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _summary(summary: dict[str, Any]) -> Summary:
    numbers = summary.get("numberOfReviews")
    average = summary.get("starsAverage")
    if not isinstance(numbers, dict):
        raise Malformed("Trustpilot's summary holds no counts")
    total, *stars = (_count(numbers.get(name)) for name in ("total", *STAR_WORDS))
    if average is not None and (isinstance(average, bool) or not isinstance(average, int | float)):
        raise Malformed("Trustpilot's summary holds no average")
    known = float(average) if average is not None and total and 0 < average <= 5 else None
    return Summary.of_counts(known, total, tuple(stars))


def _count(value: object) -> int:
    """Return a count, also one written ``5.0`` as in Trustpilot's own samples; 0 where there is none."""
    if value is None:
        return 0
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
    if not 0 <= number <= _MOST_COUNTED or number != int(number):
        raise Malformed("Trustpilot's summary holds a count that is none")
    return int(number)
