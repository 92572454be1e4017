"""One business unit's products: which reviews a SKU has, which of them a call asks for, and their summary."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from proxy.sandbox.composing import generated

RATINGS: Mapping[str, int] = {"oneStar": 1, "twoStars": 2, "threeStars": 3, "fourStars": 4, "fiveStars": 5}
"""Trustpilot's names in ``numberOfReviews``."""

_UNDATED = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Generated:
    """A product whose reviews are composed when they are read."""

    sku: str
    count: int


class Products:
    """SKUs and their raw reviews: any JSON at all, since a stand-in must be able to hand out malformed ones.

    Reviews are served newest first by ``createdAt``; those of one moment stay in the order given, those without
    a readable date come last.
    """

    def __init__(self, sample: Mapping[str, list[object]]) -> None:
        self._held: dict[str, list[object] | _Generated] = dict(sample)

    def __contains__(self, sku: str) -> bool:
        return sku in self._held

    def reviews_of(self, sku: str) -> Sequence[object]:
        """Return the reviews of a SKU, newest first; none for a SKU nobody sells."""
        held = self._held.get(sku, [])
        return held if isinstance(held, list) else generated(held.sku, held.count)

    def put(self, sku: str, reviews: Iterable[object]) -> None:
        """Set the reviews of a SKU, given in any order."""
        self._held[sku] = newest_first(reviews)

    def generate(self, products: int, reviews: int, prefix: str = "SKU-") -> list[str]:
        """Add ``products`` of so many believable reviews each; return their SKUs, ``{prefix}1`` onwards."""
        skus = [f"{prefix}{number}" for number in range(1, products + 1)]
        self._held.update({sku: _Generated(sku, reviews) for sku in skus})
        return skus

    def sizes(self) -> dict[str, int]:
        """Return how many reviews each SKU has."""
        return {sku: len(held) if isinstance(held, list) else held.count for sku, held in self._held.items()}


def newest_first(reviews: Iterable[object]) -> list[object]:
    """Return reviews by ``createdAt``, newest first and stable, those without a readable one last."""
    return sorted(reviews, key=_moment, reverse=True)


def matching(reviews: Sequence[object], stars: Collection[int], language: str | None) -> Sequence[object]:
    """Return the reviews a call's filters let through, in their order; an empty ``stars`` lets all pass."""
    if not stars and language is None:
        return reviews
    return [
        review
        for review in reviews
        if isinstance(review, dict)
        and (not stars or _rating(review) in stars)
        and (language is None or review.get("language") == language)
    ]


def summary_of(reviews: Sequence[object]) -> dict[str, object]:
    """Return ``{"starsAverage", "numberOfReviews": {"total", "oneStar", …}}``.

    Only whole ratings from 1 to 5 count. The average has one decimal, halves rounded up, and is 0.0 without reviews.
    """
    ratings = [rating for review in reviews if (rating := _rating(review))]
    total = len(ratings)
    # In whole numbers, since 4.25 is as much 4.2 as 4.3 to a float.
    average = (20 * sum(ratings) + total) // (2 * total) / 10 if total else 0.0
    counts = {name: ratings.count(rating) for name, rating in RATINGS.items()}
    return {"starsAverage": average, "numberOfReviews": {"total": total, **counts}}


def _rating(review: object) -> int:
    """Return 1 to 5, or 0 for what is no rating."""
    stars = review.get("stars") if isinstance(review, dict) else None
    return stars if type(stars) is int and 1 <= stars <= 5 else 0


def _moment(review: object) -> datetime:
    created = review.get("createdAt") if isinstance(review, dict) else None
    if not isinstance(created, str):
        return _UNDATED
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return _UNDATED
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
