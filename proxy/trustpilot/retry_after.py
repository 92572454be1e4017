"""``Retry-After`` as servers send it: seconds, or a date (RFC 9110, 10.2.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_SECONDS = 3600
"""A longer one is not believed: one wrong header would stop all calls for a day."""


def seconds_told(value: str | None) -> int | None:
    """Return the seconds from 1 to an hour that ``value`` asks to wait, ``None`` when it says nothing readable."""
    if value is None:
        return None
    if value.strip().isdecimal():
        seconds = int(value.strip()[:6])
    else:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):  # the latter for a time zone that is years away
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = int((moment - datetime.now(UTC)).total_seconds())
    return min(max(seconds, 1), LONGEST_SECONDS)
