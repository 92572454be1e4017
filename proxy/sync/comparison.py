"""What a feed does not show, a review that was hidden: once an hour the summaries of all products are compared."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from msgspec.structs import replace

from proxy.cache import Cache, Cached, Key, Updated
from proxy.cache.backend import FOR_GOOD_SECONDS, Backend
from proxy.cache.cache import Parts
from proxy.clock import Now, Priority, in_turns
from proxy.events import Compared, Report, unheard
from proxy.reviews.page_loader import (
    is_confirmable,
    is_newest_page,
    is_page,
    is_summary,
    is_variants_token,
    page_of,
    product_name,
)
from proxy.reviews.view import Summary
from proxy.sync.shops import Shops, ShopState, digest
from proxy.trustpilot.client import SUMMARIES_PER_PAGE

MOST_PAGES = 1000
_PAIRS_AT_ONCE = 2000


class SummariesCall(Protocol):
    """The call that reads a page."""

    def __call__(
        self, business_unit: str, page: int, *, priority: Priority
    ) -> tuple[Iterator[tuple[str, Summary]], int]:
        """Return page ``page`` (from 1), each summary read when it is asked for, and how many summaries it held."""


class Comparison:
    """Keeps in the backend what was counted of each product last: 16 bytes each."""

    def __init__(
        self,
        call: SummariesCall,
        cache: Cache,
        backend: Backend,
        shops: Shops,
        now: Now,
        spans: Callable[[Parts, Summary], list[tuple[float, float]]],
        refetch: Callable[[str, str], None],
        report: Report = unheard,
    ) -> None:
        """``spans``: from when to when a page must have been fetched to show a summary's counts."""
        self._call = call
        self._cache = cache
        self._backend = backend
        self._shops = shops
        self._now = now
        self._spans = spans
        self._refetch = refetch
        self._report = report

    def touch(self, business_unit: str, skus: Iterable[str]) -> None:
        """Look at these products next time whatever is counted: one may have come and another gone."""
        if names := array("Q", map(digest, skus)):
            key = f"sync:{business_unit}:touched"
            self._backend.set(key, (self._backend.get(key) or b"") + names.tobytes(), FOR_GOOD_SECONDS)

    def compare(self, business_unit: str, state: ShopState) -> ShopState:
        """Have fetched what is cached of products whose counts are others; return the state to save.

        Raises :class:`~proxy.trustpilot.errors.TrustpilotError` or :class:`~proxy.cache.BackendDown`.
        """
        before, is_first = self._counted_before(business_unit)
        counted = array("Q")
        # Where the last page is full, one more is looked at only when there may be one: a call an hour.
        last = state.products if state.skus == state.compared_skus else 0
        others, reviews, at = 0, 0, self._now()
        for number in range(1, MOST_PAGES + 1):
            summaries, given = self._call(business_unit, number, priority=Priority.FEED)
            with_reviews = []
            for sku, summary in in_turns(summaries):
                name, counts = digest(sku), digest(repr(summary.stars))
                counted.extend((name, counts))
                reviews += summary.total
                if summary.total:
                    with_reviews.append(name)
                if before.get(name) != counts:
                    others += self._is_other(business_unit, sku, summary, is_first=is_first)
            state = self._shops.add_skus(business_unit, state, with_reviews)
            if given < SUMMARIES_PER_PAGE or number * SUMMARIES_PER_PAGE == last:
                break
        self._backend.set(f"sync:{business_unit}:counted", counted.tobytes(), FOR_GOOD_SECONDS)
        self._backend.set(f"sync:{business_unit}:touched", b"", FOR_GOOD_SECONDS)
        products = len(counted) // 2
        self._report(Compared(products, others))
        return replace(state, compared_at=at, reviews=reviews, products=products, compared_skus=state.skus)

    def _counted_before(self, business_unit: str) -> tuple[dict[int, int], bool]:
        """Return what was counted last time of what nobody touched since, and whether this is the first time."""
        kept = self._backend.get(f"sync:{business_unit}:counted")
        touched = self._backend.get(f"sync:{business_unit}:touched") or b""
        if kept is None or len(kept) % 16 or len(touched) % 8:
            return {}, True
        pairs = array("Q", kept)
        before: dict[int, int] = {}
        for start in in_turns(range(0, len(pairs), _PAIRS_AT_ONCE)):
            some = pairs[start : start + _PAIRS_AT_ONCE]
            before.update(zip(some[::2], some[1::2], strict=True))
        for name in array("Q", touched):
            before.pop(name, None)
        return before, False

    def _is_other(self, business_unit: str, sku: str, summary: Summary, *, is_first: bool) -> bool:
        """See to it that what is cached of a product shows what ``summary`` counts; tell whether it did not."""
        product = product_name(business_unit, sku)
        parts = self._cache.parts(product)
        pages = {
            part: cached
            for part, cached in parts.cached.items()
            if is_page(part) and is_confirmable(Key(product, part))
        }
        newest = {part for part in pages if is_newest_page(part)}
        if not pages or (is_first and not any(page_of(pages[part]).countable for part in newest)):
            # Nothing is cached, or nothing says what was counted when it was.
            return False
        spans = self._spans(parts, summary)
        wrong = {
            part
            for part, cached in pages.items()
            if not any(begin <= cached.freshness.stored_at <= end for begin, end in spans)
        }
        if not wrong:
            return False

        def change(part: str, cached: Cached) -> Updated | None:
            if is_variants_token(part) or (part in wrong and part not in newest):
                return None
            return Updated(cached.value, refresh=part in wrong or is_summary(part))

        self._cache.update(product, change)
        if newest & wrong:
            self._refetch(business_unit, sku)
        return True
