from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from proxy.trustpilot.retry_after import seconds_told


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7),
        (" 7 ", 7),
        ("0", 1),
        ("86400", 3600),
        ("9" * 50, 3600),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_seconds_are_read_and_kept_between_one_and_an_hour(value: str | None, seconds: int | None) -> None:
    assert seconds_told(value) == seconds


def test_a_date_is_read_as_the_seconds_until_then() -> None:
    told = seconds_told(format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True))
    assert told is not None
    assert 85 <= told <= 90
    assert seconds_told("Sun, 06 Nov 1994 08:49:37 GMT") == 1
