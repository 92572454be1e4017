"""Any text of a review, in any view: clean, cut at a word, and inert where it is dropped in."""

from __future__ import annotations

import html
import unicodedata
from html.parser import HTMLParser

import regex
from hypothesis import example, given
from hypothesis import strategies as st
from liquid import Environment

from proxy.reviews.models import clean, cut, escape_html
from tests.fuzz.effort import fuzzed

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
MARKUP = [
    r"<",
    r">",
    r"&",
    r"'",
    r'"',
    r"{{",
    r"}}",
    r"{%",
    r"%}",
    r"${",
    r"</p>",
    r"&lt;",
    r"&#123;",
    r"<!--",
    r"word",
    r"…",
]
LONE = [*" \t\u2028\x00\x1c\x85\x9f\ud800\u200b\u200d\ufe0f\ufeff", *BIDI, "\r\n", "a" * 30]
VISIBLE = ["e\u0301", "👍🏽", "👨‍👩‍👧", "🇩🇰🇩🇰", "1️⃣", "नि", "한국", "กำ", "🏴\U000e0067\U000e0062\U000e007f"]
_pieces = st.sampled_from([*MARKUP, *LONE, *VISIBLE])
texts = st.one_of(st.text(max_size=80), st.lists(st.one_of(_pieces, st.text(max_size=3)), max_size=40).map("".join))
rooms = st.one_of(st.integers(20, 60), st.integers(20, 2000))
liquid = Environment()


@fuzzed
@given(texts)
def test_clean_text_has_no_control_characters_and_single_spaces_between_words(raw: str) -> None:
    text = clean(raw)
    assert not any(unicodedata.category(c) in ("Cc", "Cs") or c in BIDI for c in text)
    assert [c for c in text if c.isspace() and c != " "] == []
    assert "  " not in text
    assert text == text.strip()
    assert clean(text) == text
    # Nothing else is lost.
    kept = [c for c in raw if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cs") and c not in BIDI]
    assert list(text.replace(" ", "")) == kept


@fuzzed
@given(texts, rooms)
@example("x" * 9 + " " + "y" * 9 + " zzz", 20)
@example("x" * 19 + "\u0e31" * 9, 20)
@example("🇩🇰" * 30, 20)
@example("1️⃣" * 30, 20)
def test_a_cut_is_the_longest_run_of_whole_words_that_fits(raw: str, room: int) -> None:
    text = clean(raw)
    short, truncated = cut(text, room)
    assert cut(short, room) == (short, False)
    assert truncated == (len(text) > room)
    if not truncated:
        assert short == text
        return
    assert len(short) <= room
    kept = short.removesuffix("…")
    assert kept != short
    assert text.startswith(kept)
    assert kept
    assert kept == kept.rstrip()
    first, *_ = text.split(" ", 1)
    if len(first) < room:
        assert text[len(kept)] == " "
        following = text[len(kept) + 1 :].split(" ", 1)[0]
        assert len(kept) + 1 + len(following) + 1 > room
    else:
        visible = [found.end() for found in regex.finditer(r"\X", first)]
        assert len(kept) in visible or visible[0] >= room


@fuzzed
@given(texts)
def test_escaped_text_is_the_text_wherever_it_is_dropped_in(raw: str) -> None:
    text = clean(raw)
    escaped = escape_html(text)
    assert not set(escaped) & set("<>\"'{}")
    assert html.unescape(escaped) == text
    assert read_back(f'<p title="{escaped}">{escaped}</p>') == [("p", [("title", text)]), text, "/p"]
    assert read_back(f"<p title='{escaped}'>{escaped}</p>") == [("p", [("title", text)]), text, "/p"]
    assert liquid.from_string(escaped).render() == escaped
    assert html.unescape(escape_html(cut(text, 20)[0])) == cut(text, 20)[0]


class Read(HTMLParser):
    """What a browser would see."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[object] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.seen.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.seen.append(data)

    def handle_comment(self, data: str) -> None:
        self.seen.append(("comment", data))

    def handle_decl(self, decl: str) -> None:
        self.seen.append(("declaration", decl))

    def handle_pi(self, data: str) -> None:
        self.seen.append(("instruction", data))


def read_back(page: str) -> list[object]:
    parser = Read()
    parser.feed(page)
    parser.close()
    return parser.seen if len(parser.seen) == 3 else [parser.seen[0], "", *parser.seen[1:]]
