"""Stars never show more than the rating, and every sentence is true in every language there is."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import proxy.reviews.view
from proxy.reviews.view import display_in, languages, stars_icons, stars_in_halves

FILE: dict[str, Any] = tomllib.loads(Path(proxy.reviews.view.__file__).with_name("display.toml").read_text("utf-8"))
TEXTS: dict[str, dict[str, Any]] = FILE["texts"]
PROMISED = ["en", "de", "fr", "es", "it", "nl", "da", "sv", "no", "fi", "pl", "pt"]
SORTS: list[Literal["newest", "highest"]] = ["newest", "highest"]
CHOICES = [set(chosen) for size in range(1, 6) for chosen in combinations(range(1, 6), size)]


@pytest.mark.parametrize("tenths", range(10, 51))
def test_an_average_is_shown_in_halves_as_trustpilot_rounds_it(tenths: int) -> None:
    # Trustpilot's own table, in tenths: a half from .3 on, the next whole star from .8 on.
    whole, rest = divmod(tenths, 10)
    expected = whole + (0 if rest <= 2 else 0.5 if rest <= 7 else 1)
    stars = stars_in_halves(tenths / 10)
    assert stars == expected
    assert stars <= tenths / 10 + 0.25
    icons = stars_icons(stars)
    assert len(icons) == 5
    assert icons.count("★") + icons.count("½") / 2 == stars
    assert re.fullmatch("★*½?☆*", icons)


def test_a_rating_that_is_none_of_trustpilots_stays_within_five_stars() -> None:
    assert [stars_in_halves(average) for average in (-3.0, 0.0, 0.2, 7.5)] == [0, 0, 0, 5]


def test_the_contracts_examples() -> None:
    english, german = display_in("en"), display_in("de-DE")
    assert english.stars_alt(4.5) == "4.5 out of 5 stars"
    assert english.disclosure({5}, "newest") == "Showing our 5 star reviews"
    assert english.disclosure({4, 5}, "newest") == "Showing our 4 & 5 star reviews"
    assert english.disclosure({1, 2, 3, 4, 5}, "newest") == "Showing our latest reviews"
    assert english.date(date(2024, 10, 14)) == "Oct 14, 2024"
    assert (english.average(4.7), english.number(1153)) == ("4.7", "1,153")
    assert (german.average(4.7), german.number(1153)) == ("4,7", "1.153")
    assert german.date(date(2024, 10, 14)) == "14. Okt. 2024"
    assert (english.average(None), english.stars_alt(None), english.date(None)) == ("", "", "")


@pytest.mark.parametrize("language", PROMISED)
def test_a_disclosure_names_exactly_the_stars_that_are_shown_and_says_when_the_best_come_first(language: str) -> None:
    display = display_in(language)
    told = {}
    for stars in CHOICES:
        newest, highest = (display.disclosure(stars, sort) for sort in SORTS)
        named = {int(digit) for digit in re.findall(r"\d", newest)}
        assert named == (set() if len(stars) == 5 else stars)
        assert highest.startswith(newest)
        assert highest != newest
        told[newest] = told[highest] = stars
    assert len(told) == 2 * len(CHOICES)


@pytest.mark.parametrize("language", [language for language in PROMISED if language != "en"])
def test_no_promised_language_falls_back_to_english(language: str) -> None:
    display, english = display_in(language), display_in("en")
    assert display.sentences_tag == language
    for stars, sort in ((stars, sort) for stars in CHOICES for sort in SORTS):
        assert display.disclosure(stars, sort) != english.disclosure(stars, sort)
    for halves in range(2, 11):
        assert display.stars_alt(halves / 2) != english.stars_alt(halves / 2)
    assert display.text("link") != english.text("link")
    assert display.text("photo") != english.text("photo")


def test_the_translators_file_holds_each_text_in_each_language_and_nothing_that_html_or_liquid_reads() -> None:
    assert languages() == PROMISED
    placeholders = {"stars_alt": "{stars}", "only": "{stars}", "best_first": "{which}", "total": "{count}"}
    for texts in TEXTS.values():
        assert texts.keys() == TEXTS["en"].keys()
        for name, text in texts.items():
            forms = text.values() if isinstance(text, dict) else text if isinstance(text, list) else [text]
            assert (len(text) == 5) == (name == "labels") if isinstance(text, list) else name != "labels"
            assert not isinstance(text, dict) or "other" in text
            for form in forms:
                assert re.findall(r"\{\w+\}", form) == ([placeholders[name]] if name in placeholders else [])
                plain = re.sub(r"\{\w+\}", "", form)
                assert not re.search(r"""[<>"'{}%]|&(?! )""", plain)


