"""What tells of changes: a shop's feed, the summaries of all its products, what was deleted, and webhooks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from proxy.clock import Deadline, Priority
from proxy.reviews.models import PER_PAGE, UNDATED, Consumer, FeedItem, Review, ReviewEvent, Text
from proxy.reviews.view import Summary
from proxy.trustpilot import Malformed, NoAccess, Refused, Response
from proxy.trustpilot.circuit_breaker import Call
from proxy.trustpilot.client import REFUSED, Calls, counts_of, fitting, read_list, read_object, value_of
from proxy.trustpilot.private import Token, Tokens

T = TypeVar("T")

SUMMARIES_PER_PAGE = 1000
DELETIONS_PER_PAGE = 1000
NO_ACCESS = "Trustpilot refuses the proxy's access to a shop's private reviews"


class ShopCalls:
    """Calls on the way that all take. A refusal of one of these pauses no other: it says nothing about the key."""

    def __init__(self, calls: Calls, tokens: Tokens, *, api_url: str) -> None:
        self._calls = calls
        self._tokens = tokens
        self._url = f"{api_url}/private/product-reviews/business-units/"

    def feed(self, business_unit: str, page: int, priority: Priority) -> tuple[list[FeedItem], int]:
        """Return page ``page`` (from 1) of all reviews of the shop, and how many it held: 100, or it is the last.

        Raises :class:`~proxy.trustpilot.TrustpilotError`; :class:`NoAccess` when that shop may not be read.
        """
        query = urlencode({"page": page, "perPage": PER_PAGE})
        return self._get(business_unit, "feed", f"reviews?{query}", read_feed, priority)

    def summaries(
        self, business_unit: str, page: int, priority: Priority
    ) -> tuple[Iterator[tuple[str, Summary]], int]:
        """Return the summaries of the shop's products, a thousand a page. Raises as :meth:`feed` does."""
        query = urlencode({"page": page, "perPage": SUMMARIES_PER_PAGE})
        return self._get(business_unit, "shop_summaries", f"summaries?{query}", read_shop_summaries, priority)

    def _get(self, business_unit: str, kind: str, path: str, read: Callable[[bytes], T], priority: Priority) -> T:
        url = f"{self._url}{quote(business_unit, safe='')}/{path}"
        return self._calls.ask(
            Call(business_unit, kind, frozenset([path])),
            lambda deadline: self._authorized(url, deadline),
            read,
            priority,
        )

    def _authorized(self, url: str, deadline: Deadline) -> Response:
        def send(token: Token) -> Response:
            headers = {"Authorization": f"Bearer {token.text}", "Accept": "application/json"}
            return self._calls.transport.send("GET", url, headers=headers, deadline=deadline)

        try:
            response = self._tokens.authorized(send, deadline)
        except Refused as error:
            raise NoAccess(str(error)) from error
        _check_access(response, NO_ACCESS)
        return response


class DeletionCalls:
    """Lists what people had deleted. These calls cost nothing of the plan."""

    def __init__(self, calls: Calls, *, api_url: str, api_key: str) -> None:
        self._calls = calls
        self._url = api_url
        self._headers: Mapping[str, str] = {"apikey": api_key, "Accept": "application/json"}

    def reviews(self, since: float, token: str | None) -> tuple[list[str], str | None]:
        """Return ids of reviews deleted since a moment, up to a thousand, and the token of the next page."""
        return self._list("reviews", "reviewId", since, token)

    def consumers(self, since: float, token: str | None) -> tuple[list[str], str | None]:
        """Return ids of consumers deleted since a moment, as :meth:`reviews` does."""
        return self._list("consumers", "consumerId", since, token)

    def _list(self, members: str, name: str, since: float, token: str | None) -> tuple[list[str], str | None]:
        start = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        query = {"startDate": start, "limit": str(DELETIONS_PER_PAGE), **({"nextToken": token} if token else {})}
        url = f"{self._url}/{members}/deletions?{urlencode(query)}"

        def send(deadline: Deadline) -> Response:
            response = self._calls.transport.send("GET", url, headers=self._headers, deadline=deadline)
            _check_access(response, "Trustpilot refuses its list of deletions")
            return response

        return self._calls.ask(
            Call("", f"deleted_{members}", frozenset([token or ""])),
            send,
            lambda body: read_deletions(body, members, name),
            Priority.FEED,
            free=True,
        )


