"""The query parameters of the contract: read, checked, and turned into what the reviews room asks for.

What a parameter takes is one definition: how it is read, said in a message, and described as JSON Schema.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import parse_qsl, quote

from proxy import invitations
from proxy.clock import Now
from proxy.reviews import Selection, View
from proxy.reviews.fragment import Style
from proxy.reviews.models import UNDATED, Source, at_url
from proxy.reviews.view import ALL_STARS, ENGLISH, Display, display_in

T = TypeVar("T")

MOST_SKUS = 20
"""Blocks in one answer."""

MOST_VARIANTS = 50
LONGEST_SKU = 200
FURTHEST = 1000
"""How far the drop-in URL can be paged through, in reviews."""

_DAY_SECONDS = 86_400
_NOT_UTF8 = "\ufffd"


class BadParameter(Exception):
    """A parameter is wrong. The message names it, its value and what it takes."""

    def __init__(self, name: str, value: str | None, takes: str) -> None:
        shown = "" if value is None else f" is {_shown(value)}"
        super().__init__(f"{name}{shown}: {takes}")


class UnknownBusinessUnit(Exception):
    """The path names a business unit that is not configured."""

    def __init__(self, unit: str) -> None:
        super().__init__(f"the business unit {_shown(unit)} is not one of those in TRUSTPILOT_BUSINESS_UNIT_ID")


def _shown(value: str) -> str:
    """Quote ``value`` for a message: cut, and without characters that would garble it."""
    readable = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in value[:60])
    return f"'{readable}{'…' if len(value) > 60 else ''}'"


@dataclass(frozen=True)
class Takes:
    """One kind of value."""

    words: str
    """What it takes, for a message: ``takes …``."""
    schema: dict[str, Any]
    """What it takes, as JSON Schema."""
    read: Callable[[str], Any]
    """Returns the value; raises ``ValueError`` for a wrong one."""


def whole_number(least: int, most: int) -> Takes:
    """Take a whole number within bounds, both included."""
    schema = {"type": "integer", "minimum": least, "maximum": most}
    read = _within(least, most, r"[0-9]{1,9}", int)
    return Takes(f"takes a whole number from {least} to {most}", schema, read)


def decimals(least: int, most: int) -> Takes:
    """Take a number within bounds, both included, written with a point."""
    schema = {"type": "number", "minimum": least, "maximum": most}
    read = _within(least, most, r"[0-9]{1,9}(?:\.[0-9]{1,20})?", float)
    return Takes(f"takes a number from {least} to {most}, such as {most - 1}.25", schema, read)


def _within(least: int, most: int, pattern: str, number: Callable[[str], float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not re.fullmatch(pattern, text) or not least <= (value := number(text)) <= most:
            raise ValueError
        return value

    return read


def choice(choices: tuple[str, ...], words: str = "") -> Takes:
    """Take one of a few words."""
    read = _matching("|".join(map(re.escape, choices)))
    return Takes(words or f"takes {' or '.join(choices)}", {"type": "string", "enum": list(choices)}, read)


def written(form: str, words: str) -> Takes:
    """Take text of one form, a regular expression for the whole of it."""
    return Takes(words, {"type": "string", "pattern": f"^(?:{form})$"}, _matching(form))


def several(form: str, words: str, most: int | None = None, never: str = "") -> Takes:
    """Take texts of one form, comma-separated, with white space around each; the parameter may also be repeated.

    ``never``: a regular expression for what must be nowhere in the text.
    """
    times = "*" if most is None else f"{{0,{most - 1}}}"
    schema: dict[str, Any] = {"type": "string", "pattern": rf"^\s*{form}\s*(?:,\s*{form}\s*){times}$"}
    return Takes(words, {**schema, "not": {"pattern": never}} if never else schema, _matching(form))


def _matching(form: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(form, text):
            raise ValueError
        return text

    return read


_ANY_TAG = Takes("takes a BCP 47 tag such as de-DE or de", {"type": "string"}, str)
"""Nothing is wrong, and of several the first counts."""


@dataclass(frozen=True)
class Parameter(Generic[T]):
    """A query parameter that is given once at most."""

    name: str
    meaning: str
    takes: Takes
    default: T
    """What stands for a parameter that is not given."""
    make: Callable[[Any], T]
    """Turns what was read into what is asked for."""


@dataclass(frozen=True)
class ListParameter:
    """A query parameter with one value or several."""

    name: str
    meaning: str
    takes: Takes
    required: bool = False


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
        names = [quote(name, safe="")[:100] for name in self.given if name and name not in self._read]
        return ", ".join(names[:20])

    def one(self, parameter: Parameter[T]) -> T:
        """Return the value of ``parameter``, or its default."""
        if parameter.takes is _ANY_TAG:
            self._read.add(parameter.name)
            return parameter.make(self.given.get(parameter.name, [""])[0])
        if parameter.name not in self.given:
            return parameter.default
        values = self._values(parameter.name)
        if len(values) > 1:
            raise BadParameter(parameter.name, None, f"given {len(values)} times; {parameter.takes.words}")
        try:
            return parameter.make(parameter.takes.read(values[0].strip()))
        except ValueError:
            raise BadParameter(parameter.name, values[0], parameter.takes.words) from None

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


def selection(
    query: Query, business_units: tuple[str, ...], name: str = "sku", *, imported: bool | None = None
) -> Selection:
    """Read which products are asked for; ``imported`` is the default of that parameter, ``None`` where it is none."""
    sources: tuple[Source, ...] = ("trustpilot",)
    if imported is not None and query.one(of_imported(default=imported)):
        sources = ("trustpilot", "imported")
    unit = business_unit(query, business_units)
    return Selection(unit, _products(query, name, PRODUCT_URL), query.one(LOCALE), sources)


def selection_in(
    unit: str, query: Query, business_units: tuple[str, ...], source: Source = "trustpilot"
) -> Selection:
    """Read which products of the path's business unit are asked for. Raises :class:`UnknownBusinessUnit`."""
    known = configured_unit(unit, business_units)
    return Selection(known, _products(query, "sku", TRUSTPILOTS_PRODUCT_URL), query.one(LOCALE), (source,))


