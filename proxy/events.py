"""What the rooms tell about themselves, as typed events. Who listens is wired in; the rooms know nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Report = Callable[[object], None]
"""Takes one event: a frozen dataclass of the room that reports it. Never raises, never waits."""


@dataclass(frozen=True, slots=True)
class RedisFailed:
    """A question to Redis failed; ``refused``: Redis answered, with an error. Here, as Redis serves several rooms."""

    refused: bool


@dataclass(frozen=True, slots=True)
class FileFailed:
    """The SQLite file could not be used. ``kind``: ``full``, ``locked``, ``damaged`` or ``other``."""

    kind: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A request to Trustpilot is being sent."""

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
    """The circuit breaker opened or closed."""

    is_open: bool


def unheard(_event: object) -> None:
    """Report to nobody."""


def to_all(*listeners: Report) -> Report:
    """Return a report that every one of ``listeners`` hears."""

    def report(event: object) -> None:
        for listener in listeners:
            listener(event)

    return report
