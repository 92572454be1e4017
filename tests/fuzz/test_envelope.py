"""Any bytes from Redis: the entry that was packed, or no entry."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.cache import Entry
from proxy.cache.entry import BadEnvelope, pack, unpack
from tests.fuzz.effort import fuzzed

NOW = 1_700_000_000.0
TIMES = st.floats(allow_nan=False, allow_infinity=False)
ENTRIES = st.builds(
    Entry,
    st.binary(max_size=60),
    st.booleans(),
    st.floats(-1e12, NOW + 300),
    st.just(float("-inf")) | st.floats(-1e12, NOW + 300),
    st.just(float("inf")) | TIMES,
)


@fuzzed
@given(ENTRIES)
def test_what_was_packed_comes_back_equal(entry: Entry) -> None:
    assert unpack(pack(entry), NOW) == entry


@fuzzed
@given(ENTRIES, st.data())
def test_damaged_bytes_are_no_entry(entry: Entry, data: st.DataObject) -> None:
    sound = pack(entry)
    start = data.draw(st.integers(0, len(sound)))
    end = data.draw(st.integers(start, len(sound)))
    damaged = sound[:start] + data.draw(st.binary(max_size=8)) + sound[end:]
    assume(damaged != sound)
    with pytest.raises(BadEnvelope):
        unpack(damaged, NOW)


@fuzzed
@given(st.binary(max_size=80))
def test_bytes_from_nowhere_are_no_entry(frame: bytes) -> None:
    with pytest.raises(BadEnvelope):
        unpack(frame, NOW)


@fuzzed
@given(ENTRIES, st.floats(NOW + 300, 1e300, exclude_min=True))
def test_an_entry_from_the_future_is_none(entry: Entry, moment: float) -> None:
    for ahead in (replace(entry, fetched_at=moment), replace(entry, confirmed_at=moment)):
        with pytest.raises(BadEnvelope):
            unpack(pack(ahead), NOW)
