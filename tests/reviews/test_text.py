import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.reviews.models import clean, cut, escape_html


@pytest.mark.parametrize(
    ("raw", "ready"),
    [
        ("  two   spaces ", "two spaces"),
        ("line\nbreak\ttab\u2028sep", "line break tab sep"),
        ("nul\x00bell\x07", "nulbell"),
        ("\u202egnol\u202c", "gnol"),
        ("👨‍👩‍👧", "👨‍👩‍👧"),
        (None, ""),
        (5, ""),
    ],
)
def test_text_is_cleaned(raw: object, ready: str) -> None:
    assert clean(raw) == ready


@given(st.text(), st.integers(20, 60))
def test_a_cut_never_exceeds_its_room_and_ends_at_a_word(text: str, room: int) -> None:
    text = clean(text)
    short, was_cut = cut(text, room)
    assert len(short) <= room
    assert was_cut == (short != text)
    if was_cut:
        assert short.endswith("…")
        assert text.startswith(short[:-1])
        if " " in text[:room]:
            assert text[len(short) - 1] == " "


def test_a_word_that_is_too_long_is_cut_inside_but_no_emoji_is_split() -> None:
    assert cut("a" * 5000, 20) == ("a" * 19 + "…", True)
    assert cut("a" * 18 + "👍🏽" + "b" * 9, 20) == ("a" * 18 + "…", True)


@given(st.text())
def test_escaped_text_holds_nothing_that_html_or_liquid_reads(text: str) -> None:
    assert not set(escape_html(text)) & set("<>\"'{}")
