"""Text made ready for messages: cleaned, cut at a word, escaped for HTML and Liquid."""

from __future__ import annotations

import unicodedata

import regex

_HTML = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "{": "&#123;", "}": "&#125;"}
)
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They would turn the direction of the message around a review; right-to-left letters need none of them."""

_VISIBLE_CHARACTER = regex.compile(r"\X")
"""What a reader sees as one: a letter with its marks, a flag, a family (Unicode Standard Annex 29)."""


def clean(text: object) -> str:
    """Return ``text`` without control characters, white space collapsed and trimmed; "" for what is not text."""
    if not isinstance(text, str):
        return ""
    if not text.isprintable():
        text = "".join(c for c in text if c.isspace() or not _is_control(c))
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


def stars_icons(stars: float) -> str:
    """Return five star characters, ``stars`` rounded half up of them filled: 4 → ``★★★★☆``."""
    filled = min(5, max(0, int(stars + 0.5)))
    return "★" * filled + "☆" * (5 - filled)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") or character in _BIDI_CONTROLS


def _visible(text: str, room: int) -> int:
    """Return where the last visible character ends that is within ``room``; one that is longer by itself is cut."""
    last = 0
    for character in _VISIBLE_CHARACTER.finditer(text):
        if character.end() > room:
            break
        last = character.end()
    return last or room
