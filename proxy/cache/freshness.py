"""How fresh an answer is that was made from one or several copies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """What the ``X-Cache`` header says, from best to worst."""

    HIT = 0
    STALE = 1
    MISS = 2


@dataclass(frozen=True, slots=True)
class Freshness:
    """The state, age and remaining freshness of an answer. Times are seconds since the epoch."""

    state: State
    stored_at: float
    fresh_until: float
    gone_at: float = math.inf
    """From then on the answer must not be shown, however stale an answer may be."""

    def remaining(self, now: float) -> float:
        """Return the seconds it stays fresh, after a clock set back at most what it had when it was stored."""
        return max(0.0, min(self.fresh_until - now, self.fresh_until - self.stored_at))

    def with_(self, other: Freshness) -> Freshness:
        """Return the freshness of an answer made from both: the worse state, the older, the sooner to go."""
        return Freshness(
            max(self.state, other.state),
            min(self.stored_at, other.stored_at),
            min(self.fresh_until, other.fresh_until),
            min(self.gone_at, other.gone_at),
        )