def _products(query: Query, name: str, page: Parameter[str | None]) -> tuple[str, ...]:
    """Read SKUs, or the address of a product's page in their place."""
    if name != "sku" or page.name not in query.given:
        return skus(query, name)
    for given in query.given[page.name]:
        _check_rendered(page.name, given.strip(), "address", page.takes.words)
    url = query.one(page)
    if name in query.given:
        raise BadParameter(page.name, None, f"given beside {name}; takes its place")
    return (at_url(url),) if url else ()


def skus(query: Query, name: str = "sku") -> tuple[str, ...]:
    """Read one SKU or several, duplicates collapsed."""
    most = MOST_VARIANTS if name == "sku" else MOST_SKUS
    parts = query.many(name)
    if not parts:
        similar = next((given for given in query.given if given.lower() in ("sku", "skus")), None)
        hint = f" ({similar} is another parameter)" if similar else ""
        raise BadParameter(name, None, f"required; give one SKU, or up to {most} separated by commas{hint}")
    for part in parts:
        check_sku(name, part)
    unique = tuple(dict.fromkeys(parts))
    if len(unique) > most:
        raise BadParameter(name, None, f"{len(unique)} SKUs given; takes at most {most}")
    return unique


def check_sku(name: str, sku: str) -> None:
    """Raise :class:`BadParameter` for what can't be a SKU."""
    _check_rendered(name, sku, "SKU", "takes a SKU such as TRUCK-01")
    if len(sku) > LONGEST_SKU:
        raise BadParameter(name, sku, f"{len(sku)} characters long; a SKU takes at most {LONGEST_SKU}")
    if not sku.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs") for character in sku):
        raise BadParameter(name, sku, "holds a control character; takes a SKU such as TRUCK-01")


def _check_rendered(name: str, value: str, kind: str, takes: str) -> None:
    rendered_to_nothing = f"the Liquid variable rendered to nothing; {takes}"
    if not value:
        raise BadParameter(name, value, f"an empty {kind}: {rendered_to_nothing}")
    if invitations.is_unrendered(value):
        raise BadParameter(name, value, f"unrendered Liquid: {rendered_to_nothing}")


def view(query: Query, now: Now = time.time) -> View:
    """Read the parameters that choose and shape reviews."""
    return _view(query, now, VIEW)


