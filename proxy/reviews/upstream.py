"""What this room needs of Trustpilot: a few calls, however they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from proxy.clock import Priority
from proxy.reviews.models import Page, Shop, Source
from proxy.reviews.view import Summary
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
        source: Source,
        priority: Priority,
    ) -> Page:
        """Return a page of 100 reviews, under Trustpilot's own filters.

        ``sku`` is one, several with commas between, or what :func:`~proxy.reviews.models.at_url` named; Trustpilot
        merges their reviews. For :data:`~proxy.reviews.models.SHOP` they are those of the shop itself.

        Background calls are the first to be given up.
        """

    def batch_summaries(
        self, business_unit: str, skus: Sequence[str], *, priority: Priority
    ) -> Mapping[str, Summary | Malformed]:
        """Return the summaries of several products in one call, an error in the place of one that can't be read."""

    def business_unit(self, business_unit: str, *, priority: Priority) -> Shop:
        """Return the shop itself."""

    def summary(self, business_unit: str, sku: str, *, source: Source, priority: Priority) -> Summary:
        """Return the summary of what ``sku`` names, as for :meth:`reviews`, merged by Trustpilot."""
