"""What this room needs of Trustpilot: two calls, however they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from proxy.clock import Priority
from proxy.reviews.models import Page
from proxy.reviews.summary import Summary
from proxy.trustpilot.errors import Malformed


class Upstream(Protocol):
    """Trustpilot's calls; each raises :class:`~proxy.trustpilot.TrustpilotError` when it can't be had."""

    def reviews(
        self,
        business_unit: str,
        sku: str,
        *,
        stars: Sequence[int],
        language: str | None,
        locale: str | None,
        page: int,
        priority: Priority,
    ) -> Page:
        """Return a page of 100 reviews, newest first, under Trustpilot's own filters.

        Background calls are the first to be given up.
        """

    def batch_summaries(
        self, business_unit: str, skus: Sequence[str], *, priority: Priority
    ) -> Mapping[str, Summary | Malformed]:
        """Return the summaries of several products in one call, an error in the place of one that can't be read."""
