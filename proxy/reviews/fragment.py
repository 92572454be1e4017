"""A block as something to drop into a message: HTML for mail clients, or one line of text for push and SMS.

What the HTML may use is what Outlook's Word engine, Gmail and Apple Mail all know (caniemail.com): tables, inline
styles on cells, colours in pairs that dark modes can turn, and for each text a row with a direction of its own,
as Word turns the words around where one direction stands inside the other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from proxy.reviews.models import cut, escape_html
from proxy.reviews.view import Display, View

MOST_BYTES = 20_000
"""Gmail cuts a message off at about 102 KB; a fragment leaves room for the rest of it, and for more fragments."""

_LONGEST_TEXTS = (4000, 2000, 1000, 500, 250, 125, 60)
"""Characters that each review is cut to, one after the other, until the fragment is small enough."""

_LONGEST_AUTHOR = 60
_LONGEST_ADDRESS = 1000
"""Characters of a photo's address; with a longer one nothing might be left of the fragment."""

_LONGEST_QUOTE = 110
"""Characters of the review in a line of text, where ``max_chars`` says nothing: a push shows about 178 in all."""

_TEXT, _FAINT, _PAPER, _RULE, _GOLD = "#1f2933", "#52606d", "#ffffff", "#d9e2ec", "#a15c00"
_FONT = "font-family:Arial,Helvetica,sans-serif;mso-line-height-rule:exactly"

Style = Literal["card", "line"]


def fragment(block: Mapping[str, Any], view: View, style: Style, *, as_text: bool) -> str:
    """Return the fragment of a block made for ``view``, whose texts are plain."""
    summary = block["summary"] or {"total": None, "average": None}
    # The shop stands in for a product that is not worth showing; of the shop itself nothing was asked.
    if block["scope"] == "product" and not view.is_worth_showing(summary["total"], summary["average"]):
        return ""
    if as_text:
        return text_fragment(block, view.display, style, max_chars=view.max_chars)
    return html_fragment(block, view.display, style, photos=view.with_image)


def html_fragment(block: Mapping[str, Any], display: Display, style: Style, *, photos: bool) -> str:
    """Return HTML below :data:`MOST_BYTES` for a block whose texts are plain, ``""`` when there is nothing to show.

    ``line``: stars, average and total. ``card``: also the reviews, which of them these are, and the link.
    """
    if style == "line":
        return _line(block, display) if _is_rated(block) else ""
    if not block["found"]:
        return ""
    reviews = list(block["reviews"])
    while True:
        for longest in _LONGEST_TEXTS:
            shown = _card(block, reviews, longest, display, photos=photos)
            if len(shown.encode("utf-8", "replace")) < MOST_BYTES:
                return shown
        reviews.pop()


def text_fragment(block: Mapping[str, Any], display: Display, style: Style, *, max_chars: int | None) -> str:
    """Return one line of plain text, ``""`` when there is nothing to show. ``card``: with the first review.

    It can't be escaped, so what Liquid would take for a tag is taken apart by a space.
    """
    if style == "line":
        return _rating(block, display) if _is_rated(block) else ""
    if not block["found"]:
        return ""
    review = block["reviews"][0]
    content, _ = cut(review["content"], max_chars or _LONGEST_QUOTE)
    author, _ = cut(review["author"], _LONGEST_AUTHOR)
    quote = f"“{content}”" + (f" – {author}" if author else "")
    parts = [_rating(block, display), quote, block["disclosure"]]
    return _LIQUID.sub(r"\1 ", " · ".join(part for part in parts if part))


_LIQUID = re.compile(r"([{%$}])(?=[{%}])")
"""Between any two of these a tag, an output or one of Braze's ``${…}`` may begin or end."""


def _is_rated(block: Mapping[str, Any]) -> bool:
    return block["summary"] is not None and block["summary"]["average"] is not None


def _rating(block: Mapping[str, Any], display: Display) -> str:
    if not _is_rated(block):
        return ""
    summary = block["summary"]
    return f"{summary['stars_icons']} {summary['average_text']} ({display.total(summary['total'])})"


def _line(block: Mapping[str, Any], display: Display) -> str:
    summary = block["summary"]
    total = escape_html(display.total(summary["total"]))
    if link := block["links"]["trustpilot"]:
        total = f'<a href="{escape_html(link)}" style="color:{_TEXT};text-decoration:underline">{total}</a>'
    cells = (
        f'<td valign="middle" dir="ltr" style="padding:4px 0">{_stars(summary, display, 128, 24)}</td>'
        # Padded on both sides: in a mail from right to left the stars stand on its right.
        f'<td valign="middle" dir="ltr" style="padding:4px 8px;{_FONT};font-size:16px;line-height:24px;'
        f'color:{_TEXT}">{_average(summary)} &#183; {total}</td>'
    )
    return f"{_table(display, '')}<tr>{cells}</tr></table>"


