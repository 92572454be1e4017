"""Where pages and summaries come from: the cache, and behind it Trustpilot. One key per thing that can be fetched."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.cache import Cache, Cached, Fetched, Key, Lookup
from proxy.clock import Priority
from proxy.reviews.batching import SummaryBatches
from proxy.reviews.models import Page
from proxy.reviews.summary import NOTHING, Summary
from proxy.reviews.upstream import Upstream
from proxy.reviews.view import Filter
from proxy.trustpilot.errors import NotFound

WHOLE = Filter()
SUMMARY = "summary"
_PAGE = "page2"
"""Counted up when the bytes of a stored page mean something else: a copy in an older form is then never asked for."""


def product_name(business_unit: str, sku: str) -> str:
    """Return the name under which all parts of a product are cached."""
    return f"{business_unit}/{sku}"


def shop_and_sku(product: str) -> tuple[str, str]:
    """Return the business unit and the SKU of what :func:`product_name` named."""
    business_unit, _, sku = product.partition("/")
    return business_unit, sku


def is_summary(part: str) -> bool:
    """Tell whether ``part`` is Trustpilot's own summary."""
    return part == SUMMARY


def is_page(part: str) -> bool:
    """Tell whether ``part`` is a page of reviews."""
    return part.startswith(f"{_PAGE}/")


def is_newest_page(part: str) -> bool:
    """Tell whether ``part`` is the newest page, all stars and languages, in any language of attribute names."""
    return is_page(part) and part.split("/")[2:] == [WHOLE.name, "1", ""]


def page_of(cached: Cached) -> Page:
    """Return the page of a copy: the one that was just fetched, or else read from its bytes."""
    return cached.source if isinstance(cached.source, Page) else Page.decode(cached.value)


class PageLoader:
    """Looks up one business unit's pages, in one language of attribute names, and its summaries."""

    def __init__(
        self,
        cache: Cache,
        trustpilot: Upstream,
        batches: SummaryBatches,
        business_unit: str,
        locale: str | None,
        *,
        fresh: bool = False,
    ) -> None:
        """``fresh``: a stale copy is not enough."""
        self._cache = cache
        self._look_up = cache.refresh if fresh else cache.get_or_fetch
        self._trustpilot = trustpilot
        self._batches = batches
        self._business_unit = business_unit
        self._locale = locale

    def page(self, sku: str, filters: Filter, number: int = 1, after: str = "", *, again: bool = False) -> Lookup:
        """Look page ``number`` up. ``after`` names the review before it. ``again``: a fresh copy is not enough.

        Being part of the key, it keeps a page that was fetched behind an older page from being joined to a newer one,
        with a gap between them. Raises :class:`~proxy.cache.BackendDown` only where it is to be fetched again.
        """

        def fetch(*, priority: Priority) -> Fetched:
            try:
                page = self._trustpilot.reviews(
                    self._business_unit,
                    sku,
                    stars=filters.stars,
                    language=filters.language,
                    locale=self._locale,
                    page=number,
                    priority=priority,
                )
            except NotFound:
                cached = self._cache.get(key)
                if cached is not None and page_of(cached).index:
                    # A 404 may be a mistake for a while; reviews that were there are not replaced by none.
                    raise
                page = Page.of([], complete=True)
            return Fetched(page.encode(), found=bool(page.index), source=page)

        key = self._page_key(sku, filters, number, after)
        return self._cache.refetch(key, fetch) if again else self._look_up(key, fetch)

    def summary(self, sku: str) -> Lookup:
        """Look the summary up that Trustpilot itself makes."""

        def fetch(*, priority: Priority) -> Fetched:
            try:
                summary = self._batches.summary(self._business_unit, sku, priority=priority) or NOTHING
            except NotFound:
                cached = self._cache.get(key)
                if cached is not None and Summary.decode(cached.value).total:
                    raise  # as for a page
                summary = NOTHING
            return Fetched(summary.encode(), found=bool(summary.total))

        key = Key(product_name(self._business_unit, sku), SUMMARY)
        return self._look_up(key, fetch)

    def summaries(self, skus: Sequence[str]) -> list[Lookup]:
        """Look several summaries up; one call fetches all that are not there."""
        self._batches.expect(self._business_unit, len(skus))
        lookups = [self.summary(sku) for sku in skus]
        self._batches.expect(self._business_unit, -sum(lookup.is_ready for lookup in lookups))
        return lookups

    def cached_page(self, sku: str) -> Cached | None:
        """Return the newest page if a copy is there, without fetching."""
        return self._cache.get(self._page_key(sku, WHOLE, 1, ""))

    def _page_key(self, sku: str, filters: Filter, number: int, after: str) -> Key:
        return Key(
            product_name(self._business_unit, sku), f"{_PAGE}/{self._locale or '*'}/{filters.name}/{number}/{after}"
        )
