"""What Trustpilot offers to show beside reviews: its pictures of stars, and the shop's page there."""

from __future__ import annotations

from typing import Protocol


class BrandAssets(Protocol):
    """Addresses that are known by now. Nothing is ever waited for."""

    def stars_image(self, stars: float) -> str | None:
        """Return the address of Trustpilot's own picture of half stars, 256×48."""

    def shop_page(self, business_unit: str) -> str | None:
        """Return the address of the business unit's page at Trustpilot."""


class NoAssets:
    """Nothing is known."""

    def stars_image(self, stars: float) -> str | None:
        """Return none."""
        return None

    def shop_page(self, business_unit: str) -> str | None:
        """Return none."""
        return None
