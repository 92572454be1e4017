"""Why Trustpilot could not be had. Messages are shown to callers: no secret, nothing from outside is in them."""

from __future__ import annotations


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