@pytest.mark.parametrize(
    ("stars", "english", "german"),
    [
        (5, "Excellent", "Hervorragend"),
        (4.5, "Excellent", "Hervorragend"),
        (4, "Great", "Gut"),
        (3.5, "Average", "Akzeptabel"),
        (3, "Average", "Akzeptabel"),
        (2, "Poor", "Mangelhaft"),
        (1.5, "Bad", "Ungenügend"),
        (1, "Bad", "Ungenügend"),
        (None, "", ""),
    ],
)
def test_a_rating_has_trustpilots_word(stars: float | None, english: str, german: str) -> None:
    assert (display_in("en").label(stars), display_in("de-AT").label(stars)) == (english, german)


def test_sentences_take_the_form_that_goes_with_the_number() -> None:
    polish = [re.sub(r"[\d\s]", "", display_in("pl").total(count)) for count in (1, 2, 5, 22, 1000)]
    assert polish == ["opinia", "opinie", "opinii", "opinie", "opinii"]
    french = display_in("fr")
    assert [french.stars_alt(stars) for stars in (1, 1.5, 2)] == [
        "1 étoile sur 5",
        "1,5 étoile sur 5",
        "2 étoiles sur 5",
    ]
    assert display_in("de").disclosure({1}, "newest") == "Wir zeigen unsere 1-Stern-Bewertungen"
    assert display_in("de").disclosure({3, 4, 5}, "newest") == "Wir zeigen unsere 3-, 4- und 5-Sterne-Bewertungen"


@pytest.mark.parametrize(
    ("tag", "numbers", "sentences"),
    [
        ("de", "de", "de"),
        ("de_DE", "de", "de"),
        ("DE-lu-1996", "de", "de"),
        ("de-CH", "de-CH", "de"),
        ("nb-NO", "no", "no"),
        ("nn", "no", "no"),
        ("no", "no", "no"),
        ("pt-BR", "pt", "pt"),
        ("en-GB", "en-GB", "en"),
        ("zh-Hant-TW", "zh-Hant", "en"),
        ("ar-EG", "ar-EG", "en"),
        ("he", "he", "en"),
        ("ja-JP", "ja", "en"),
        ("", "en", "en"),
        ("klingon", "en", "en"),
        ("de" + "-x" * 50, "en", "en"),
        ("../../etc/passwd", "en", "en"),
        ("{{locale}}", "en", "en"),
    ],
)
def test_a_tag_means_the_language_it_begins_with_or_english(tag: str, numbers: str, sentences: str) -> None:
    display = display_in(tag)
    assert (display.tag, display.sentences_tag) == (numbers, sentences)


def test_no_number_and_no_date_holds_what_html_or_liquid_reads() -> None:
    for tag in FILE["numbers_and_dates"]:
        display = display_in(tag)
        written = [display.average(4.7), display.number(1234567)]
        written += [display.date(date(2024, month, 14)) for month in range(1, 13)]
        assert not set("".join(written)) & set("<>&\"'{}%"), tag


def test_a_sentence_has_its_own_languages_numbers() -> None:
    # The sign between Swiss thousands is CLDR's, and differs between the versions of Babel that setup.cfg allows.
    assert display_in("de-CH").total(1153) in {"1’153 Bewertungen", "1'153 Bewertungen"}
    assert display_in("uk").number(4.5, "0.0") == "4,5"
    assert display_in("uk").stars_alt(4.5) == "4.5 out of 5 stars"


@given(st.text(st.characters(codec="utf-8"), max_size=50) | st.from_regex(r"[a-z]{2,3}([-_][A-Za-z]{2,4})*"))
def test_no_tag_is_an_error_and_all_together_mean_no_more_languages_than_the_file_lists(tag: str) -> None:
    assert display_in(tag).tag in FILE["numbers_and_dates"]


@pytest.mark.parametrize("language", PROMISED)
def test_each_month_reads_otherwise(language: str) -> None:
    assert len({display_in(language).date(date(2024, month, 28)) for month in range(1, 13)}) == 12
