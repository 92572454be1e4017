"""Any query string: a selection and a view within the contract's bounds, or an error that names the parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.api import parameters
from proxy.api.parameters import FURTHEST, LONGEST_SKU, MOST_VARIANTS, BadParameter, Query
from proxy.reviews import Selection, View
from proxy.reviews.view import ALL_STARS
from tests.fuzz.effort import fuzzed

UNITS = ("unit-1", "unit-2")
NAMES = [
    "sku",
    "skus",
    "stars",
    "language",
    "limit",
    "sort",
    "min_chars",
    "max_chars",
    "max_age_days",
    "with_image",
    "min_reviews",
    "min_average",
    "display_locale",
    "format",
    "locale",
    "business_unit",
    "on_error",
    "page",
    "perPage",
]

READERS: dict[str, Callable[[Query], Any]] = {
    "selection": lambda query: parameters.selection(query, UNITS),
    "products": lambda query: parameters.selection(query, UNITS, "skus"),
    "view": lambda query: parameters.view(query, now=lambda: 1_700_000_000.0),
    "paging": parameters.paging,
    "on_error": lambda query: query.one(parameters.ON_ERROR),
}

_likely = st.sampled_from(
    [
        "TRUCK-01",
        "A,B",
        "a, b ",
        ",",
        "5",
        "4,5",
        "0",
        "6",
        "1,2,3,4,5",
        "en",
        "en,FR",
        "eng",
        "newest",
        "highest",
        "true",
        "4.25",
        "de-DE",
        "html",
        "text",
        "en-US",
        "da_DK",
        "unit-2",
        "error",
        "empty",
        "1",
        "20",
        "21",
        "-1",
        "2000",
        "10000",
        "1e3",
        "00005",
        " 7 ",
        "١",
        "{{sku}}",
        "${sku}",
        "{%if%}",
        "}}",
        "é",
        "👍",
        "%",
        "+",
        "\x00",
        "�",
        "x'x",
        "&",
        ";",
        "=",
    ]
)
values = st.one_of(
    _likely, st.text(max_size=12), st.integers(-2, 10_001).map(str), st.text(min_size=190, max_size=210)
)
pairs = st.tuples(st.one_of(st.sampled_from(NAMES), st.text(max_size=6)), values)
encoded = st.lists(pairs, max_size=8).map(lambda given: "&".join(f"{quote(n)}={quote(v)}" for n, v in given).encode())
mangled = st.tuples(encoded, st.binary(max_size=6), st.integers(0, 200)).map(
    lambda parts: parts[0][: parts[2]] + parts[1] + parts[0][parts[2] :]
)
query_strings = st.one_of(encoded, mangled, st.binary(max_size=80))


def outcome(read: Callable[[Query], Any], query: Query) -> Any:
    try:
        return read(query)
    except BadParameter as mistake:
        return str(mistake)


def check_selection(selection: Selection) -> None:
    assert selection.business_unit in UNITS
    assert 1 <= len(selection.skus) == len(set(selection.skus)) <= MOST_VARIANTS
    for sku in selection.skus:
        assert 1 <= len(sku) <= LONGEST_SKU
        assert sku == sku.strip()
        assert "," not in sku
        assert not any(mark in sku for mark in ("{{", "}}", "{%", "${", "\ufffd"))
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in sku)
    if selection.locale is not None:
        language, _, country = selection.locale.partition("-")
        assert len(language) == 2
        assert language.isascii()
        assert language.islower()
        assert country == "" or (len(country) == 2 and country.isascii() and country.isupper())


def check_view(view: View) -> None:
    assert view.stars
    assert view.stars <= ALL_STARS
    assert all(len(code) == 2 and code.isascii() and code.isalpha() and code.islower() for code in view.languages)
    assert 1 <= view.limit <= 20
    assert view.sort in ("newest", "highest")
    assert 0 <= view.min_chars <= 10_000
    assert view.max_chars is None or 20 <= view.max_chars <= 2000
    assert isinstance(view.html, bool)


@pytest.mark.parametrize("reader", READERS)
@fuzzed
@given(query_string=query_strings)
@example(query_string=b"sku=" + "\x85A".encode())
@example(query_string=b"sku=%ed%a0%80")
@example(query_string=b"\xff=\xff&sku=A")
def test_any_query_is_within_bounds_or_the_wrong_parameter_is_named(reader: str, query_string: bytes) -> None:
    query = Query.parse(query_string)
    got = outcome(READERS[reader], query)
    if isinstance(got, str):
        name = next((name for name in NAMES if got.startswith((f"{name}:", f"{name} is '"))), None)
        assert name is not None, got
        assert name in query.given or got.startswith(f"{name}: required")
        assert got.isprintable()
        assert len(got) < 600
    elif isinstance(got, Selection):
        check_selection(got)
    elif isinstance(got, View):
        check_view(got)
    elif isinstance(got, tuple):
        page, per_page = got
        assert page >= 1
        assert 1 <= per_page <= 100
        assert (page - 1) * per_page < FURTHEST
    else:
        assert isinstance(got, bool)


@fuzzed
@given(query_string=query_strings)
def test_the_header_that_names_ignored_parameters_can_always_be_sent(query_string: bytes) -> None:
    query = Query.parse(query_string)
    for read in READERS.values():
        outcome(read, query)
    assert query.ignored.isascii()
    assert query.ignored.isprintable()
    assert len(query.ignored) <= 20 * 102


@fuzzed
@given(
    given=st.lists(pairs, max_size=8),
    ignored=st.lists(st.tuples(st.text("abcxyz_", min_size=1, max_size=9), values), max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_neither_the_order_of_parameters_nor_those_ignored_make_a_difference(
    given: list[tuple[str, str]], ignored: list[tuple[str, str]], order: Any
) -> None:
    known = [(name, value) for name, value in given if name in NAMES]
    unknown = [(f"x-{name}", value) for name, value in ignored]
    # Values of one name keep their order: that of SKUs is the order of the answer.
    sequence = [name for name, _ in [*known, *unknown]]
    order.shuffle(sequence)
    left = {name: [value for other, value in [*known, *unknown] if other == name] for name in sequence}
    shuffled = [(name, left[name].pop(0)) for name in sequence]
    plain, mixed = (
        Query.parse("&".join(f"{quote(n)}={quote(v)}" for n, v in some).encode()) for some in (known, shuffled)
    )
    for read in READERS.values():
        assert outcome(read, plain) == outcome(read, mixed)
    told = {unquote(name) for name in mixed.ignored.split(", ") if name}
    assert {name for name, _ in unknown} <= told | set(mixed._read)


sound_skus = (
    st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=",{}$\ufffd"), min_size=1, max_size=200)
    .map(str.strip)
    .filter(bool)
)


@fuzzed
@given(
    selection=st.builds(
        Selection,
        st.sampled_from(UNITS),
        st.lists(sound_skus, min_size=1, max_size=MOST_VARIANTS, unique=True).map(tuple),
        st.one_of(st.none(), st.from_regex(r"\A[a-z]{2}(-[A-Z]{2})?\Z")),
    ),
    view=st.builds(
        View,
        stars=st.frozensets(st.integers(1, 5), min_size=1),
        languages=st.frozensets(st.from_regex(r"\A[a-z]{2}\Z"), max_size=4),
        limit=st.integers(1, 20),
        sort=st.sampled_from(["newest", "highest"]),
        min_chars=st.integers(0, 10_000),
        max_chars=st.one_of(st.none(), st.integers(20, 2000)),
        html=st.booleans(),
    ),
    repeated=st.booleans(),
)
def test_all_that_can_be_asked_for_is_read_as_it_was_meant(
    selection: Selection, view: View, *, repeated: bool
) -> None:
    def listed(name: str, several: list[str]) -> list[tuple[str, str]]:
        return [(name, one) for one in several] if repeated else [(name, ",".join(several))] if several else []

    asked = [
        *listed("sku", list(selection.skus)),
        ("business_unit", selection.business_unit),
        *([("locale", selection.locale)] if selection.locale else []),
        *listed("stars", [str(star) for star in sorted(view.stars)]),
        *listed("language", sorted(view.languages)),
        ("limit", str(view.limit)),
        ("sort", view.sort),
        ("min_chars", str(view.min_chars)),
        *([("max_chars", str(view.max_chars))] if view.max_chars else []),
        ("format", "html" if view.html else "text"),
    ]
    query = Query.parse("&".join(f"{name}={quote(value)}" for name, value in asked).encode())
    assert parameters.selection(query, UNITS) == selection
    assert parameters.view(query) == view
    assert query.ignored == ""
