"""A fragment is small, holds only what Outlook, Gmail and Apple Mail all know, and no review gets out of its cell."""

from __future__ import annotations

import json
import re
import subprocess
from html.parser import HTMLParser
from typing import Any

import liquid
import pytest
from playwright.sync_api import Browser

from proxy.api.parameters import Query, selection, view
from proxy.clock import Deadline
from proxy.reviews.fragment import MOST_BYTES, Style, fragment
from tests.browser import visitor
from tests.reviews.model import NOW
from tests.reviews.trustpilot import FullLists, reads, review

# What caniemail.com lists as known to Outlook's Word engine, Gmail and Apple Mail: tags with their attributes.
KNOWN = {
    "table": {"role", "lang", "cellpadding", "cellspacing", "border", "bgcolor", "width", "style"},
    "tr": set(),
    "td": {"dir", "align", "valign", "lang", "style"},
    "img": {"src", "width", "height", "alt", "border", "style"},
    "a": {"href", "style"},
    "span": {"role", "aria-label", "dir", "style"},
    "strong": set(),
}
PROPERTIES = {
    "padding",
    "background-color",
    "border",
    "border-top",
    "max-width",
    "font-family",
    "mso-line-height-rule",
    "font-size",
    "line-height",
    "color",
    "text-decoration",
    "word-break",
    "display",
    "width",
    "height",
}
HOSTILE = [
    "<script>alert(1)</script>",
    "</td></tr></table><h1>out</h1>",
    '" onerror="alert(1)',
    "' onmouseover='alert(1)",
    "{{ 7 | times: 6 }}",
    "{% abort_message('x') %}",
    "{%- raw -%}",
    "{{{{ a }}}} {%%} ${x} {{${email_address}}}",
    "{" * 7 + "%" * 7 + "}" * 7,
    "{ { 1 } } {\u200b{",
    "&lt;b&gt; &amp; &#123;&#123; 1 }}",
    "<!-- <![endif]--> <!--[if mso]>",
    "javascript:alert(1) \u202egnp.exe",
    "a" * 3000,
    "\x00\x1b[31m\ufdd3",
]


def shown(query: str, reviews: list[Any], style: Style = "card", *, as_text: bool = False) -> str:
    read = Query.parse(f"sku=A&{query}".encode())
    asked = view(read, lambda: NOW, html=False)
    block = reads(FullLists({"A": reviews})).block(selection(read, ("u",)), asked, Deadline.after(10)).body
    return fragment(block, asked, style, as_text=as_text)


def hostile_reviews() -> list[dict[str, Any]]:
    return [
        review(f"r{n}", n, content=text, language=text[:20], consumer={"displayName": text})
        for n, text in enumerate(HOSTILE)
    ]


