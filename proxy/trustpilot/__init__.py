"""The only room that talks to Trustpilot, and why Trustpilot could not be had.

Here is the one place where its statuses become errors. Their messages are shown to callers: no secret, nothing from
outside is in them. What needs an HTTP library is wired in by ``proxy.app``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct


class TrustpilotError(Exception):
    """Trustpilot could not be had.

    ``retry_after`` is when asking again may help, in whole seconds; ``retry_after_header`` is what Trustpilot itself
    says of it, if it does. ``received`` is true when Trustpilot may have read the request and acted on it although no
    answer says so.
    """

    def __init__(
        self, message: str, *, retry_after: int = 30, retry_after_header: int | None = None, received: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after_header = retry_after_header
        self.received = received
        self.retry_after = retry_after if retry_after_header is None else retry_after_header


class Unreachable(TrustpilotError):
    """No connection, or one that broke."""


class TimedOut(TrustpilotError):
    """No whole answer within ``UPSTREAM_TIMEOUT_SECONDS``."""


class Busy(TrustpilotError):
    """The bulkhead stayed full; no call was made."""


class Failing(TrustpilotError):
    """A 5xx, or a status that makes no sense here."""


class RateLimited(TrustpilotError):
    """A 429."""


class Refused(TrustpilotError):
    """A 401 or 403: the proxy's own credentials are wrong."""


class TurnedAway(TrustpilotError):
    """A 403 that is a page: the firewall in front of Trustpilot answered, and nobody looked at the credentials."""


class Rejected(TrustpilotError):
    """Another 4xx: Trustpilot works, but not for this request."""


class NoAccess(Rejected):
    """A 401 or 403 to a private call: the key may well read what is public."""


class NotFound(TrustpilotError):
    """A 404."""


class Malformed(TrustpilotError):
    """An answer that is not what the documentation promises."""


class Paused(TrustpilotError):
    """The circuit breaker is open; no call was made."""


class QuotaUsedUp(TrustpilotError):
    """The quota is used up; no call was made."""


class OutcomeUnknown(TrustpilotError):
    """An invitation went out and nothing says what became of it."""


LONGEST_RETRY_AFTER_SECONDS = 3600
"""A longer ``Retry-After`` is not believed: one wrong header would stop all calls for a day."""

FIREWALL = "Trustpilot's firewall turns this proxy away with 403"


class Response(Struct, frozen=True):
    """A whole answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> int | None:
        """``Retry-After`` in seconds."""
        return retry_after_seconds(self.headers.get("retry-after"))

    @property
    def is_firewall_page(self) -> bool:
        """Whether a 403 is a page for people. The API's own is JSON; see :class:`TurnedAway`."""
        if self.status != 403:
            return False
        return "html" in self.headers.get("content-type", "").lower() or self.body.lstrip().startswith(b"<")


def error_of(
    response: Response,
    refused: str = "Trustpilot refuses the proxy's API key",
    refusals: Collection[int] = (401, 403),
) -> TrustpilotError:
    """Return what a status other than a 2xx means.

    ``refused`` says whose credentials a status among ``refusals`` refuses.
    """
    status, asked = response.status, response.retry_after
    if response.is_firewall_page:
        return TurnedAway(FIREWALL, retry_after_header=asked)
    if status in refusals:
        return Refused(refused, retry_after_header=asked)
    if status == 404:
        return NotFound("Trustpilot does not know this", retry_after_header=asked)
    if status == 429:
        return RateLimited("Trustpilot's rate limit is reached", retry_after_header=asked)
    if 400 <= status < 500 and status != 408:
        return Rejected(f"Trustpilot rejects this request with {status}", retry_after_header=asked)
    return Failing(f"Trustpilot answered {status}", retry_after_header=asked)


def retry_after_seconds(value: str | None) -> int | None:
    """Read ``Retry-After``, seconds or a date (RFC 9110, 10.2.3).

    Returns the seconds from 1 to an hour that it asks to wait, ``None`` when it says nothing readable.
    """
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
    return min(max(seconds, 1), LONGEST_RETRY_AFTER_SECONDS)
