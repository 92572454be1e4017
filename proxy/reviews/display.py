"""What the proxy itself writes beside the reviews: stars, numbers, dates, and which reviews are shown.

``display.toml`` holds the sentences, for translators; numbers and dates are Unicode's (CLDR, by Babel).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

from babel import Locale
from babel.dates import format_skeleton
from babel.numbers import format_decimal

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
    right_to_left: bool
    """Whether the language is written so; the sentences never are."""
    _locale: Locale
    _sentences: _Sentences

    def number(self, value: int | float, pattern: str | None = None) -> str:
        """Return ``value`` as the language writes it: 1153 → ``1.153``."""
        return _number(self._locale, value, pattern)

    def average(self, average: float | None) -> str:
        """Return an average with one decimal, ``""`` for none: 4.7 → ``4,7``."""
        return "" if average is None else self.number(average, "0.0")

    def date(self, day: date | None) -> str:
        """Return a day, ``""`` for none: ``14. Okt. 2024``."""
        return "" if day is None else _date(self._locale, day)

    @property
    def sentences_tag(self) -> str:
        """The language of the sentences, BCP 47: English where there is no translation."""
        return self._sentences.tag

    def stars_alt(self, stars: float | None) -> str:
        """Return the text in place of a stars picture, ``""`` for none: ``4.5 out of 5 stars``."""
        if stars is None:
            return ""
        written = self._sentences.number(self, stars, "0.#")
        return self._sentences.form("stars_alt", stars).replace("{stars}", written)

    def label(self, stars: float | None) -> str:
        """Return Trustpilot's word for a rating in half stars, ``""`` for none: 4.5 → ``Excellent``, 4 → ``Great``.

        Source: Trustpilot, "TrustScore and star rating explained".
        """
        return self._sentences.label(stars) if stars else ""

    def total(self, count: int) -> str:
        """Return how many reviews there are in all: ``1,153 reviews``."""
        return self._sentences.form("total", count).replace("{count}", self._sentences.number(self, count))

    def disclosure(self, stars: Collection[int], sort: Literal["newest", "highest"]) -> str:
        """Return which reviews are shown: ``Showing our 4 & 5 star reviews``.

        Source: Trustpilot, "Service Review Integration Guidelines", 2.7: say which reviews are displayed.
        """
        return self._sentences.disclosure(tuple(sorted(stars)), sort)

    def text(self, name: Literal["link", "photo"]) -> str:
        """Return a sentence that nothing is filled into."""
        return self._sentences.text(name)


@dataclass(frozen=True)
class _Sentences:
    """One section of ``display.toml``."""

    tag: str
    _locale: Locale
    _texts: Mapping[str, Any]

    def text(self, name: str) -> str:
        return str(self._texts[name])

    def label(self, stars: float) -> str:
        # From 4½ on it is the best word, but for the others whole stars count: 3½ are the third, as 3 are.
        words: Sequence[str] = self._texts["labels"]
        return words[4 if stars >= 4.5 else max(1, int(stars)) - 1]

    def form(self, name: str, count: float) -> str:
        forms: Mapping[str, str] = self._texts[name]
        return forms.get(_plural_form(self._locale, count), forms["other"])

    def number(self, display: Display, value: int | float, pattern: str | None = None) -> str:
        # A German sentence for Switzerland has Swiss numbers; an English one beside French dates has English ones.
        own = display._locale.language == self._locale.language
        return _number(display._locale if own else self._locale, value, pattern)

    def disclosure(self, stars: tuple[int, ...], sort: str) -> str:
        if set(stars) >= {1, 2, 3, 4, 5}:
            which = self.text("latest")
        else:
            *first, last = map(str, stars)
            joined = self.text("and").join([self.text("comma").join(first), last]) if first else last
            one = self._texts["only"].get("one") if stars == (1,) else None
            which = str(one or self._texts["only"]["other"]).replace("{stars}", joined)
        return self.text("best_first").replace("{which}", which) if sort == "highest" else which


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
    sentences = _Sentences(language, Locale.parse(language), _TEXTS[language])
    return Display(tag, locale.text_direction == "rtl", locale, sentences)


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