def _check_access(response: Response, refused: str) -> None:
    if response.status in (401, 403) and not response.is_firewall_page:
        raise NoAccess(f"{refused} with {response.status}")


_KINDS: dict[object, Literal["created", "updated", "deleted"]] = {
    "product-review-created": "created",
    "product-review-updated": "updated",
    "product-review-deleted": "deleted",
}


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


_FEED = msgspec.json.Decoder(_Feed)
_SUMMARIES = msgspec.json.Decoder(_Summaries)
_WEBHOOK = msgspec.json.Decoder(_Webhook)
_EVENT = msgspec.json.Decoder(_Event)


def read_feed(body: bytes) -> tuple[list[FeedItem], int]:
    """Read a page of a shop's private list; tell too how many reviews it held.

    The reviewer's address and the order number, which that list adds, are no fields of a :class:`Review`. What names
    no product is left out. Raises :class:`Malformed`.
    """
    try:
        reviews = _FEED.decode(body).product_reviews
        given = len(reviews)
    except REFUSED:
        listed = read_list(read_object(body), "productReviews", "reviews")
        given = len(listed)
        reviews = [fitting(review, _FeedReview) for review in listed if isinstance(review, dict)]
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
        listed: list[Any] = list(_SUMMARIES.decode(body).summaries)
    except REFUSED:
        listed = read_list(read_object(body), "summaries", "summaries")
    return _summaries(listed), len(listed)


def _summaries(listed: Sequence[object]) -> Iterator[tuple[str, Summary]]:
    for given in listed:
        summary = value_of(given) if isinstance(given, Raw) else given
        if isinstance(summary, dict) and isinstance(sku := summary.get("sku"), str):
            with contextlib.suppress(Malformed):
                yield sku, counts_of(summary)


def read_deletions(body: bytes, members: str, name: str) -> tuple[list[str], str | None]:
    """Return what the list ``members`` has under ``name``, and the next page's token. Raises :class:`Malformed`."""
    answer = read_object(body)
    listed, token = read_list(answer, members, "deletions"), answer.get("nextToken")
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
    except REFUSED:
        answer = read_object(body)
        given = answer.get("events") if answer else []
        if not isinstance(given, list):
            raise Malformed("the body holds no list of events") from None
    events = [event for event in map(_event, given) if event is not None]
    return events, len(given) - len(events)


def _event(given: Any) -> ReviewEvent | None:
    event = _read_event(given)
    kind = _KINDS.get(event.event_name) if event else None
    data = event.event_data if event else None
    if kind is None or not data:
        return None
    product = data.product or _Product()
    sku, url = (product.sku or "").strip(), product.product_url or None
    if not (sku or url or (data.id and kind != "created")):
        return None  # nothing is cached that could be found by it
    review = Review(**{name: getattr(data, name) for name in Review.__struct_fields__})
    review.id = data.id or None
    if data.consumer:
        review.consumer = Consumer(data.consumer.id, data.consumer.display_name or data.consumer.name)
    essential = (data.created_at, data.stars, data.content, data.consumer, data.language)
    # Events often lack these, where the reviews call has them, if only as null or an empty list.
    often_lacking = (data.attribute_ratings, data.attachments, data.first_company_comment)
    whole = all(essential) and UNSET not in often_lacking
    hidden = (data.state or "published").lower() != "published"
    return ReviewEvent(kind, sku or None, data.id or "", review, hidden, whole, url)


def _read_event(given: Any) -> _Event | None:
    try:
        if isinstance(given, Raw):
            try:
                return _EVENT.decode(given)
            except REFUSED:
                given = read_object(bytes(given))
        return fitting(given, _Event) if isinstance(given, dict) else None
    except Malformed:
        return None
