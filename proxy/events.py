"""What the rooms tell about themselves, as typed events. Who listens is wired in; the rooms know nobody."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

Report = Callable[[object], None]
"""Takes one event: a frozen struct of the room that reports it. Never raises, never waits."""


class RedisFailed(Struct, frozen=True, gc=False):
    """A question to Redis failed; ``refused``: Redis answered, with an error. Here, as Redis serves several rooms."""

    refused: bool


class FileFailed(Struct, frozen=True, gc=False):
    """The SQLite file could not be used. ``kind``: ``full``, ``locked``, ``damaged`` or ``other``."""

    kind: str


class CallStarted(Struct, frozen=True, gc=False):
    """A request to Trustpilot is being sent."""

    kind: str


class CallEnded(Struct, frozen=True, gc=False):
    """A request was answered or given up. ``outcome`` is the status, or the name of the error in lower case."""

    kind: str
    outcome: str
    seconds: float
    bytes: int


class CallNotMade(Struct, frozen=True, gc=False):
    """A call was wanted and not made. ``reason``: ``paused``, ``budgetspent`` or ``busy``."""

    reason: str


class AnswerMalformed(Struct, frozen=True, gc=False):
    """A 200 could not be read."""


class ReviewsDropped(Struct, frozen=True, gc=False):
    """So many reviews of one answer could not be read."""

    count: int


class BreakerTurned(Struct, frozen=True, gc=False):
    """The circuit breaker opened or closed."""

    is_open: bool


def unheard(_event: object) -> None:
    """Report to nobody."""
