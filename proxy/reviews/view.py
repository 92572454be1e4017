"""A view: which of a product's reviews a template wants, and the block that is made of them.

The proxy itself writes stars, numbers, dates, and which reviews are shown. ``display.toml`` holds the sentences, for
translators; numbers and dates are Unicode's (CLDR, by Babel).
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from importlib import resources
from itertools import chain
from typing import Any, Literal, NamedTuple, Protocol

from babel import Locale
from babel.dates import format_skeleton
from babel.numbers import format_decimal

from proxy.clock import Now
from proxy.reviews.answers import Block, Counts, Rating, ShownReview, TrustpilotSummary
from proxy.reviews.models import UNDATED, Indexed, Review, Source, cut_ready, ready

_FILE: dict[str, Any] = tomllib.loads(resources.files(__package__).joinpath("display.toml").read_text("utf-8"))
_TEXTS: dict[str, dict[str, Any]] = _FILE["texts"]
_KNOWN: dict[str, str] = {tag.lower(): tag for tag in _FILE["numbers_and_dates"]} | _FILE["same_as"]
"""Which of Babel's locales a tag in lower case means.

Babel keeps about 200 KB for each locale that it ever wrote in, for good: a caller is not to have it keep all of its
thousand.
"""

_LONGEST_TAG = 35
"""Characters: what BCP 47 (RFC 5646, 4.4.1) wants a reader of tags to take at least."""


@dataclass(frozen=True)
class Display:
    """One language that the proxy writes in. :func:`display_in` returns it for a tag."""

    tag: str
    """BCP 47: of the numbers and dates."""
    sentences_tag: str
    """The language of the sentences, BCP 47: English where there is no translation."""
    right_to_left: bool
    """Whether the language is written so; the sentences never are."""
    _locale: Locale
    _sentences_locale: Locale
    _sentences: Mapping[str, Any]
    """One section of ``display.toml``."""

    def number(self, value: int | float, pattern: str | None = None) -> str:
        """Return ``value`` as the language writes it: 1153 → ``1.153``."""
        return _number(self._locale, value, pattern)

    def average(self, average: float | None) -> str:
        """Return an average with one decimal, ``""`` for none: 4.7 → ``4,7``."""
        return "" if average is None else self.number(average, "0.0")

    def date(self, day: date | None) -> str:
        """Return a day, ``""`` for none: ``14. Okt. 2024``."""
        return "" if day is None else _date(self._locale, day)

    def stars_alt(self, stars: float | None) -> str:
        """Return the text in place of a stars picture, ``""`` for none: ``4.5 out of 5 stars``."""
        return "" if stars is None else self._counted("stars_alt", "{stars}", stars, "0.#")

    def label(self, stars: float | None) -> str:
        """Return Trustpilot's word for a rating in half stars, ``""`` for none: 4.5 → ``Excellent``, 4 → ``Great``.

        Source: Trustpilot, "TrustScore and star rating explained".
        """
        if not stars:
            return ""
        # From 4½ on it is the best word, but for the others whole stars count: 3½ are the third, as 3 are.
        return str(self._sentences["labels"][4 if stars >= 4.5 else max(1, int(stars)) - 1])

    def total(self, count: int) -> str:
        """Return how many reviews there are in all: ``1,153 reviews``."""
        return self._counted("total", "{count}", count)

    def disclosure(self, stars: Collection[int], sort: Literal["newest", "highest"]) -> str:
        """Return which reviews are shown: ``Showing our 4 & 5 star reviews``.

        Source: Trustpilot, "Service Review Integration Guidelines", 2.7: say which reviews are displayed.
        """
        text = self._sentences
        if set(stars) >= {1, 2, 3, 4, 5}:
            which = text["latest"]
        else:
            *first, last = map(str, sorted(stars))
            joined = text["and"].join([text["comma"].join(first), last]) if first else last
            form = "one" if set(stars) == {1} and "one" in text["only"] else "other"
            which = text["only"][form].replace("{stars}", joined)
        return str(text["best_first"].replace("{which}", which) if sort == "highest" else which)

    def text(self, name: Literal["link", "photo"]) -> str:
        """Return a sentence that nothing is filled into."""
        return str(self._sentences[name])

    def _counted(self, name: str, variable: str, count: float, pattern: str | None = None) -> str:
        forms: Mapping[str, str] = self._sentences[name]
        # A German sentence for Switzerland has Swiss numbers; an English one beside French dates has English ones.
        own = self._locale.language == self._sentences_locale.language
        number = _number(self._locale if own else self._sentences_locale, count, pattern)
        return forms.get(_plural_form(self._sentences_locale, count), forms["other"]).replace(variable, number)


def display_in(tag: str) -> Display:
    """Return the language that ``tag`` (BCP 47, ``de-DE`` or ``de``) names, English for what is not known."""
    tag = tag.strip()
    return _display(tag.lower().replace("_", "-")) if len(tag) <= _LONGEST_TAG else ENGLISH


@lru_cache(maxsize=256)
def _display(tag: str) -> Display:
    """``tag`` is in lower case. A country, script or variant that is not known leaves what stands before it."""
    known = tag
    while known and known not in _KNOWN:
        known = known.rpartition("-")[0]
    return _known_display(_KNOWN.get(known, "en"))


@lru_cache(maxsize=len(_KNOWN))
def _known_display(tag: str) -> Display:
    locale = Locale.parse(tag, sep="-")
    language = locale.language if locale.language in _TEXTS else "en"
    right_to_left = locale.text_direction == "rtl"
    return Display(tag, language, right_to_left, locale, Locale.parse(language), _TEXTS[language])


def languages() -> list[str]:
    """Return the languages that there are sentences in, English first."""
    return list(_TEXTS)


@lru_cache(maxsize=4096)
def _number(locale: Locale, value: int | float, pattern: str | None) -> str:
    # Newer versions of CLDR write Swiss thousands with the apostrophe that ends an attribute in HTML.
    return format_decimal(value, format=pattern, locale=locale).replace("'", "’")


@lru_cache(maxsize=4096)
def _plural_form(locale: Locale, count: float) -> str:
    # As a decimal: to CLDR's rules 1.0 and 1 are not the same number.
    return str(locale.plural_form(Decimal(f"{count:g}")))


@lru_cache(maxsize=4096)
def _date(locale: Locale, day: date) -> str:
    return format_skeleton("yMMMd", day, locale=locale)


ENGLISH = _known_display("en")


@lru_cache(maxsize=256)
def stars_in_halves(average: float) -> float:
    """Return ``average`` in half stars as Trustpilot rounds it: 4.3 to 4.7 are 4.5, from 4.8 on it is 5.

    Source: Trustpilot, "TrustScore explained" and its API's pictures, of which there are ten.
    """
    # Decimal, as 4.3 is a little less than that to a float.
    halves = math.floor(2 * Decimal(repr(average)) + Decimal("0.5"))
    return min(10, max(0, halves)) / 2


def stars_icons(stars: float) -> str:
    """Return five signs that show half stars: 4.5 → ``★★★★½``, 3 → ``★★★☆☆``.

    ``½`` because Unicode's half star is missing on most phones.
    """
    full, half = int(stars), stars % 1 >= 0.5
    return "★" * full + "½" * half + "☆" * (5 - full - half)


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
    def together(cls, encoded: Sequence[bytes], counted: Sequence[Iterable[Indexed]]) -> Summary:
        """Return the summary of several lists as one product: of those summed up by Trustpilot, and of whole ones."""
        parts = [cls.decode(each) for each in encoded]
        if counted or not parts:
            # Together, as a review that is listed under several variants counts once.
            parts.append(cls.of_reviews(chain.from_iterable(counted)))
        return cls.merged(parts)

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
        return json.dumps([self.average, self.total, self.stars]).encode()

    @classmethod
    def decode(cls, value: bytes) -> Summary:
        """Read what :meth:`encode` wrote."""
        average, total, stars = json.loads(value)
        return cls(average, total, tuple(stars))

    def in_trustpilots_shape(self) -> TrustpilotSummary:
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


_HIGHEST = 1e6
"""What is beyond it is no rating."""


class BrandAssets(Protocol):
    """Addresses that are known by now. Nothing is ever waited for."""

    def stars_image(self, stars: float) -> str | None:
        """Return the address of Trustpilot's own picture of half stars, 256×48."""

    def shop_page(self, business_unit: str) -> str | None:
        """Return the address of the business unit's page at Trustpilot."""


