"""What a status means, as an error that says so, and when to ask again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from proxy.trustpilot import (
    Failing,
    NotFound,
    RateLimited,
    Refused,
    Rejected,
    Response,
    TrustpilotError,
    TurnedAway,
    Unreachable,
    error_of,
    retry_after_seconds,
)

HTML = {"content-type": "Text/HTML; charset=utf-8"}


def _error(status: int, headers: dict[str, str] | None = None, body: bytes = b"{}") -> TrustpilotError:
    return error_of(Response(status, headers or {}, body))


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (199, Failing, "Trustpilot answered 199"),
        (300, Failing, "Trustpilot answered 300"),
        (302, Failing, "Trustpilot answered 302"),
        (399, Failing, "Trustpilot answered 399"),
        (400, Rejected, "Trustpilot rejects this request with 400"),
        (401, Refused, "Trustpilot refuses the proxy's API key"),
        (403, Refused, "Trustpilot refuses the proxy's API key"),
        (404, NotFound, "Trustpilot does not know this"),
        (408, Failing, "Trustpilot answered 408"),
        (429, RateLimited, "Trustpilot's rate limit is reached"),
        (499, Rejected, "Trustpilot rejects this request with 499"),
        (500, Failing, "Trustpilot answered 500"),
        (599, Failing, "Trustpilot answered 599"),
    ],
)
def test_a_status_becomes_an_error_that_says_when_to_ask_again(
    status: int, kind: type[TrustpilotError], message: str
) -> None:
    error = _error(status)
    assert (type(error), str(error), error.retry_after, error.retry_after_header) == (kind, message, 30, None)
    error = _error(status, {"retry-after": "77"})
    assert (type(error), error.retry_after, error.retry_after_header) == (kind, 77, 77)


@pytest.mark.parametrize(("headers", "body"), [(HTML, b""), ({}, b" \n<html>"), ({"content-type": "x"}, b"<")])
def test_a_403_that_is_a_page_comes_from_the_firewall(headers: dict[str, str], body: bytes) -> None:
    error = _error(403, {**headers, "retry-after": "77"}, body)
    assert (type(error), error.retry_after) == (TurnedAway, 77)
    assert str(error) == "Trustpilot's firewall turns this proxy away with 403"
    assert type(_error(401, headers, body)) is Refused
    assert not Response(200, headers, body).is_firewall_page


def test_whose_credentials_are_refused_is_said() -> None:
    error = error_of(Response(400, {}, b""), "the secret", refusals=(400,))
    assert (type(error), str(error)) == (Refused, "the secret")
    assert type(error_of(Response(401, {}, b""), "the secret", refusals=(400,))) is Rejected


def test_an_error_knows_when_to_ask_again_and_what_was_received() -> None:
    assert (Unreachable("x").retry_after, Unreachable("x").received) == (30, False)
    assert Unreachable("x", retry_after=5).retry_after == 5
    assert Unreachable("x", retry_after=5, retry_after_header=7, received=True).retry_after == 7
    assert Unreachable("x", received=True).received


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
