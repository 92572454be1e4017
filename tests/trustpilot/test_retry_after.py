from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from proxy.trustpilot.errors import retry_after_seconds


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
    assert retry_after_seconds(value) == seconds


def test_a_date_is_read_as_the_seconds_until_then() -> None:
    told = retry_after_seconds(format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True))
    assert told is not None
    assert 85 <= told <= 90
    assert retry_after_seconds("Sun, 06 Nov 1994 08:49:37 GMT") == 1
