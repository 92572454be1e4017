"""What this room reports: calls made, calls not made, answers that were not as documented, and the breaker."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

_KINDS = {
    "reviews": "reviews",
    "batch-summaries": "summaries",
    "accesstoken": "token",
    "email-invitations": "invitation",
}


@dataclass(frozen=True, slots=True)
class CallBegan:
    """A request is being sent."""

    kind: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A request was answered or given up. ``outcome`` is the status, or the name of the error in lower case."""

    kind: str
    outcome: str
    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True)
class CallNotMade:
    """A call was wanted and not made. ``reason``: ``paused``, ``budgetspent`` or ``busy``."""

    reason: str


@dataclass(frozen=True, slots=True)
class AnswerMalformed:
    """A 200 could not be read."""


@dataclass(frozen=True, slots=True)
class ReviewsDropped:
    """So many reviews of one answer could not be read."""

    count: int


@dataclass(frozen=True, slots=True)
class BreakerTurned:
    """The breaker opened or closed."""

    is_open: bool


def kind_of(url: str) -> str:
    """Return what a call to ``url`` is for, as one of a few words."""
    return _KINDS.get(urlsplit(url).path.rpartition("/")[2], "other")