class KnownAsset(NamedTuple):
    """An address, ``None`` where Trustpilot has nothing, and until when that need not be asked again."""

    address: str | None
    until: float


class KnownAssets:
    """Those of ``names`` that are known. Whoever brings addresses finds in ``wanted`` what was asked for in vain."""

    def __init__(self, names: Iterable[str], now: Now) -> None:
        self.names = frozenset(names)
        self.addresses: dict[str, KnownAsset] = {}
        self.wanted: set[str] = set()
        self._now = now

    def stars_image(self, stars: float) -> str | None:
        return self._look(f"stars/{stars:g}")

    def shop_page(self, business_unit: str) -> str | None:
        return self._look(f"page/{business_unit}")

    def _look(self, name: str) -> str | None:
        known = self.addresses.get(name)
        if (known is None or known.until <= self._now()) and name in self.names:
            self.wanted.add(name)
        return known.address if known else None


def product_block(
    sku: str,
    summary: Summary | None,
    reviews: list[tuple[Review, Source]],
    view: View,
    assets: BrandAssets,
    business_unit: str,
) -> Block:
    """Return the answer of ``/v1/reviews``; ``summary`` is ``None`` when it could not be had."""
    return {
        "sku": sku,
        "found": bool(reviews),
        "count": len(reviews),
        "scope": "product",
        "summary": trimmed_summary(summary, view.display, assets) if summary else None,
        "reviews": [trimmed_review(review, source, view) for review, source in reviews],
        "disclosure": view.display.disclosure(view.stars, view.sort) if reviews else "",
        "links": {"trustpilot": assets.shop_page(business_unit)},
    }