def fragment_view(query: Query, now: Now = time.time) -> View:
    """Read the same but ``format``: a fragment's texts are escaped where they are put into it."""
    return _view(query, now, _FRAGMENT_VIEW)


def business_view(query: Query, now: Now = time.time) -> View:
    """Read the parameters that choose and shape the reviews of the shop itself."""
    return _view(query, now, BUSINESS_VIEW)


def _view(query: Query, now: Now, fields: Mapping[str, Parameter[Any]]) -> View:
    stars, languages = filters(query)
    given = {"html": False, **{name: query.one(parameter) for name, parameter in fields.items()}}
    days = given.pop("since")
    since = UNDATED if days is None else now() - days * _DAY_SECONDS
    return View(stars, languages, since=since, **given)


def filters(query: Query) -> tuple[frozenset[int], frozenset[str]]:
    """Read ``stars`` and ``language``."""
    stars, languages = _listed(query, STARS), _listed(query, LANGUAGE)
    return frozenset(map(int, stars)) or ALL_STARS, frozenset(language.lower() for language in languages)


def paging(query: Query) -> tuple[int, int]:
    """Read ``page`` and ``perPage`` of the drop-in URL; together they reach the newest 1,000 reviews."""
    page, per_page = query.one(PAGE), query.one(PER_PAGE)
    if (page - 1) * per_page >= FURTHEST:
        raise BadParameter("page", str(page), f"reaches too far; the newest {FURTHEST} reviews can be paged through")
    return page, per_page


def business_unit(query: Query, configured: Iterable[str]) -> str:
    """Read which business unit is meant; without the parameter, the first configured one."""
    return query.one(of_business_units(tuple(configured)))


def configured_unit(unit: str, configured: tuple[str, ...]) -> str:
    """Return the business unit of a path. Raises :class:`UnknownBusinessUnit`."""
    if unit not in configured:
        raise UnknownBusinessUnit(unit)
    return unit


@lru_cache
def of_business_units(configured: tuple[str, ...]) -> Parameter[str]:
    """Return the parameter that takes a configured business unit."""
    takes = choice(configured, "takes a configured business unit")
    return Parameter("business_unit", "another configured business unit", takes, configured[0], str)


def _listed(query: Query, parameter: ListParameter) -> list[str]:
    values = query.many(parameter.name)
    for value in values:
        try:
            parameter.takes.read(value)
        except ValueError:
            raise BadParameter(parameter.name, value, parameter.takes.words) from None
    return values


_SKU_CHARACTER = r"[^\s,\x00-\x1f\x7f-\x9f\ufffd]"
_SKU_INSIDE = r"[^,\x00-\x1f\x7f-\x9f\ufffd]"


def _several_skus(most: int) -> Takes:
    return several(
        rf"{_SKU_CHARACTER}(?:{_SKU_INSIDE}{{0,{LONGEST_SKU - 2}}}{_SKU_CHARACTER})?",
        f"give one SKU, or up to {most} separated by commas",
        most,
        invitations.UNRENDERED,
    )


@lru_cache
def of_imported(*, default: bool) -> Parameter[bool]:
    """Return the parameter that asks for imported reviews."""
    meaning = "true: merge reviews imported from an earlier platform"
    return _one_of_two("imported", meaning, "true", "false", default=default, words="takes true or false")


def _one_of_two(
    name: str, meaning: str, yes: str, no: str, *, default: bool = False, words: str = ""
) -> Parameter[bool]:
    choices = (yes, no) if default else (no, yes)
    return Parameter(name, meaning, choice(choices, words), default, lambda word: bool(word == yes))


def _maybe(name: str, meaning: str, takes: Takes, make: Callable[[Any], T]) -> Parameter[T | None]:
    return Parameter(name, meaning, takes, None, make)


