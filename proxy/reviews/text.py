"""Text made ready for messages: cleaned, cut at a word, escaped for HTML and Liquid."""

from __future__ import annotations

import re

import regex

_HTML = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "{": "&#123;", "}": "&#125;"}
)
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]+")
"""Unicode's controls that are no white space, surrogates, and what turns the direction of text: that would turn the
message around a review; right-to-left letters need none of it."""

_VISIBLE_CHARACTER = regex.compile(r"\X")
"""What a reader sees as one: a letter with its marks, a flag, a family (Unicode Standard Annex 29)."""


def clean(text: object) -> str:
    """Return ``text`` without control characters, white space collapsed and trimmed; "" for what is not text."""
    if not isinstance(text, str):
        return ""
    if not text.isprintable():
        text = _CONTROLS.sub("", text)
    elif "  " not in text and text[:1] != " " and text[-1:] != " ":
        return text  # of all white space only the space is printable
    return " ".join(text.split())


def cut(text: str, max_chars: int | None) -> tuple[str, bool]:
    """Return ``text`` in at most ``max_chars`` characters, and whether it had to be cut.

    The cut is at a word boundary and ends in ``…``. A first word that is too long is cut inside, never inside one
    visible character.
    """
    if max_chars is None or len(text) <= max_chars:
        return text, False
    room = max_chars - 1
    end = text.rfind(" ", 0, room + 1)
    if end <= 0:
        end = _visible(text, room)
    return text[:end].rstrip() + "…", True


def escape_html(text: str) -> str:
    """Return ``text`` safe inside HTML text and quoted attributes, and inert to Liquid."""
    return text.translate(_HTML)


def _visible(text: str, room: int) -> int:
    """Return where the last visible character ends that is within ``room``; one that is longer by itself is cut."""
    last = 0
    # One character more than there is room for tells whether the last one ends in it.
    for character in _VISIBLE_CHARACTER.finditer(text, 0, room + 1):
        if character.end() > room:
            break
        last = character.end()
    return last or room
