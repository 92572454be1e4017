"""A product's stars: how many of each, and their average to one decimal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from proxy.reviews.answers import Counts, TrustpilotSummary
from proxy.reviews.models import Indexed

STAR_WORDS = ("oneStar", "twoStars", "threeStars", "fourStars", "fiveStars")
"""Trustpilot's names of the counts."""


@dataclass(frozen=True)
class Summary:
    """``stars`` counts reviews from one star to five; ``average`` has one decimal, ``None`` without reviews."""

    average: float | None
    total: int
    stars: tuple[int, ...]

    @classmethod
    def of_reviews(cls, reviews: Iterable[Indexed]) -> Summary:
        """Count a complete list of reviews."""
        stars = stars_of(reviews)
        return cls(_mean(stars), sum(stars), stars)

    @classmethod
    def of_counts(cls, average: float | None, total: int, stars: tuple[int, ...]) -> Summary:
        """Take over Trustpilot's own summary, its average rounded as ours is."""
        if not total:
            return cls(None, 0, stars)
        if average is not None and average == round(average, 1):
            # As Trustpilot gives them: a thousand at a time are read while others wait.
            return cls(average, total, stars)
        return cls(_mean(stars) if average is None else _round(Decimal(repr(average))), total, stars)

    @classmethod
    def merged(cls, summaries: list[Summary]) -> Summary:
        """Return the summary of several variants as one product."""
        if len(summaries) == 1:
            return summaries[0]
        stars = [sum(column) for column in zip(*(summary.stars for summary in summaries), strict=True)]
        total = sum(summary.total for summary in summaries)
        if sum(stars) == total:
            return cls(_mean(stars), total, tuple(stars))
        # Trustpilot's counts do not add up: its averages are then all there is to go by.
        known = [(Decimal(repr(s.average)), s.total) for s in summaries if s.average is not None and s.total]
        weight = sum(count for _, count in known)
        average = _round(sum((a * n for a, n in known), Decimal(0)) / weight) if weight else None
        return cls(average, total, tuple(stars))

    def encode(self) -> bytes:
        """Return the summary as JSON."""
        return json.dumps([self.average, self.total, self.stars]).encode()

    @classmethod
    def decode(cls, value: bytes) -> Summary:
        """Read what :meth:`encode` wrote."""
        average, total, stars = json.loads(value)
        return cls(average, total, tuple(stars))

    def in_trustpilots_shape(self) -> TrustpilotSummary:
        """Return Trustpilot's own summary object."""
        return {"starsAverage": self.average or 0, "numberOfReviews": trustpilots_counts(self.total, *self.stars)}


def stars_of(reviews: Iterable[Indexed]) -> tuple[int, ...]:
    """Count ``reviews`` by their stars. One that is listed twice, as under two variants, counts once."""
    # Backwards, so that of two under one id the first counts.
    listed = list(enumerate(reviews))[::-1]
    given = list({number if review.id is None else review.id: review.stars for number, review in listed}.values())
    return tuple(map(given.count, range(1, 6)))


def trustpilots_counts(total: int, one: int, two: int, three: int, four: int, five: int) -> Counts:
    """Return how many reviews there are, by Trustpilot's own names."""
    return {
        "total": total,
        "oneStar": one,
        "twoStars": two,
        "threeStars": three,
        "fourStars": four,
        "fiveStars": five,
    }


NOTHING = Summary(None, 0, (0, 0, 0, 0, 0))


def _mean(stars: Iterable[int]) -> float | None:
    counted = list(enumerate(stars, start=1))
    total = sum(count for _, count in counted)
    return _round(Decimal(sum(star * count for star, count in counted)) / total) if total else None


def _round(average: Decimal) -> float:
    return float(average.quantize(Decimal("0.1"), ROUND_HALF_UP))
