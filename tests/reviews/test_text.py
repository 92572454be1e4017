"""What a review's text looks like when it is clean and cut; for any text: tests/fuzz/test_text.py."""

from __future__ import annotations

import pytest

from proxy.reviews.models import clean, cut


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


def test_a_word_that_is_too_long_is_cut_inside_but_no_emoji_is_split() -> None:
    assert cut("a" * 5000, 20) == ("a" * 19 + "…", True)
    assert cut("a" * 18 + "👍🏽" + "b" * 9, 20) == ("a" * 18 + "…", True)
