"""What the room tells about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Validated:
    """One call told about so many products, of which so many are as they were."""

    products: int
    confirmed: int
