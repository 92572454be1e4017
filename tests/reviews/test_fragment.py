"""A fragment is small, says what it has to, and no review gets out of its cell."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import liquid
import pytest

from proxy.reviews.fragment import MOST_BYTES, Style
from tests.reviews.fragments import HOSTILE, harmless_reviews, hostile_reviews, photo, shown
from tests.reviews.trustpilot import AllAssets, review


def texts(fragment: str) -> list[str]:
    """Return what stands between the tags."""
    return [html.unescape(text) for text in re.split("<[^>]*>", fragment) if text]


class Parts(HTMLParser):
    """Collects each tag with the names of its attributes."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.found: set[tuple[str, ...]] = set()
        self.feed(fragment)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add((tag, *sorted(name for name, _ in attrs)))

    def handle_comment(self, data: str) -> None:
        self.found.add(("!--", data))


@pytest.mark.parametrize("language", ["en", "de", "ar", "he", "xx"])
def test_a_card_holds_rating_total_reviews_and_disclosure(language: str) -> None:
    reviews = [
        review(f"r{n}", n, content=f"Good & {n}", consumer={"displayName": "Zoë"}, stars=5 - n % 2) for n in range(5)
    ]
    card = texts(shown(f"display_locale={language}&stars=4,5", reviews))
    assert [text for text in card if text.startswith("Good & ")] == ["Good & 0", "Good & 1", "Good & 2"]
    assert card.count("Zoë") == 3
    assert any("5" in text for text in card[:3])
    line = "".join(texts(shown(f"display_locale={language}", reviews, "line")))
    assert len(line) < 60
    if language == "en":
        assert "Showing our 4 & 5 star reviews" in card
        assert line == "★★★★½4.6 · 5 reviews"
        assert shown("", reviews, "line", as_text=True) == "★★★★½ 4.6 (5 reviews)"


def test_trustpilots_picture_of_the_stars_has_alt_and_size_and_the_shops_page_is_linked() -> None:
    sizes: dict[Style, tuple[int, int]] = {"card": (160, 30), "line": (128, 24)}
    for style, (width, height) in sizes.items():
        fragment = shown("display_locale=de", harmless_reviews("en"), style, assets=AllAssets())
        source = 'src="https://images.example/stars-4.5.png?a=1&amp;b=2"'
        assert f'<img {source} width="{width}" height="{height}" alt="4,5 von 5 Sternen"' in fragment
        assert 'href="https://www.trustpilot.com/review/u.example?a=1&amp;b=2"' in fragment


def test_without_the_picture_the_stars_are_signs_of_its_height() -> None:
    sizes: dict[Style, int] = {"card": 26, "line": 20}
    for style, size in sizes.items():
        signs = shown("", harmless_reviews("en"), style)
        label = '<span role="img" aria-label="4.5 out of 5 stars" dir="ltr" style="[^"]*'
        assert re.search(f'{label}font-size:{size}px;color:#a15c00">★★★★½</span>', signs)


def test_photos_are_shown_where_they_are_asked_for_only() -> None:
    assert (
        shown("with_image=true", harmless_reviews("en")).count('src="https://i.example/a?b&amp;c" width="160"') == 3
    )
    assert "https://i.example" not in shown("", harmless_reviews("en"))


def test_three_long_reviews_stay_below_twenty_kilobytes_and_twenty_do_too() -> None:
    reviews = [review(f"r{n}", n, content="schöne Ware & ' " * 1200) for n in range(20)]
    three, twenty = shown("limit=3", reviews), shown("limit=20", reviews)
    assert sum(len(text) > 900 for text in texts(three)) == 3
    assert sum(text.startswith("schöne Ware") for text in texts(twenty)) == 20
    assert max(len(three.encode()), len(twenty.encode())) < MOST_BYTES == 20_000


def test_of_twenty_reviews_that_are_too_long_even_when_cut_the_newest_are_shown() -> None:
    reviews = [
        review(f"r{n}", n, content=f"{n} " + "👩‍👩‍👧‍👦 " * 200, attachments=photo("x" * 400)) for n in range(20)
    ]
    fragment = shown("limit=20&with_image=true", reviews)
    assert len(fragment.encode()) < MOST_BYTES
    numbers = [int(text.split()[0]) for text in texts(fragment) if "👩" in text]
    assert numbers == list(range(len(numbers)))
    assert 3 < len(numbers) < 20


