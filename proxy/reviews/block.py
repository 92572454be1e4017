"""The trimmed shape: one product block of the contract."""

from __future__ import annotations

import re
from typing import Any

from proxy.reviews.summary import Summary
from proxy.reviews.text import clean, cut, escape_html, stars_icons
from proxy.reviews.view import View
from proxy.trustpilot import RawReview
from proxy.trustpilot.reader import created_at

_SENSIBLE_WIDTH = 360
"""Pixels: wide enough for a phone and for a column of an e-mail, and small enough to load in both."""

_SHOWN_STATES = ("ready", "approved", "published")
"""States of an attachment that Trustpilot shows. Others are being processed or moderated, or were refused."""

_PICTURE_NAME = re.compile(r"\.(?:jpe?g|png|gif|webp)$", re.IGNORECASE)


def product_block(sku: str, summary: Summary | None, reviews: list[RawReview], view: View) -> dict[str, Any]:
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


def _trimmed(review: RawReview, view: View) -> dict[str, Any]:
    def ready(text: object) -> str:
        cleaned = clean(text)
        return escape_html(cleaned) if view.html else cleaned

    moment = created_at(review)
    content, truncated = cut(clean(review.get("content")), view.max_chars)
    consumer = review.get("consumer")
    reply = review.get("firstCompanyComment")
    image = _image(review.get("attachments"))
    return {
        "id": ready(review.get("id")) or None,
        "stars": review["stars"],
        "stars_icons": stars_icons(review["stars"]),
        "content": escape_html(content) if view.html else content,
        "truncated": truncated,
        "author": ready(consumer.get("displayName")) if isinstance(consumer, dict) else "",
        "date": moment.date().isoformat() if moment else None,
        "created_at": moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z" if moment else None,
        "language": ready(review.get("language")) or None,
        "reply": (ready(reply.get("comment")) or None) if isinstance(reply, dict) else None,
        "image": ready(image) if image else None,
        "attributes": [
            {"name": ready(rating.get("attributeName")), "rating": float(rating["rating"])}
            for rating in _dicts(review.get("attributeRatings"))
            if clean(rating.get("attributeName")) and _is_number(rating.get("rating"))
        ],
    }


def _image(attachments: object) -> str | None:
    """Return the address of the smallest image of at least the sensible width, else of the widest one."""
    widths: list[tuple[int, str]] = []
    for attachment in _dicts(attachments):
        if not _is_shown(attachment.get("state")):
            continue
        for file in _dicts(attachment.get("processedFiles")):
            url = file.get("url")
            if not isinstance(url, str) or not re.match(r"https?://[^\s/]", url):
                continue  # javascript:, data: and the like have no place in a message
            if not _is_picture(file.get("mimeType"), url):
                continue
            width = re.match(r"(\d{1,5})px", str(file.get("dimension")))
            widths.append((int(width[1]) if width else 0, url))
        if widths:
            break
    wide_enough = [image for image in widths if image[0] >= _SENSIBLE_WIDTH]
    if wide_enough:
        return min(wide_enough, key=lambda image: image[0])[1]
    return max(widths, key=lambda image: image[0])[1] if widths else None


def _is_shown(state: object) -> bool:
    # Not every answer tells the state; the reviews call lists published reviews only.
    return state is None or (isinstance(state, str) and state.lower() in _SHOWN_STATES)


def _is_picture(kind: object, url: str) -> bool:
    """Tell whether a file is a picture: by its type, or by its name where it tells no type."""
    if isinstance(kind, str) and kind:
        return kind.lower().startswith("image/")
    return bool(_PICTURE_NAME.search(re.split("[?#]", url, maxsplit=1)[0]))


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6
