"""What may come over a wire: any JSON, JSON nearly as documented, and bytes damaged on the way."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

Json = Any

TEXT = st.one_of(
    st.text(max_size=12), st.sampled_from(["", " ", "\ud800", "\u202e", "{{", "<b>", "a@b.example", "\x00"])
)
NUMBERS = st.one_of(
    st.integers(-2, 7),
    st.sampled_from([10**4200, -(10**4200), 2**63, 1e308, -0.0, 4.7, 1e-320]),
    st.floats(allow_nan=False, allow_infinity=False),
)
ANY_JSON: st.SearchStrategy[Json] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=8,
)

MOMENTS = st.one_of(
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.datetimes(timezones=st.timezones()).map(str),
    st.sampled_from(
        [
            "2024-10-14T17:42:40.286Z",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
            "0999-12-31T00:00:00Z",
            "2024-W01-1",
            "20241014",
            "2024-10-14T24:00:00",
            "2024-02-30",
            "",
        ]
    ),
)


def mostly(sound: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """Draw what is as documented three times out of four, else anything."""
    return st.one_of(sound, sound, sound, ANY_JSON)


FILES = st.fixed_dictionaries(
    {},
    optional={
        "mimeType": mostly(st.sampled_from(["image/png", "video/mp4", "image/"])),
        "dimension": mostly(st.sampled_from(["360pxWide", "64px", "99999px", "px", "x"])),
        "url": mostly(
            st.sampled_from(["https://a.example/b.png", "http://a", "javascript:alert(1)", "data:,x", "https://"])
        ),
    },
)
REVIEWS = st.fixed_dictionaries(
    {"stars": mostly(st.integers(1, 5))},
    optional={
        "id": mostly(st.sampled_from(["r1", "r2", "r3"])),
        "content": mostly(TEXT),
        "createdAt": mostly(MOMENTS),
        "language": mostly(st.sampled_from(["en", "DA", "fr"])),
        "consumer": mostly(st.fixed_dictionaries({}, optional={"displayName": mostly(TEXT)})),
        "firstCompanyComment": mostly(st.fixed_dictionaries({}, optional={"comment": mostly(TEXT)})),
        "attributeRatings": mostly(
            st.lists(
                st.fixed_dictionaries({}, optional={"attributeName": mostly(TEXT), "rating": mostly(NUMBERS)}),
                max_size=3,
            )
        ),
        "attachments": mostly(
            st.lists(
                st.fixed_dictionaries({}, optional={"processedFiles": mostly(st.lists(FILES, max_size=3))}),
                max_size=2,
            )
        ),
        "unheardOf": ANY_JSON,
    },
)


def written(value: Json) -> bytes:
    """Return ``value`` as JSON. Lone surrogates are escaped, as JSON can and UTF-8 can't."""
    return json.dumps(value).encode()


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Draw bytes of which some are missing, too many or wrong."""
    sound = draw(whole)
    start = draw(st.integers(0, len(sound)))
    end = draw(st.integers(start, min(len(sound), start + 4)))
    return sound[:start] + draw(st.binary(max_size=4)) + sound[end:]
