"""The calls of Trustpilot's public product-reviews API that the proxy makes, and what their statuses mean."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from urllib.parse import quote

from proxy.clock import Priority
from proxy.events import Report, unheard
from proxy.trustpilot.breaker import Call
from proxy.trustpilot.errors import Malformed, NotFound
from proxy.trustpilot.gate import Gate
from proxy.trustpilot.reader import PER_PAGE, ReviewsPage, SummaryCounts, read_batch_summaries, read_reviews
from proxy.trustpilot.reports import ReviewsDropped
from proxy.trustpilot.transport import Transport

_log = logging.getLogger(__name__)


class Trustpilot:
    """Trustpilot's public API, called with the proxy's key."""

    def __init__(
        self, transport: Transport, gate: Gate, *, api_url: str, api_key: str, report: Report = unheard
    ) -> None:
        self._transport = transport
        self._gate = gate
        self._report = report
        self._api_url = api_url
        self._headers = {"apikey": api_key, "Accept": "application/json"}

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
    ) -> ReviewsPage:
        """Return page ``page`` (from 1) of a product's reviews, newest first, under Trustpilot's own filters.

        A 404 is logged and raised as :class:`NotFound`: a product without reviews, or a wrong business unit.
        """
        params = [("sku", sku), ("perPage", str(PER_PAGE)), ("page", str(page))]
        params += [("stars", str(star)) for star in stars]
        if language:
            params.append(("language", language))
        if locale:
            params.append(("locale", locale))
        url = f"{self._api_url}/product-reviews/business-units/{quote(business_unit, safe='')}/reviews"
        try:
            found = self._gate.call(
                Call.of(business_unit, "reviews", [sku]),
                lambda: self._transport.send("GET", url, headers=self._headers, params=params),
                lambda body: read_reviews(body, PER_PAGE),
                priority=priority,
            )
        except NotFound:
            _log.warning("Trustpilot answered 404 for reviews of business unit %s", business_unit)
            raise
        if found.malformed:
            self._report(ReviewsDropped(found.malformed))
            _log.warning("dropped %d malformed reviews of business unit %s", found.malformed, business_unit)
        return found

    def batch_summaries(
        self, business_unit: str, skus: Sequence[str], *, priority: Priority
    ) -> dict[str, SummaryCounts | Malformed]:
        """Return the summaries of ``skus`` in one call; a product without reviews may be missing.

        A summary that can't be read is an error in its SKU's place.
        """
        url = f"{self._api_url}/product-reviews/business-units/{quote(business_unit, safe='')}/batch-summaries"
        try:
            return self._gate.call(
                Call.of(business_unit, "summaries", skus),
                lambda: self._transport.send("POST", url, headers=self._headers, json={"skus": list(skus)}),
                read_batch_summaries,
                priority=priority,
            )
        except NotFound:
            _log.warning("Trustpilot answered 404 for summaries of business unit %s", business_unit)
            raise
