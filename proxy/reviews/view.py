"""A view: which of a product's reviews a template wants, in which order, and how their text is made ready."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from proxy.reviews.display import ENGLISH, Display
from proxy.reviews.models import UNDATED, Indexed, Source

ALL_STARS = frozenset({1, 2, 3, 4, 5})


@dataclass(frozen=True)
class View:
    """The parameters of the contract's reads that choose and shape reviews."""

    stars: frozenset[int] = ALL_STARS
    languages: frozenset[str] = frozenset()
    """ISO 639-1 codes in lower case; empty means all."""
    limit: int = 3
    sort: Literal["newest", "highest"] = "newest"
    min_chars: int = 1
    max_chars: int | None = None
    since: float = UNDATED
    """The moment before which no review may be written (seconds since the epoch)."""
    with_image: bool = False
    min_reviews: int = 0
    min_average: float | None = None
    fallback: bool = False
    """Whether the shop's own reviews stand in where nothing is found."""
    html: bool = True
    display: Display = ENGLISH
    """Of the texts that the proxy itself writes."""

    def accepts(self, review: Indexed) -> bool:
        """Tell whether ``review`` passes the filters."""
        return (
            review.stars in self.stars
            and (not self.languages or review.language in self.languages)
            and review.chars >= self.min_chars
            and review.written >= self.since
            and (review.image or not self.with_image)
        )

    def is_worth_showing(self, total: int | None, average: float | None) -> bool:
        """Tell whether a product has the reviews and the average asked for. What nobody knows is not enough."""
        if self.min_reviews and (total is None or total < self.min_reviews):
            return False
        return self.min_average is None or (average is not None and average >= self.min_average)

    def with_stars(self, stars: int) -> View:
        """Return the same view over one rating only."""
        return replace(self, stars=frozenset({stars}))

    @property
    def filters(self) -> list[Filter]:
        """Trustpilot's own filters that together list everything this view may accept.

        One call takes several ratings but one language, so there is one filter per language.
        """
        stars = tuple(sorted(self.stars)) if self.stars != ALL_STARS else ()
        if not self.languages:
            return [Filter(stars)]
        return [Filter(stars, language) for language in sorted(self.languages)]


@dataclass(frozen=True)
class Filter:
    """Filters of a reviews call: no ratings means all, no language means all."""

    stars: tuple[int, ...] = ()
    language: str | None = None
    source: Source = "trustpilot"

    @property
    def is_whole(self) -> bool:
        """Whether nothing is filtered out."""
        return not self.stars and self.language is None

    @property
    def name(self) -> str:
        """A short name for cache keys."""
        imported = "" if self.source == "trustpilot" else f".{self.source}"
        return f"{''.join(map(str, self.stars)) or '*'}.{self.language or '*'}{imported}"