class Rules(HTMLParser):
    """Collects what a mail client may not know, and the texts."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in KNOWN or not given.keys() <= KNOWN[tag]:
            self.wrong.append(f"<{tag} {given}>")
        for declared in filter(None, (given.get("style") or "").split(";")):
            name, _, value = declared.partition(":")
            if name not in PROPERTIES or not value:
                self.wrong.append(declared)
            if name == "font-size" and int(value.removesuffix("px")) < 14:
                self.wrong.append(declared)
        if tag == "img":
            if not given.get("alt") or not str(given.get("width")).isdecimal():
                self.wrong.append(f"{given}")
            return
        if tag == "a" and not str(given.get("href")).startswith("https://"):
            self.wrong.append(f"{given}")
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}>")

    def handle_comment(self, data: str) -> None:
        self.wrong.append(data)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def checked(html: str) -> list[str]:
    """Return the texts of sound HTML."""
    rules = Rules()
    rules.feed(html)
    rules.close()
    assert (rules.wrong, rules.open) == ([], [])
    assert len(html.encode()) < MOST_BYTES
    return rules.texts


PHOTO = [{"processedFiles": [{"mimeType": "image/jpeg", "dimension": "360pxWide", "url": "https://i.example/a?b&c"}]}]


@pytest.mark.parametrize("language", ["en", "de", "ar", "he", "xx"])
def test_a_card_holds_rating_total_reviews_disclosure_and_only_what_mail_clients_know(language: str) -> None:
    reviews = [
        review(f"r{n}", n, content=f"Good & {n}", consumer={"displayName": "Zoë"}, stars=5 - n % 2, attachments=PHOTO)
        for n in range(5)
    ]
    texts = checked(shown(f"display_locale={language}&with_image=true&stars=4,5", reviews))
    assert [text for text in texts if text.startswith("Good & ")] == ["Good & 0", "Good & 1", "Good & 2"]
    assert texts.count("Zoë") == 3
    assert any("5" in text for text in texts[:3])
    line = checked(shown(f"display_locale={language}", reviews, "line"))
    assert len("".join(line)) < 60
    if language == "en":
        assert "Showing our 4 & 5 star reviews" in texts
        assert "".join(line) == "★★★★½4.6 · 5 reviews"
        assert "".join(shown("", reviews, "line", as_text=True)) == "★★★★½ 4.6 (5 reviews)"


def test_three_long_reviews_stay_below_twenty_kilobytes_and_twenty_do_too() -> None:
    reviews = [review(f"r{n}", n, content="schöne Ware & ' " * 1200) for n in range(20)]
    assert sum(len(text) > 900 for text in checked(shown("limit=3", reviews))) == 3
    assert checked(shown("limit=20", reviews))


def test_a_review_written_from_right_to_left_has_its_own_direction() -> None:
    html = shown("", [review("a", 1, content="ممتاز جدا"), review("b", 2, content="Very good")])
    assert '<td dir="rtl" align="right"' in html
    assert re.search(r'<td dir="ltr" align="left"[^>]*>Very good<', html)


def test_with_nothing_to_show_there_is_nothing() -> None:
    for as_text in (False, True):
        assert shown("", [], as_text=as_text) == ""
        assert shown("", [], "line", as_text=as_text) == ""
        assert shown("stars=1", [review("a", 1)], as_text=as_text) == ""
        assert shown("min_reviews=2", [review("a", 1)], "line", as_text=as_text) == ""
        assert shown("min_reviews=1", [review("a", 1)], "line", as_text=as_text) != ""


def test_no_review_gets_out_of_its_cell() -> None:
    texts = checked(shown("limit=20", hostile_reviews()))
    assert "<script>alert(1)</script>" in texts
    assert "{{ 7 | times: 6 }}" in texts


def test_no_review_is_read_as_liquid_by_either_engine() -> None:
    fragments = [shown("limit=20", hostile_reviews())]
    fragments += [shown("max_chars=200", [one], as_text=True) for one in hostile_reviews()]
    assert all(fragments)
    assert [liquid.Template(one).render() for one in fragments] == fragments
    program = """
        require "liquid"
        require "json"
        puts JSON.parse(STDIN.read).map { |one| Liquid::Template.parse(one, error_mode: :strict).render }.to_json
    """
    done = subprocess.run(
        ["ruby", "-e", program], input=json.dumps(fragments), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == fragments


def test_a_line_of_text_is_one_line_with_the_newest_review_and_says_which_it_is() -> None:
    reviews = [review(f"r{n}", n, content=f"Good\n{n}", consumer={"displayName": "Zoë"}) for n in range(3)]
    assert shown("stars=5", reviews, as_text=True) == (
        "★★★★★ 5.0 (3 reviews) · “Good 0” – Zoë · Showing our 5 star reviews"
    )


def test_in_a_browser_nothing_hostile_runs_and_nothing_is_wider_than_a_phone(browser: Browser) -> None:
    with visitor(browser, viewport={"width": 320, "height": 500}) as page:
        opened: list[str] = []
        page.on("dialog", lambda dialog: opened.append(dialog.message))
        page.set_content(f'<!doctype html><body style="margin:0">{shown("limit=20", hostile_reviews())}</body>')
        assert page.evaluate("document.querySelectorAll('script, h1, [onerror], [onmouseover]').length") == 0
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        assert opened == []
