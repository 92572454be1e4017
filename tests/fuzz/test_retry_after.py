"""Any ``Retry-After``: from a second to an hour, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.trustpilot import LONGEST_RETRY_AFTER_SECONDS, retry_after_seconds
from tests.fuzz.effort import fuzzed

DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Sun", "", "Xxx"]),
    st.integers(-1, 40),
    st.sampled_from(["Jan", "Feb", "Dec", "Foo", "13"]),
    st.integers(-1, 20_000),
    st.integers(-1, 30),
    st.integers(-1, 70),
    st.integers(-1, 70),
    st.one_of(st.sampled_from(["GMT", "-0000", "EST", ""]), st.integers().map("{:+05}".format)),
)
VALUES = st.one_of(st.text(max_size=40), DATES, st.from_regex(r"\s*\d+\s*"), st.integers().map(str))


@fuzzed
@given(VALUES)
@example("Mon, 1 Jan 2024 00:00:00 +99999999999999")
@example("Mon, 1 Jan 0001 00:00:00 +2300")
@example("Fri, 31 Dec 9999 23:59:59 -2300")
@example("²")
@example("١٢")
def test_any_value_is_from_a_second_to_an_hour_or_says_nothing(value: str) -> None:
    told = retry_after_seconds(value)
    assert told is None or (type(told) is int and 1 <= told <= LONGEST_RETRY_AFTER_SECONDS)


@fuzzed
@given(st.integers(0, 10**30))
def test_seconds_are_kept_within_bounds(seconds: int) -> None:
    assert retry_after_seconds(str(seconds)) == min(max(seconds, 1), LONGEST_RETRY_AFTER_SECONDS)


@fuzzed
@given(st.timedeltas(timedelta(days=-5000), timedelta(days=5000)))
def test_a_date_is_as_far_away_as_it_is(away: timedelta) -> None:
    told = retry_after_seconds(format_datetime(datetime.now(UTC) + away, usegmt=True))
    expected = min(max(away.total_seconds(), 1), LONGEST_RETRY_AFTER_SECONDS)
    assert told is not None
    # The header has whole seconds, and time goes on meanwhile.
    assert expected - 30 <= told <= expected
