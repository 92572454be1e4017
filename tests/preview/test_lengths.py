"""How SMS are counted (Braze: Message copy segments; GSM 03.38)."""

from __future__ import annotations

import pytest

from proxy.preview.message import sms_length


@pytest.mark.parametrize(
    ("text", "characters", "segments", "encoding"),
    [
        ("", 0, 0, "GSM-7"),
        ("a" * 160, 160, 1, "GSM-7"),
        ("a" * 161, 161, 2, "GSM-7"),
        ("é" * 306, 306, 2, "GSM-7"),
        ("a" * 307, 307, 3, "GSM-7"),
        ("€" * 80, 160, 1, "GSM-7"),
        ("★" * 70, 70, 1, "UCS-2"),
        ("★" * 71, 71, 2, "UCS-2"),
        ("😀" * 35, 70, 1, "UCS-2"),
    ],
)
def test_a_text_is_counted_as_the_network_counts(text: str, characters: int, segments: int, encoding: str) -> None:
    length = sms_length(text)
    assert (length["characters"], length["segments"], length["encoding"]) == (characters, segments, encoding)
    assert bool(length["outside"]) == (encoding == "UCS-2")