def _card(
    block: Mapping[str, Any], reviews: Sequence[Mapping[str, Any]], longest: int, display: Display, *, photos: bool
) -> str:
    sections = [_review(review, longest, display, photos=photos) for review in reviews]
    if _is_rated(block):
        summary = block["summary"]
        total = escape_html(display.total(summary["total"]))
        # In the direction of its alt, which is one of the sentences.
        stars = _Cell(_stars(summary, display, 160, 30), "ltr", _own_side(display)[1], is_text=False)
        sections.insert(0, [stars, _sentence(f"{_average(summary)} &#183; {total}", display, 16)])
    notes = [_sentence(escape_html(block["disclosure"]), display, 14)]
    if link := block["links"]["trustpilot"]:
        shown = escape_html(display.text("link"))
        style = f"color:{_FAINT};text-decoration:underline"
        notes.append(_sentence(f'<a href="{escape_html(link)}" style="{style}">{shown}</a>', display, 14))
    rows = "".join(_section(cells, first=number == 0) for number, cells in enumerate([*sections, notes]))
    return f"{_table(display, f';border:1px solid {_RULE};max-width:600px', whole=True)}{rows}</table>"


def _review(review: Mapping[str, Any], longest: int, display: Display, *, photos: bool) -> list[_Cell]:
    icons = _icons(review["stars_icons"], display.stars_alt(review["stars"]), 18)
    head = f"{icons}&#160; {escape_html(review['date_text'])}"
    cells = [_Cell(head, *_own_side(display), size=14, color=_FAINT)]
    content, _ = cut(review["content"], longest)
    author, _ = cut(review["author"], _LONGEST_AUTHOR)
    if content:
        language = f' lang="{review["language"]}"' if re.fullmatch("[A-Za-z]{2}", str(review["language"])) else ""
        cells.append(_Cell(escape_html(content), *_side_of(content, display), attributes=language))
    if photos and review["image"] and len(review["image"]) <= _LONGEST_ADDRESS:
        alt = escape_html(display.text("photo"))
        # The width alone: how high it is nobody tells, and a wrong height would distort it.
        photo = (
            f'<img src="{escape_html(review["image"])}" width="160" alt="{alt}" border="0" '
            f'style="display:block;width:160px;height:auto;{_FONT};font-size:14px;color:{_FAINT}">'
        )
        cells.append(_Cell(photo, "ltr", _own_side(display)[1], is_text=False))
    if author:
        cells.append(_Cell(f"<strong>{escape_html(author)}</strong>", *_side_of(author, display), size=14))
    return cells


@dataclass(frozen=True)
class _Cell:
    content: str
    direction: str
    side: str
    size: int = 16
    color: str = _TEXT
    attributes: str = ""
    is_text: bool = True
    """Outlook cuts pictures off at the height of a line, where there is one."""

    def row(self, padding: str, rule: str) -> str:
        font = (
            f";{_FONT};font-size:{self.size}px;line-height:{self.size + 8}px;color:{self.color};word-break:break-word"
        )
        return (
            f'<tr><td dir="{self.direction}" align="{self.side}"{self.attributes} '
            f'style="padding:{padding}{rule}{font if self.is_text else ""}">{self.content}</td></tr>'
        )


def _section(cells: Sequence[_Cell], *, first: bool) -> str:
    rule = "" if first else f";border-top:1px solid {_RULE}"
    last = len(cells) - 1
    return "".join(
        cell.row(f"{6 if number else 16}px 16px {16 if number == last else 0}px 16px", "" if number else rule)
        for number, cell in enumerate(cells)
    )


def _sentence(content: str, display: Display, size: int) -> _Cell:
    """Return a row in the language of the sentences, which are all written from left to right."""
    return _Cell(content, "ltr", _own_side(display)[1], size, _TEXT if size > 14 else _FAINT)


def _table(display: Display, style: str, *, whole: bool = False) -> str:
    attributes = f'lang="{display.sentences_tag}"' + (' width="100%"' if whole else "")
    return (
        f'<table role="presentation" {attributes} cellpadding="0" cellspacing="0" border="0" '
        f'bgcolor="{_PAPER}" style="background-color:{_PAPER}{style}">'
    )


def _average(summary: Mapping[str, Any]) -> str:
    return f"<strong>{escape_html(summary['average_text'])}</strong>"


def _stars(summary: Mapping[str, Any], display: Display, width: int, height: int) -> str:
    """Return Trustpilot's picture of the stars; without it, signs."""
    alt = str(summary["stars_alt"])
    if not summary["stars_image"]:
        return _icons(summary["stars_icons"], alt, height - 4)
    source = escape_html(summary["stars_image"])
    return (
        f'<img src="{source}" width="{width}" height="{height}" alt="{escape_html(alt)}" '
        f'border="0" style="display:block;{_FONT};font-size:14px;color:{_TEXT}">'
    )


def _icons(icons: str, alt: str, size: int) -> str:
    return (
        f'<span role="img" aria-label="{escape_html(alt)}" dir="ltr" style="{_FONT};font-size:{size}px;'
        f'color:{_GOLD}">{icons}</span>'
    )


def _own_side(display: Display) -> tuple[str, str]:
    """Return the direction of the language of numbers and dates, and the side where its lines begin."""
    return ("rtl", "right") if display.right_to_left else ("ltr", "left")


def _side_of(text: str, display: Display) -> tuple[str, str]:
    """Return the same of ``text``, as its first letter tells (Unicode Standard Annex 9, P2)."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("R", "AL"):
            return "rtl", "right"
        if kind == "L":
            return "ltr", "left"
    return _own_side(display)
