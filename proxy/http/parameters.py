"""The query parameters of the contract: read, checked, and turned into what the reviews room asks for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeVar
from urllib.parse import parse_qsl, quote

from proxy.reviews import Selection, View
from proxy.reviews.view import ALL_STARS

T = TypeVar("T")

MOST_SKUS = 20
LONGEST_SKU = 200
_NOT_UTF8 = "\ufffd"


class BadParameter(Exception):
    """A parameter is wrong. The message names it, its value and what it takes."""

    def __init__(self, name: str, value: str | None, takes: str) -> None:
        shown = "" if value is None else f" is {_shown(value)}"
        super().__init__(f"{name}{shown}: {takes}")


def _shown(value: str) -> str:
    """Quote ``value`` for a message: cut, and without characters that would garble it."""
    readable = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in value[:60])
    return f"'{readable}{'…' if len(value) > 60 else ''}'"


@dataclass
class Query:
    """The parameters of one request, and which of them were read."""

    given: dict[str, list[str]]
    _read: set[str] = field(default_factory=set)

    @classmethod
    def parse(cls, query_string: bytes) -> Query:
        """Read a raw query string; bytes that are not UTF-8 are refused where a parameter is read."""
        given: dict[str, list[str]] = {}
        text = query_string.decode("utf-8", "replace")
        for name, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
            given.setdefault(name, []).append(value)
        return cls(given)

    @property
    def ignored(self) -> str:
        """The names of the parameters that nobody read, percent-encoded for a header, comma-separated."""
        names = [quote(name, safe="")[:100] for name in self.given if name not in self._read]
        return ", ".join(names[:20])

    def one(self, name: str, parse: Callable[[str], T], default: T, takes: str) -> T:
        """Return the parsed value of ``name``; ``parse`` raises ``ValueError`` for a wrong one."""
        values = self._values(name)
        if not values:
            return default
        if len(values) > 1:
            raise BadParameter(name, None, f"given {len(values)} times; {takes}")
        try:
            return parse(values[0].strip())
        except ValueError:
            raise BadParameter(name, values[0], takes) from None

    def many(self, name: str) -> list[str]:
        """Return the values of ``name``, comma-separated or repeated, in the order given."""
        return [part.strip() for value in self._values(name) for part in value.split(",")]

    def _values(self, name: str) -> list[str]:
        self._read.add(name)
        values = self.given.get(name, [])
        for value in values:
            if _NOT_UTF8 in value:
                raise BadParameter(name, value, "not valid UTF-8; encode it with | url_param_escape")
        return values


def selection(query: Query, business_units: tuple[str, ...], name: str = "sku") -> Selection:
    """Read which products are asked for."""
    return Selection(
        business_unit=business_unit(query, business_units),
        skus=skus(query, name),
        locale=locale(query),
    )


def skus(query: Query, name: str = "sku") -> tuple[str, ...]:
    """Read one SKU or several, duplicates collapsed."""
    parts = query.many(name)
    if not parts:
        raise BadParameter(name, None, f"required; give one SKU, or up to {MOST_SKUS} separated by commas")
    for part in parts:
        check_sku(name, part)
    unique = tuple(dict.fromkeys(parts))
    if len(unique) > MOST_SKUS:
        raise BadParameter(name, None, f"{len(unique)} SKUs given; takes at most {MOST_SKUS}")
    return unique


def check_sku(name: str, sku: str) -> None:
    """Raise :class:`BadParameter` for what can't be a SKU."""
    rendered_to_nothing = "the Liquid variable rendered to nothing; takes a SKU such as TRUCK-01"
    if not sku:
        raise BadParameter(name, sku, f"an empty SKU: {rendered_to_nothing}")
    if "{{" in sku or "${" in sku or "{%" in sku or "}}" in sku:
        raise BadParameter(name, sku, f"unrendered Liquid: {rendered_to_nothing}")
    if len(sku) > LONGEST_SKU:
        raise BadParameter(name, sku, f"{len(sku)} characters long; a SKU takes at most {LONGEST_SKU}")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in sku):
        raise BadParameter(name, sku, "holds a control character; takes a SKU such as TRUCK-01")


def view(query: Query) -> View:
    """Read the parameters that choose and shape reviews."""
    stars, languages = filters(query)
    sort: Literal["newest", "highest"] = query.one("sort", _sort, "newest", "takes newest or highest")
    return View(
        stars=stars,
        languages=languages,
        limit=query.one("limit", _within(1, 20), 3, "takes a whole number from 1 to 20"),
        sort=sort,
        min_chars=query.one("min_chars", _within(0, 10_000), 1, "takes a whole number from 0 to 10000"),
        max_chars=query.one("max_chars", _max_chars, None, "takes a whole number from 20 to 2000"),
        html=query.one("format", _one_of("html", "text"), "html", "takes html or text") == "html",
    )


def filters(query: Query) -> tuple[frozenset[int], frozenset[str]]:
    """Read ``stars`` and ``language``."""
    stars = query.many("stars")
    for star in stars:
        if star not in ("1", "2", "3", "4", "5"):
            raise BadParameter("stars", star, "takes whole numbers from 1 to 5, such as 5 or 4,5")
    languages = query.many("language")
    for language in languages:
        if not re.fullmatch(r"[A-Za-z]{2}", language):
            raise BadParameter("language", language, "takes ISO 639-1 codes of two letters, such as en or en,fr")
    return frozenset(map(int, stars)) or ALL_STARS, frozenset(language.lower() for language in languages)


def locale(query: Query) -> str | None:
    """Read the language of attribute names."""
    return query.one("locale", _locale, None, "takes a locale such as en-US or da")


def on_error_empty(query: Query) -> bool:
    """Read whether a Trustpilot that can't be had is answered as an empty 200."""
    return query.one("on_error", _one_of("error", "empty"), "error", "takes error or empty") == "empty"


def paging(query: Query) -> tuple[int, int]:
    """Read ``page`` and ``perPage`` of the drop-in URL; together they reach the newest 1,000 reviews."""
    page = query.one("page", _within(1, 1000), 1, "takes a whole number from 1")
    per_page = query.one("perPage", _within(1, 100), 20, "takes a whole number from 1 to 100")
    if page * per_page > 1000:
        raise BadParameter("page", str(page), "reaches too far; the newest 1000 reviews can be paged through")
    return page, per_page


def business_unit(query: Query, configured: Iterable[str]) -> str:
    """Read which business unit is meant; without the parameter, the first configured one."""
    units = tuple(configured)
    return query.one("business_unit", _one_of(*units), units[0], "takes a configured business unit")


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError
        return value

    return parse


def _sort(value: str) -> Literal["newest", "highest"]:
    if value == "newest":
        return "newest"
    if value == "highest":
        return "highest"
    raise ValueError


def _within(least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
            raise ValueError
        return int(value)

    return parse


def _max_chars(value: str) -> int | None:
    return _within(20, 2000)(value)


def _locale(value: str) -> str | None:
    match = re.fullmatch(r"([A-Za-z]{2})(?:[-_]([A-Za-z]{2}))?", value)
    if not match:
        raise ValueError
    return match[1].lower() + (f"-{match[2].upper()}" if match[2] else "")
