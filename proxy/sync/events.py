"""What the room tells about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Validated:
    """One call told about so many products, of which so many are as they were."""

    products: int
    confirmed: int


@dataclass(frozen=True, slots=True)
class FeedRead:
    """A shop's feed was read, and brought so many reviews.

    ``begun``: for the first time. ``restarted``: it does not lead to what was read last.
    """

    outcome: Literal["read", "begun", "restarted", "out_of_order", "failed"]
    reviews: int = 0


@dataclass(frozen=True, slots=True)
class Compared:
    """A shop's summaries were compared, and so many products were fetched because of it."""

    products: int
    fetched: int


@dataclass(frozen=True, slots=True)
class Backfilled:
    """So many reviews of a shop's list were read."""

    business_unit: str
    reviews: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Deleted:
    """Trustpilot lists so many reviews and consumers as deleted that were not known to be."""

    names: int
