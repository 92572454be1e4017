"""What is written of an entry is read back whole, or not at all."""

from __future__ import annotations

import math

import pytest

from proxy.cache.entry import BadEnvelope, Entry, pack, unpack

ENTRY = Entry(b"value", found=True, fetched_at=1000.5, confirmed_at=2000.25, outdated_at=3000.0)
ODD = r"^its moments make no sense$"
DAMAGED = r"^not an entry of this version, or damaged$"


@pytest.mark.parametrize(
    "entry", [ENTRY, Entry(b"", found=False, fetched_at=0.0), Entry(b"\0" * 1000, found=True, fetched_at=-5.0)]
)
def test_an_entry_is_read_as_it_was_written(entry: Entry) -> None:
    assert unpack(pack(entry), 5000) == entry


def test_an_entry_that_is_cut_off_or_of_which_a_byte_is_another_is_none() -> None:
    envelope = pack(ENTRY)
    for place, byte in enumerate(envelope):
        for damaged in (envelope[:place], envelope[:place] + bytes([byte ^ 1]) + envelope[place + 1 :]):
            with pytest.raises(BadEnvelope, match=DAMAGED):
                unpack(damaged, 5000)


@pytest.mark.parametrize(
    "odd",
    [
        Entry(b"", found=True, fetched_at=math.nan),
        Entry(b"", found=True, fetched_at=math.inf),
        Entry(b"", found=True, fetched_at=-math.inf),
        Entry(b"", found=True, fetched_at=0, confirmed_at=math.nan),
        Entry(b"", found=True, fetched_at=0, confirmed_at=math.inf),
        Entry(b"", found=True, fetched_at=0, outdated_at=math.nan),
        Entry(b"", found=True, fetched_at=0, confirmed_at=1e9),
        Entry(b"", found=True, fetched_at=1e9, confirmed_at=0),
    ],
)
def test_an_entry_of_no_time_is_none(odd: Entry) -> None:
    with pytest.raises(BadEnvelope, match=ODD):
        unpack(pack(odd), 5000)


def test_an_entry_may_be_from_a_clock_that_is_a_little_ahead() -> None:
    assert unpack(pack(ENTRY), 1999.0) == ENTRY


def test_an_entry_is_as_old_as_its_last_confirmation() -> None:
    assert ENTRY.as_of == 2000.25
    assert Entry(b"", found=True, fetched_at=7.0).as_of == 7.0
