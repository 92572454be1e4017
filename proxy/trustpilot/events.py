"""Reads what Trustpilot's webhooks send, as untrusted input: Trustpilot does not sign them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from proxy.trustpilot.errors import Malformed
from proxy.trustpilot.reader import RawReview, is_sound, kept, read_object

_KINDS: dict[str, Literal["created", "updated", "deleted"]] = {
    "product-review-created": "created",
    "product-review-updated": "updated",
    "product-review-deleted": "deleted",
}
_OFTEN_UNTOLD = ("language", "attributeRatings", "attachments", "firstCompanyComment")
"""What Trustpilot's events lack of a review, where the reviews call has it."""


@dataclass(frozen=True)
class ReviewEvent:
    """One review of one product came, changed, or went.

    ``review`` holds what the event tells of it, in the shape of a reviews call; ``hidden`` that it is not published;
    ``whole`` that the reviews call would tell no more of it. Without a ``sku`` it has to be looked up by its id.
    """

    kind: Literal["created", "updated", "deleted"]
    sku: str | None
    review_id: str
    review: RawReview
    hidden: bool
    whole: bool


def read_events(body: bytes) -> tuple[list[ReviewEvent], int]:
    """Return the events about product reviews, in order, and how many others or unreadable ones there were.

    The shape is ``{"events": [{"eventName", "eventData": {"id", "stars", "product": {"sku"}, …}}]}``
    ("Webhooks", Trustpilot's documentation). An empty object is the test event of Trustpilot's settings page. Raises
    :class:`Malformed` when the body is nothing like it.
    """
    answer = read_object(body)
    if not answer:
        return [], 0
    listed = answer.get("events")
    if not isinstance(listed, list):
        raise Malformed("the body holds no list of events")
    events = [event for event in map(_event, listed) if event is not None]
    return events, len(listed) - len(events)


def _event(given: Any) -> ReviewEvent | None:
    if not isinstance(given, dict) or not isinstance(data := given.get("eventData"), dict):
        return None
    kind = _KINDS.get(str(given.get("eventName")))
    told = _told(data)
    review_id = told.get("id")
    if kind is None or not isinstance(review_id, str) or not review_id:
        return None
    product = data.get("product")
    named = product.get("sku") if isinstance(product, dict) else None
    sku = named.strip() if isinstance(named, str) else ""
    if not sku and kind == "created":
        return None  # nothing is held of it that could be found
    hidden = str(data.get("state") or "published").lower() != "published"
    whole = "language" in told and all(name in data for name in _OFTEN_UNTOLD)
    return ReviewEvent(kind, sku or None, review_id, told, hidden, whole)


def _told(data: dict[str, Any]) -> RawReview:
    """Return what an event tells of a review; what is null in it is not told."""
    consumer = data.get("consumer")
    if isinstance(consumer, dict) and consumer.get("displayName") is None:
        # Events and the reviews call differ in the author's name.
        data = {**data, "consumer": {**consumer, "displayName": consumer.get("name")}}
    told = {name: value for name, value in kept(data).items() if value is not None}
    if "consumer" in told:
        told["consumer"] = {name: value for name, value in told["consumer"].items() if value is not None}
    return told


def tells_enough(review: RawReview) -> bool:
    """Tell whether a review can be shown from what is known of it."""
    return is_sound(review) and all(review.get(name) is not None for name in ("id", "stars", "content", "createdAt"))
