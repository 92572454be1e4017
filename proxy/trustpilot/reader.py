"""Reads Trustpilot's JSON as untrusted input: what is not as documented never gets past this module."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from proxy.trustpilot.errors import Malformed

RawReview = dict[str, Any]
"""One review in Trustpilot's own shape. ``stars`` is an integer from 1 to 5, ``content`` a string or absent,
``createdAt`` a date that can be read or absent; anything else may be missing or of any type."""

PER_PAGE = 100
"""The most Trustpilot hands out per call."""

_MOST_COUNTED = 2**53
"""Beyond it JSON's readers no longer count exactly, and no product has so many reviews."""

STAR_WORDS = ("oneStar", "twoStars", "threeStars", "fourStars", "fiveStars")


@dataclass(frozen=True)
class ReviewsPage:
    """One page of a reviews call: the sound reviews, whether more follow, and how many were malformed."""

    reviews: list[RawReview]
    has_next: bool
    malformed: int


@dataclass(frozen=True)
class SummaryCounts:
    """Trustpilot's summary of one product. ``stars`` counts reviews from one star to five."""

    average: float | None
    total: int
    stars: tuple[int, int, int, int, int]


def read_reviews(body: bytes, per_page: int) -> ReviewsPage:
    """Read the answer of a reviews call. Raises :class:`Malformed`."""
    answer = read_object(body)
    raw = answer.get("productReviews")
    if not isinstance(raw, list):
        raise Malformed("Trustpilot's answer holds no list of reviews")
    links = answer.get("links")
    if links is not None and not isinstance(links, list):
        raise Malformed("Trustpilot's answer holds no list of links")
    sound = [review for review in raw if is_sound(review)]
    if raw and not sound:
        raise Malformed("Trustpilot's answer holds no review that can be read")
    if links is None:
        # Without links a full page may have a next one: claiming completeness would be a guess.
        has_next = len(raw) >= per_page
    else:
        has_next = any(isinstance(link, dict) and link.get("rel") == "next-page" for link in links)
    return ReviewsPage(sound, has_next and bool(raw), len(raw) - len(sound))


def read_batch_summaries(body: bytes) -> dict[str, SummaryCounts]:
    """Read the answer of a batch-summaries call, by SKU. Raises :class:`Malformed`."""
    summaries = read_object(body).get("summaries")
    if not isinstance(summaries, list):
        raise Malformed("Trustpilot's answer holds no list of summaries")
    return {
        summary["sku"]: _counts(summary)
        for summary in summaries
        if isinstance(summary, dict) and isinstance(summary.get("sku"), str)
    }


def created_at(review: RawReview) -> datetime | None:
    """Return when ``review`` was written, in UTC, or ``None`` when that is missing."""
    text = review.get("createdAt")
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object, nothing looser than JSON. Raises :class:`Malformed`."""
    try:
        answer = json.loads(body, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_scrubbed)
    except (ValueError, RecursionError) as error:
        raise Malformed("what Trustpilot sent is not JSON") from error
    if not isinstance(answer, dict):
        raise Malformed("what Trustpilot sent is not a JSON object")
    return answer


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


def is_sound(review: object) -> bool:
    """Tell whether ``review`` is what :data:`RawReview` promises."""
    if not isinstance(review, dict):
        return False
    stars = review.get("stars")
    if not isinstance(stars, int) or isinstance(stars, bool) or not 1 <= stars <= 5:
        return False
    if not isinstance(review.get("content"), str | None) or not isinstance(review.get("id"), str | None):
        return False
    try:
        created_at(review)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _counts(summary: dict[str, Any]) -> SummaryCounts:
    numbers = summary.get("numberOfReviews")
    average = summary.get("starsAverage")
    if not isinstance(numbers, dict):
        raise Malformed("Trustpilot's summary holds no counts")
    total, *stars = (_count(numbers.get(name)) for name in ("total", *STAR_WORDS))
    if average is not None and (isinstance(average, bool) or not isinstance(average, int | float)):
        raise Malformed("Trustpilot's summary holds no average")
    known = float(average) if average is not None and total and 0 < average <= 5 else None
    return SummaryCounts(known, total, (stars[0], stars[1], stars[2], stars[3], stars[4]))


def _count(value: object) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_COUNTED:
        raise Malformed("Trustpilot's summary holds a count that is none")
    return value