def failed_block(sku: str, error: str, assets: BrandAssets, business_unit: str) -> Block:
    """Return the block of a product that could not be had."""
    return {**product_block(sku, None, [], View(), assets, business_unit), "error": error}


def trimmed_summary(summary: Summary, display: Display, assets: BrandAssets) -> Rating:
    """Return the contract's summary object."""
    average = summary.average
    one, two, three, four, five = summary.stars
    stars = None if average is None else stars_in_halves(average)
    return {
        "average": average,
        "average_text": display.average(average),
        "stars": stars,
        "stars_icons": "" if stars is None else stars_icons(stars),
        "stars_alt": display.stars_alt(stars),
        "stars_image": None if stars is None else assets.stars_image(stars),
        "total": summary.total,
        "total_text": display.number(summary.total),
        "distribution": {
            "five_stars": five,
            "four_stars": four,
            "three_stars": three,
            "two_stars": two,
            "one_star": one,
        },
    }


def trimmed_review(review: Review, source: Source, view: View) -> ShownReview:
    """Return one of the contract's reviews."""
    html, moment, reply = view.html, review.moment, review.first_company_comment
    day = moment.date() if moment else None
    content, truncated = cut_ready(review.content, view.max_chars, html=html)
    return {
        "id": ready(review.id, html=html) or None,
        "stars": int(review.stars),
        "stars_icons": stars_icons(review.stars),
        "source": source,
        "content": content,
        "truncated": truncated,
        "author": ready(review.consumer.display_name, html=html) if review.consumer else "",
        "date": day.isoformat() if day else None,
        "date_text": view.display.date(day),
        "created_at": moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z" if moment else None,
        "language": ready(review.language, html=html) or None,
        "reply": ready(reply.comment, html=html) or None if reply else None,
        "image": ready(review.image, html=html) or None,
        "attributes": [
            {"name": name, "rating": rating.rating}
            for rating in review.attribute_ratings or ()
            if isinstance(rating.rating, float)
            and abs(rating.rating) < _HIGHEST
            and (name := ready(rating.attribute_name, html=html))
        ],
    }
