"""What the rooms tell about themselves, as typed events. Who listens is wired in; the rooms know nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

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


class Validated(Struct, frozen=True, gc=False):
    """One call told about so many products, of which so many are as they were."""

    products: int
    confirmed: int


class FeedRead(Struct, frozen=True, gc=False):
    """A shop's feed was read, and brought so many reviews.

    ``begun``: for the first time. ``restarted``: it does not lead to what was read last.
    """

    outcome: Literal["read", "begun", "restarted", "out_of_order", "failed"]
    reviews: int = 0


class Compared(Struct, frozen=True, gc=False):
    """A shop's summaries were compared, and so many products were fetched because of it."""

    products: int
    fetched: int


class Backfilled(Struct, frozen=True, gc=False):
    """So many reviews of a shop's list were read."""

    business_unit: str
    reviews: int
    is_complete: bool


class Deleted(Struct, frozen=True, gc=False):
    """Trustpilot lists so many reviews and consumers as deleted that were not known to be."""

    names: int


def unheard(_event: object) -> None:
    """Report to nobody."""
