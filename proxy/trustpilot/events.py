"""Reads what Trustpilot's webhooks send, as untrusted input: Trustpilot does not sign them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from proxy.trustpilot.errors import Malformed
from proxy.trustpilot.reader import RawReview, is_sound, read_object

_KINDS: dict[str, Literal["created", "updated", "deleted"]] = {
    "product-review-created": "created",
    "product-review-updated": "updated",
    "product-review-deleted": "deleted",
}
_NOT_OF_A_REVIEW = ("product", "state")


@dataclass(frozen=True)
class ReviewEvent:
    """One review of one product came, changed, or went.

    ``review`` holds what the event tells of it, in the shape of a reviews call; ``hidden`` that it is not published.
    """

    kind: Literal["created", "updated", "deleted"]
    sku: str
    review_id: str
    review: RawReview
    hidden: bool


def read_events(body: bytes) -> tuple[list[ReviewEvent], int]:
    """Return the events about product reviews, in order, and how many others or unreadable ones there were.

    The shape is ``{"events": [{"eventName", "eventData": {"id", "stars", "product": {"sku"}, …}}]}``
    ("Webhooks", Trustpilot's documentation). Raises :class:`Malformed` when the body is nothing like it.
    """
    listed = read_object(body).get("events")
    if not isinstance(listed, list):
        raise Malformed("the body holds no list of events")
    events = [event for event in map(_event, listed) if event is not None]
    return events, len(listed) - len(events)


def _event(given: Any) -> ReviewEvent | None:
    if not isinstance(given, dict) or not isinstance(data := given.get("eventData"), dict):
        return None
    kind = _KINDS.get(str(given.get("eventName")))
    product = data.get("product")
    sku = product.get("sku") if isinstance(product, dict) else None
    review_id = data.get("id")
    if kind is None or not isinstance(sku, str) or not sku.strip() or not isinstance(review_id, str) or not review_id:
        return None
    told = {name: value for name, value in data.items() if name not in _NOT_OF_A_REVIEW and value is not None}
    hidden = str(data.get("state") or "published").lower() != "published"
    return ReviewEvent(kind, sku.strip(), review_id, told, hidden)


def tells_enough(review: RawReview) -> bool:
    """Tell whether a review can be shown from what is known of it."""
    return is_sound(review) and all(review.get(name) is not None for name in ("id", "stars", "content", "createdAt"))
