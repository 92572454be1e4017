"""Fragments to look at, of harmless reviews and of such as want to get out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxy.api.parameters import Query, fragment_view, selection
from proxy.clock import Deadline
from proxy.reviews.fragment import Style, fragment
from proxy.reviews.view import BrandAssets
from tests.reviews.model import NOW
from tests.reviews.trustpilot import AllAssets, FullLists, NoAssets, reads, review

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
WRITTEN = {
    "en": ["Such a great toy truck, my kids really enjoy it!", f"Donau{'dampfschifffahrts' * 6}gesellschaft", "5/5"],
    "ar": ["منتج ممتاز جدا (TRUCK-01) ولا يزال يبدو كالجديد.", "Very good, thank you!", "5/5"],
}


def shown(
    query: str,
    reviews: Sequence[Any],
    style: Style = "card",
    *,
    as_text: bool = False,
    assets: BrandAssets | None = None,
) -> str:
    """Return the fragment of a product with these reviews, newest first."""
    read = Query.parse(f"sku=A&{query}".encode())
    asked = fragment_view(read, lambda: NOW)
    proxy = reads(FullLists({"A": list(reviews)}), assets)
    block = proxy.block(selection(read, ("u",)), asked, Deadline.after(10)).body
    return fragment(block, asked, style, as_text=as_text)


def harmless_reviews(language: str) -> list[dict[str, Any]]:
    """Return reviews with photos whose average, 4.7, needs a half star."""
    author = {"displayName": "Frau Oberstudiendirektorin Annegret Müller-Lüdenscheidt"}
    return [
        review(
            f"r{n}", n, content=text, language=language, stars=5 - n // 2, consumer=author, attachments=photo("a?b&c")
        )
        for n, text in enumerate(WRITTEN.get(language, WRITTEN["en"]))
    ]


def hostile_reviews() -> list[dict[str, Any]]:
    """Return reviews that want to get out of their cell, each in its text, its author and its language."""
    return [
        review(f"r{n}", n, content=text, language=text[:20], consumer={"displayName": text}, attachments=photo(text))
        for n, text in enumerate(HOSTILE)
    ]


def html_fragments() -> list[str]:
    """Return a fragment of each kind there is."""
    kinds = [
        shown(f"with_image=true&display_locale={language}", harmless_reviews(language), style, assets=assets)
        for language in ("en", "de", "ar", "he", "xx")
        for style in _STYLES
        for assets in (NoAssets(), AllAssets())
    ]
    return [*kinds, shown("limit=20&with_image=true", hostile_reviews(), assets=AllAssets())]


_STYLES: tuple[Style, ...] = ("card", "line")


def photo(path: str) -> list[dict[str, Any]]:
    """Return a photo's attachments."""
    return [
        {"processedFiles": [{"mimeType": "image/jpeg", "dimension": "360pxWide", "url": f"https://i.example/{path}"}]}
    ]
