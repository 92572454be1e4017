"""Reads Trustpilot's JSON as untrusted input: what is not as documented never gets past this module."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from proxy.trustpilot.errors import Malformed

RawReview = dict[str, Any]
"""One review in Trustpilot's own shape. ``stars`` is an integer from 1 to 5, ``content`` a string or absent,
``createdAt`` a date that can be read or absent. Of the rest there is at most what :data:`KEPT` lists."""

PER_PAGE = 100
"""The most Trustpilot hands out per call."""

_MOST_COUNTED = 2**53
"""Beyond it JSON's readers no longer count exactly, and no product has so many reviews."""

LONGEST_TEXT = 20_000
"""Characters of one text that are read: several times the longest review, and cheap to clean at every read."""

_LONGEST_LIST = 100
"""Ratings, attachments and files of one review that are read."""

KEPT: Mapping[str, Any] = {
    "id": None,
    "createdAt": None,
    "stars": None,
    "content": None,
    "consumer": {"id": None, "displayName": None},
    "language": None,
    "attributeRatings": [{"attributeId": None, "attributeName": None, "attributeType": None, "rating": None}],
    "attachments": [
        {"id": None, "state": None, "processedFiles": [{"mimeType": None, "dimension": None, "url": None}]},
    ],
    "firstCompanyComment": {"comment": None, "createdAt": None},
}
"""All that is read of a review: the public shape of the reviews call. ``None`` stands for a text, number or truth.

Webhooks and the private API add the reviewer's e-mail address and the order number. As only what is listed is kept,
no field that Trustpilot adds one day can reach the cache, a log or an answer.
"""

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
    if not isinstance(links, list | dict | None):
        raise Malformed("Trustpilot's answer holds no list of links")
    sound = [kept(review) for review in raw if is_sound(review)]
    if raw and not sound:
        raise Malformed("Trustpilot's answer holds no review that can be read")
    if isinstance(links, list):
        has_next = any(map(_leads_on, links))
    else:
        # Without a list of links a full page may have a next one: claiming completeness would be a guess.
        has_next = len(raw) >= per_page or (links is not None and _names_next(links))
    return ReviewsPage(sound, has_next and bool(raw), len(raw) - len(sound))


def kept(review: RawReview) -> RawReview:
    """Return what :data:`KEPT` lists of ``review``, its texts and lists bounded."""
    read = _kept_of(review, KEPT)
    stars = whole(review.get("stars"))
    return read if stars is None else {**read, "stars": stars}


def read_batch_summaries(body: bytes) -> dict[str, SummaryCounts | Malformed]:
    """Read the answer of a batch-summaries call, by SKU. Raises :class:`Malformed` when nothing of it can be read.

    A summary that can't be read is an error in its own SKU's place, so that it fails nobody who shares the call.
    """
    summaries = read_object(body).get("summaries")
    if not isinstance(summaries, list):
        raise Malformed("Trustpilot's answer holds no list of summaries")
    read = {
        summary["sku"]: _counts_or_why_not(summary)
        for summary in summaries
        if isinstance(summary, dict) and isinstance(summary.get("sku"), str)
    }
    odd = [counts for counts in read.values() if isinstance(counts, Malformed)]
    if odd and len(odd) == len(read):
        raise odd[0]
    return read


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


def _leads_on(link: object) -> bool:
    return isinstance(link, dict) and link.get("rel") == "next-page"


def _names_next(links: dict[str, Any]) -> bool:
    """Tell whether an object in the place of the list of links is the next page's link, or holds it."""
    return _leads_on(links) or bool(links.get("next-page")) or any(map(_leads_on, links.values()))


_NOT_KEPT = object()


def _kept_of(given: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    read = {name: _kept_value(given[name], field) for name, field in fields.items() if name in given}
    return {name: value for name, value in read.items() if value is not _NOT_KEPT}


def _kept_value(value: Any, field: Any) -> Any:
    if value is None:
        return None
    if isinstance(field, dict):
        return _kept_of(value, field) if isinstance(value, dict) else _NOT_KEPT
    if isinstance(field, list):
        if not isinstance(value, list):
            return _NOT_KEPT
        return [_kept_of(item, field[0]) for item in value[:_LONGEST_LIST] if isinstance(item, dict)]
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    return value if isinstance(value, int | float) else _NOT_KEPT


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
    """Tell whether :func:`kept` makes of ``review`` what :data:`RawReview` promises."""
    if not isinstance(review, dict):
        return False
    stars = whole(review.get("stars"))
    if stars is None or not 1 <= stars <= 5:
        return False
    if not isinstance(review.get("content"), str | None) or not isinstance(review.get("id"), str | None):
        return False
    try:
        created_at(review)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def whole(value: object) -> int | None:
    """Return a whole number, also one written ``5.0`` as in Trustpilot's own samples, else ``None``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return int(value)


def _counts_or_why_not(summary: dict[str, Any]) -> SummaryCounts | Malformed:
    try:
        return _counts(summary)
    except Malformed as error:
        return error


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
    count = whole(value)
    if count is None or not 0 <= count <= _MOST_COUNTED:
        raise Malformed("Trustpilot's summary holds a count that is none")
    return count
