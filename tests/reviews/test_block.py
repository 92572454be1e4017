"""What the proxy itself writes in a block: true to what is shown, in the language asked for, at no call."""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import quote

from proxy.api.parameters import DISPLAY_LOCALE, Query, selection, view
from proxy.cache import Lifetimes
from proxy.clock import Deadline, spawn
from proxy.reviews import ProductReviews
from proxy.reviews.view import display_in
from tests.reviews.model import NOW
from tests.reviews.trustpilot import AllAssets, FullLists, NoAssets, counts, in_memory, many, reads, review, select

HOSTILE = [
    "",
    "   ",
    "xx",
    "de,en",
    "../../etc/passwd",
    "%00",
    "%FF%FE",
    "<script>",
    "{{ 1 }}",
    "de" * 4000,
    "🦊",
    "C",
]


def asked(proxy: ProductReviews, query: str) -> Any:
    read = Query.parse(query.encode())
    return proxy.block(selection(read, ("u",)), view(read, lambda: NOW), Deadline.after(10)).body


def test_a_german_block_has_german_numbers_dates_and_sentences() -> None:
    one = review("a", 5, createdAt="2024-10-14T17:42:40Z", stars=4)
    proxy = reads(FullLists({"A": [one, *({"stars": "odd"} for _ in range(2))]}, {"A": {**counts(1153)}}))
    block = asked(proxy, "sku=A&stars=4,5&sort=highest&display_locale=de-DE")
    summary = block["summary"]
    assert (summary["average_text"], summary["total_text"]) == ("5,0", "1.153")
    assert summary["stars_alt"] == "5 von 5 Sternen"
    shown = block["reviews"][0]
    moments = [shown["date"], shown["date_text"], shown["created_at"]]
    assert moments == ["2024-10-14", "14. Okt. 2024", "2024-10-14T17:42:40Z"]
    assert block["disclosure"] == "Wir zeigen unsere 4- und 5-Sterne-Bewertungen, die besten zuerst"
    stars = proxy.summary(select("A"), display_in("de"), Deadline.after(10)).body
    assert stars.items() >= summary.items()


def test_each_average_has_the_stars_icons_alt_and_picture_that_trustpilot_rounds_it_to() -> None:
    tenths = {f"P{number}": number for number in range(10, 51)}
    told = {sku: {**counts(200), "starsAverage": number / 10} for sku, number in tenths.items()}
    proxy = reads(FullLists({}, told), AllAssets())
    for sku, number in tenths.items():
        summary = proxy.summary(select(sku), display_in("en"), Deadline.after(10)).body
        stars = round(number / 5 + 1e-9) / 2
        assert (summary["average"], summary["stars"]) == (number / 10, stars)
        assert summary["stars_icons"].count("★") + summary["stars_icons"].count("½") / 2 == stars
        assert summary["stars_alt"] == f"{stars:g} out of 5 stars"
        assert summary["stars_image"] == f"https://images.example/stars-{stars:g}.png?a=1&b=2"


def test_attributes_are_named_and_rated_and_those_that_say_nothing_left_out() -> None:
    ratings = [
        {"attributeName": " Value & money ", "rating": 4},
        {"attributeName": "", "rating": 4},
        {"attributeName": "Odd", "rating": 1e7},
        {"attributeName": "Unrated"},
    ]
    proxy = reads(FullLists({"A": [review("a", 1, attributeRatings=ratings)]}))
    for wanted, name in (("html", "Value &amp; money"), ("text", "Value & money")):
        [shown] = asked(proxy, f"sku=A&format={wanted}")["reviews"]
        assert shown["attributes"] == [{"name": name, "rating": 4.0}]


def test_a_block_that_cannot_be_had_links_to_the_shop_all_the_same() -> None:
    block = reads(FullLists({}), AllAssets()).empty_block(select("A"), "it is down")
    assert block["links"] == {"trustpilot": "https://www.trustpilot.com/review/u.example?a=1&b=2"}
    assert (block["sku"], block["found"], block["error"], block["reviews"]) == ("A", False, "it is down", [])


def test_with_nothing_to_show_nothing_is_said_of_it() -> None:
    proxy = reads(FullLists({"A": []}, {}))
    block = asked(proxy, "sku=A&stars=5")
    assert (block["found"], block["disclosure"]) == (False, "")
    summary = block["summary"]
    assert (summary["total"], summary["total_text"]) == (0, "0")
    texts = [summary[name] for name in ("average_text", "stars_icons", "stars_alt")]
    assert (texts, summary["average"], summary["stars"], summary["stars_image"]) == (["", "", ""], None, None, None)
    failed = proxy.empty_block(select("A"), "down")
    assert failed.keys() == block.keys() | {"error"}


def test_a_display_locale_costs_no_call_and_is_never_wrong() -> None:
    trustpilot = FullLists({"A": many("a", 250)}, {"A": counts(250)})
    clock = itertools.count().__next__
    cache = in_memory(Lifetimes(10**7, 10**7, 10**7), clock, spawn, max_bytes=10**8)
    proxy = ProductReviews(cache, trustpilot, NoAssets(), clock)

    def cached() -> list[str]:
        parts: list[str] = []
        cache.scan("u/", lambda product, part, value: parts.append(f"{product}/{part}"))
        return sorted(parts)

    plain = asked(proxy, "sku=A")
    before = cached()
    pages, batches = list(trustpilot.pages_asked), list(trustpilot.batches_asked)
    regions = ("DE", "AT", "CH", "GB", "BR", "MX", "NO", "JP", "SA", "ZZ")
    known = [f"{language}-{region}" for language in ("de", "fr", "ar", "zh", "xx") for region in regions]
    for tag in [*known, *map(quote, HOSTILE), *HOSTILE]:
        block = asked(proxy, f"sku=A&display_locale={tag}&display_locale=de")
        assert block["summary"]["total"] == plain["summary"]["total"]
    assert (trustpilot.pages_asked, trustpilot.batches_asked, cached()) == (pages, batches, before)
    assert len(before) == 2
    assert asked(proxy, "sku=A&display_locale=no-such-language") == asked(proxy, "sku=A&display_locale=nb")
    assert asked(proxy, "sku=A&display_locale=xx") == plain
    assert Query.parse(b"").one(DISPLAY_LOCALE) == display_in("en")


def test_a_list_is_read_no_further_than_the_oldest_review_that_may_be_shown() -> None:
    trustpilot = FullLists({"A": many("a", 450)}, {"A": counts(450)})
    block = asked(reads(trustpilot), "sku=A&stars=1&max_age_days=1")
    assert (block["found"], trustpilot.pages_asked) == (False, [("A", 1)])


def test_a_product_below_what_it_has_to_have_shows_its_rating_and_no_review() -> None:
    proxy = reads(FullLists({"A": [review(f"r{n}", n, stars=s) for n, s in enumerate([4, 4, 4, 5])]}))
    assert asked(proxy, "sku=A&min_reviews=4&min_average=4.3")["count"] == 3
    for too_high in ("min_reviews=5", "min_average=4.31"):
        block = asked(proxy, f"sku=A&{too_high}")
        assert (block["found"], block["reviews"], block["disclosure"]) == (False, [], "")
        assert block["summary"]["average_text"] == "4.3"


def test_a_rating_that_cannot_be_had_is_not_taken_to_be_high_enough() -> None:
    trustpilot = FullLists({"A": many("a", 101)}, {"A": {"numberOfReviews": {"total": "many"}}})
    assert asked(reads(trustpilot), "sku=A&min_reviews=1")["found"] is False
    assert asked(reads(trustpilot), "sku=A")["found"] is True
