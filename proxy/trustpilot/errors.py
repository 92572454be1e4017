"""Why Trustpilot could not be had. Messages are shown to callers: no secret, nothing from outside is in them."""

from __future__ import annotations


class TrustpilotError(Exception):
    """Trustpilot could not be had. ``retry_after`` is when asking again may help, in whole seconds."""

    def __init__(self, message: str, *, retry_after: int = 30) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(TrustpilotError):
    """No connection, or one that broke."""


class TimedOut(TrustpilotError):
    """No whole answer within ``UPSTREAM_TIMEOUT_SECONDS``."""


class Busy(TrustpilotError):
    """All ``UPSTREAM_CONCURRENCY`` places stayed taken."""


class Failing(TrustpilotError):
    """A 5xx, or a status that makes no sense here."""


class RateLimited(TrustpilotError):
    """A 429."""


class Refused(TrustpilotError):
    """A 401 or 403: the proxy's own credentials are wrong."""


class NotFound(TrustpilotError):
    """A 404."""


class Malformed(TrustpilotError):
    """An answer that is not what the documentation promises."""
