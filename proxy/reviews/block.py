"""The trimmed shape: one product block of the contract."""

from __future__ import annotations

from typing import Any

from proxy.reviews.models import Review
from proxy.reviews.summary import Summary
from proxy.reviews.text import clean, cut, escape_html, stars_icons
from proxy.reviews.view import View

_HIGHEST = 1e6
"""What is beyond it is no rating."""


def product_block(sku: str, summary: Summary | None, reviews: list[Review], view: View) -> dict[str, Any]:
    """Return the answer of ``/v1/reviews``; ``summary`` is ``None`` when it could not be had."""
    return {
        "sku": sku,
        "found": bool(reviews),
        "count": len(reviews),
        "summary": summary.trimmed() if summary else None,
        "reviews": [_trimmed(review, view) for review in reviews],
    }


def failed_block(sku: str, error: str) -> dict[str, Any]:
    """Return the block of a product that could not be had."""
    return {"sku": sku, "found": False, "count": 0, "summary": None, "reviews": [], "error": error}


def _trimmed(review: Review, view: View) -> dict[str, Any]:
    def ready(text: object) -> str:
        cleaned = clean(text)
        return escape_html(cleaned) if view.html else cleaned

    moment = review.moment
    content, truncated = cut(clean(review.content), view.max_chars)
    return {
        "id": ready(review.id) or None,
        "stars": review.stars,
        "stars_icons": stars_icons(review.stars),
        "content": escape_html(content) if view.html else content,
        "truncated": truncated,
        "author": ready(review.consumer.display_name) if review.consumer else "",
        "date": moment.date().isoformat() if moment else None,
        "created_at": moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z" if moment else None,
        "language": ready(review.language) or None,
        "reply": ready(review.first_company_comment.comment) or None if review.first_company_comment else None,
        "image": ready(review.image) or None,
        "attributes": [
            {"name": ready(rating.attribute_name), "rating": rating.rating}
            for rating in review.attribute_ratings or ()
            if clean(rating.attribute_name) and isinstance(rating.rating, float) and abs(rating.rating) < _HIGHEST
        ],
    }