SKU = ListParameter(
    "sku",
    f"one SKU, or up to {MOST_VARIANTS} merged as variants of one product",
    _several_skus(MOST_VARIANTS),
    required=True,
)
SKUS = ListParameter("skus", f"up to {MOST_SKUS} SKUs, a block for each", _several_skus(MOST_SKUS), required=True)
_URL = written(
    r"https?://[^\s\x00-\x1f\x7f-\x9f\ufffd{}]{1,2000}", "takes an address such as https://shop.example/truck"
)
PRODUCT_URL = _maybe("product_url", "in place of sku: the product's page as Trustpilot knows it", _URL, str)
TRUSTPILOTS_PRODUCT_URL = _maybe("productUrl", "in place of sku: the product's page", _URL, str)
STARS = ListParameter(
    "stars", "only these ratings", several("[1-5]", "takes whole numbers from 1 to 5, such as 5 or 4,5")
)
LANGUAGE = ListParameter(
    "language",
    "only reviews in these languages",
    several("[A-Za-z]{2}", "takes ISO 639-1 codes of two letters, such as en or en,fr"),
)
LIMIT = Parameter("limit", "how many reviews", whole_number(1, 20), 3, int)
BUSINESS_LIMIT = Parameter("limit", "how many reviews", whole_number(0, 20), 3, int)
FALLBACK = _one_of_two(
    "fallback",
    "business: when nothing is found, the shop's own rating and reviews, with scope business",
    "business",
    "none",
    words="takes business",
)
SORT: Parameter[Literal["newest", "highest"]] = Parameter(
    "sort",
    "newest first, or the most stars first and then the newest",
    choice(("newest", "highest")),
    "newest",
    lambda word: "highest" if word == "highest" else "newest",
)
MIN_CHARS = Parameter("min_chars", "skip reviews with shorter text", whole_number(0, 10_000), 1, int)
MAX_CHARS = _maybe("max_chars", "cut the text at a word boundary, ending in …", whole_number(20, 2000), int)
MAX_AGE_DAYS = _maybe("max_age_days", "only reviews written in the last so many days", whole_number(1, 3650), int)
WITH_IMAGE = _one_of_two("with_image", "true: only reviews with a photo", "true", "false")
MIN_REVIEWS = Parameter(
    "min_reviews", "show none unless the product has so many reviews in all", whole_number(0, 1_000_000), 0, int
)
MIN_AVERAGE = _maybe("min_average", "show none unless the product's average is as high", decimals(1, 5), float)
FORMAT = _one_of_two(
    "format", "html: escaped, safe in an e-mail; text: plain, for push, SMS and in-app", "html", "text", default=True
)
DISPLAY_LOCALE: Parameter[Display] = Parameter(
    "display_locale",
    "language of the texts that the proxy itself writes: numbers, dates, disclosure, stars_alt; English if unknown",
    _ANY_TAG,
    ENGLISH,
    display_in,
)
STYLE: Parameter[Style] = Parameter(
    "style",
    "card: rating, reviews, which these are, and the link; line: stars, average and total",
    choice(("card", "line")),
    "card",
    lambda word: "line" if word == "line" else "card",
)
CHANNEL = _one_of_two("channel", "html: for an e-mail; text: one plain line, for push and SMS", "text", "html")
LOCALE = _maybe(
    "locale",
    "language of attribute names, passed to Trustpilot",
    written(invitations.LOCALE, "takes a locale such as en-US or da"),
    invitations.locale_tag,
)
ON_ERROR = _one_of_two(
    "on_error", "empty: answer 200 with found: false and error when Trustpilot can't be had", "empty", "error"
)
PAGE = Parameter("page", "which page", whole_number(1, FURTHEST), 1, int)
PER_PAGE = Parameter("perPage", "reviews per page", whole_number(1, 100), 20, int)

VIEW: dict[str, Parameter[Any]] = {
    "limit": LIMIT,
    "sort": SORT,
    "min_chars": MIN_CHARS,
    "max_chars": MAX_CHARS,
    "since": MAX_AGE_DAYS,
    "with_image": WITH_IMAGE,
    "min_reviews": MIN_REVIEWS,
    "min_average": MIN_AVERAGE,
    "fallback": FALLBACK,
    "html": FORMAT,
    "display": DISPLAY_LOCALE,
}
"""What :func:`view` reads beside ``stars`` and ``language``, by the field that it fills."""

_FRAGMENT_VIEW = {name: parameter for name, parameter in VIEW.items() if name != "html"}

BUSINESS_VIEW = {
    "limit": BUSINESS_LIMIT,
    **{name: VIEW[name] for name in ("min_chars", "max_chars", "since", "html", "display")},
}
"""The same for :func:`business_view`."""
