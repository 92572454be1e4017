"""One held copy, its name and how long it lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Key(NamedTuple):
    """Names a copy: the product it belongs to, so that a purge finds all of it, and which part of it."""

    product: str
    part: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A copy and its three ages. Times are seconds since the epoch."""

    value: bytes
    stored_at: float
    fresh_until: float
    gone_at: float

    def is_fresh(self, now: float) -> bool:
        """Tell whether the copy may be answered without asking Trustpilot again.

        A copy from further ahead than it may be fresh is not: the clock was set back, and its age is unknown.
        """
        return now < self.fresh_until and self.stored_at - now <= self.fresh_until - self.stored_at

    def is_gone(self, now: float) -> bool:
        """Tell whether the copy is too old to be answered at all."""
        return now >= self.gone_at


@dataclass(frozen=True)
class Lifetimes:
    """How long copies live, in seconds: ``CACHE_FRESH_SECONDS`` and its siblings."""

    fresh: float
    stale: float
    missing: float

    def entry(self, value: bytes, *, found: bool, now: float) -> Entry:
        """Wrap ``value``, fetched ``now``. A product without reviews has no stale phase.

        A stale page still shows real reviews; a stale "nothing" would only hide a product's first one.
        """
        if found:
            return Entry(value, now, now + self.fresh, now + max(self.fresh, self.stale))
        return Entry(value, now, now + self.missing, now + self.missing)
