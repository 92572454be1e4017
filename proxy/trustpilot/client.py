"""The calls of Trustpilot's public product-reviews API that the proxy makes, and what their statuses mean."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from proxy.trustpilot.errors import Failing, NotFound, RateLimited, Refused
from proxy.trustpilot.reader import ReviewsPage, SummaryCounts, read_batch_summaries, read_reviews
from proxy.trustpilot.transport import Reply, Transport

PER_PAGE = 100
"""The most Trustpilot hands out per call."""

_log = logging.getLogger(__name__)


class Trustpilot:
    """Trustpilot's public API, called with the proxy's key."""

    def __init__(self, transport: Transport, *, api_url: str, api_key: str) -> None:
        self._transport = transport
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
    ) -> ReviewsPage:
        """Return page ``page`` (from 1) of a product's reviews, newest first, under Trustpilot's own filters.

        A 404 is answered as a product without reviews, and logged: it may also mean a wrong business unit.
        """
        params = [("sku", sku), ("perPage", str(PER_PAGE)), ("page", str(page))]
        params += [("stars", str(star)) for star in stars]
        if language:
            params.append(("language", language))
        if locale:
            params.append(("locale", locale))
        url = f"{self._api_url}/product-reviews/business-units/{quote(business_unit, safe='')}/reviews"
        try:
            reply = _sound(self._transport.send("GET", url, headers=self._headers, params=params))
        except NotFound:
            _log.warning("Trustpilot answered 404 for reviews of business unit %s", business_unit)
            return ReviewsPage([], has_next=False, malformed=0)
        found = read_reviews(reply.body, PER_PAGE)
        if found.malformed:
            _log.warning("dropped %d malformed reviews of business unit %s", found.malformed, business_unit)
        return found

    def batch_summaries(self, business_unit: str, skus: Sequence[str]) -> dict[str, SummaryCounts]:
        """Return the summaries of ``skus`` in one call; a product without reviews may be missing."""
        url = f"{self._api_url}/product-reviews/business-units/{quote(business_unit, safe='')}/batch-summaries"
        try:
            reply = _sound(self._transport.send("POST", url, headers=self._headers, json={"skus": list(skus)}))
        except NotFound:
            _log.warning("Trustpilot answered 404 for summaries of business unit %s", business_unit)
            return {}
        return read_batch_summaries(reply.body)


def _sound(reply: Reply) -> Reply:
    """Return ``reply`` if it is a 200, else raise what its status means."""
    if reply.status == 200:
        return reply
    wait = _retry_after(reply.headers.get("Retry-After"))
    if reply.status in (401, 403):
        raise Refused("Trustpilot refuses the proxy's API key", retry_after=wait)
    if reply.status == 404:
        raise NotFound("Trustpilot does not know this", retry_after=wait)
    if reply.status == 429:
        raise RateLimited("Trustpilot's rate limit is reached", retry_after=wait)
    raise Failing(f"Trustpilot answered {reply.status}", retry_after=wait)


def _retry_after(value: str | None, default: int = 30) -> int:
    """Read a ``Retry-After`` in either of its forms; at least 1 second and at most an hour."""
    if value is None:
        return default
    if value.strip().isdecimal():
        seconds = int(value.strip()[:6])
    else:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return default
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = int((moment - datetime.now(UTC)).total_seconds())
    return min(max(seconds, 1), 3600)
