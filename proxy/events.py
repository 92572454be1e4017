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


def unheard(_event: object) -> None:
    """Report to nobody."""


def to_all(*listeners: Report) -> Report:
    """Return a report that every one of ``listeners`` hears."""

    def report(event: object) -> None:
        for listener in listeners:
            listener(event)

    return report