def test_a_photo_whose_address_is_too_long_takes_no_reviews_place() -> None:
    one, other = review("a", 1, content="Good", attachments=photo("x" * 30_000)), review("b", 2, content="Fine")
    assert {"Good", "Fine"} < {*texts(shown("with_image=true&min_chars=0", [one]))} | {
        *texts(shown("", [one, other]))
    }
    assert "<img" not in shown("with_image=true", [one])


def test_a_review_written_from_right_to_left_has_its_own_direction_and_so_has_an_english_alt() -> None:
    reviews = [
        review("a", 1, content="ممتاز جدا"),
        review("b", 2, content="Very good"),
        review("c", 3, content="5/5"),
    ]
    english = shown("", reviews)
    assert re.search(r'<td dir="rtl" align="right"[^>]*>ممتاز جدا<', english)
    assert re.search(r'<td dir="ltr" align="left" lang="en"[^>]*>Very good<', english)
    assert re.search(r'<td dir="ltr" align="left"[^>]*>5/5<', english)
    arabic = shown("display_locale=ar", reviews, assets=AllAssets())
    assert re.search(r'<td dir="ltr" align="right"[^>]*><img [^>]* alt="5 out of 5 stars"', arabic)
    assert re.search(r'<td dir="rtl" align="right"[^>]*>5/5<', arabic)


def test_with_nothing_to_show_there_is_nothing() -> None:
    for as_text in (False, True):
        assert shown("", [], as_text=as_text) == ""
        assert shown("", [], "line", as_text=as_text) == ""
        assert shown("stars=1", [review("a", 1)], as_text=as_text) == ""
        assert shown("min_reviews=2", [review("a", 1)], "line", as_text=as_text) == ""
        assert shown("min_reviews=1", [review("a", 1)], "line", as_text=as_text) != ""


def test_no_review_gets_out_of_its_cell() -> None:
    hostile = shown("limit=20&with_image=true", hostile_reviews(), assets=AllAssets())
    assert "<script>alert(1)</script>" in texts(hostile)
    assert "{{ 7 | times: 6 }}" in texts(hostile)
    assert not set("{}'") & set(hostile)
    harmless = shown("with_image=true", harmless_reviews("en"), assets=AllAssets())
    without_language = {tuple(name for name in part if name != "lang") for part in Parts(harmless).found}
    assert Parts(hostile).found <= Parts(harmless).found | without_language


def test_no_review_is_read_as_liquid() -> None:
    fragments = [shown("limit=20", hostile_reviews())]
    fragments += [shown("max_chars=200", [one], as_text=True) for one in hostile_reviews()]
    assert len(fragments) == len(HOSTILE) + 1
    assert all(fragments)
    assert [liquid.Template(one).render() for one in fragments] == fragments


def test_a_line_of_text_is_one_line_with_the_newest_review_and_says_which_it_is() -> None:
    reviews = [review(f"r{n}", n, content=f"Good\n{n}", consumer={"displayName": "Zoë"}) for n in range(3)]
    assert shown("stars=5", reviews, as_text=True) == (
        "★★★★★ 5.0 (3 reviews) · “Good 0” – Zoë · Showing our 5 star reviews"
    )


def test_a_line_of_text_cuts_the_review_and_its_author() -> None:
    one = review("a", 1, content="long " * 100, consumer={"displayName": "von und zu " * 20})
    quote = re.search("“(.*)” – (.*) · ", shown("", [one], as_text=True))
    assert quote
    assert [len(part) for part in quote.groups()] == [110, 59]
    assert len(shown("max_chars=30", [one], as_text=True)) < len(shown("", [one], as_text=True)) - 70
    anonymous = shown("", [review("a", 1, content="Good", consumer={})], as_text=True)
    assert anonymous == "★★★★★ 5.0 (1 review) · “Good” · Showing our latest reviews"
