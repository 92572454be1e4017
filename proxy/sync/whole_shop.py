"""All of a shop: its reviews, read to their end once, and the summaries of all its products, compared each hour.

After the first no product of the shop is cold. Reviews come newest first, so those of one product are spread over the
whole list: they are collected in a part of the product that nobody is answered from, until the shop's summaries show
that none is missing. The second finds what a feed does not show: a review that was hidden.
"""

from __future__ import annotations

import logging
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from proxy.cache import Cache, Cached, Fetched, Key, Updated
from proxy.cache.backend import FOR_GOOD_SECONDS, Backend
from proxy.clock import Now, Priority, in_turns
from proxy.events import Backfilled, Compared, Report, unheard
from proxy.reviews.models import PER_PAGE, FeedItem, Item, Page, item_of
from proxy.reviews.page_loader import (
    NEWEST_PAGE,
    SUMMARY,
    is_confirmable,
    is_newest_page,
    is_page,
    is_variants_token,
    page_of,
    product_name,
)
from proxy.reviews.view import Summary
from proxy.sync.feed import FeedCall, OutOfOrder, Shops, ShopState, dated, digest, is_newest_first
from proxy.sync.validator import COUNTS, Spans, counts_of, is_within
from proxy.trustpilot.changes import SUMMARIES_PER_PAGE

MOST_PAGES = 1000
_PAIRS_AT_ONCE = 2000

DRAFT = "draft"
STEP_SECONDS = 20.0
"""After so long the feed and the other shops have their turn."""

_COUNTS = struct.Struct(">5I")
_log = logging.getLogger(__name__)


SummariesCall = Callable[[str, int, Priority], tuple[Iterator[tuple[str, Summary]], int]]
"""Returns a page as a :data:`FeedCall` does, each summary read when it is asked for."""


@dataclass(frozen=True)
class Comparison:
    """Keeps in the backend what was counted of each product last: 16 bytes each.

    ``spans``: from when to when a page must have been fetched to show a summary's counts.
    """

    call: SummariesCall
    cache: Cache
    backend: Backend
    shops: Shops
    now: Now
    spans: Spans
    refetch: Callable[[str, str], None]
    report: Report = unheard

    def touch(self, business_unit: str, skus: Iterable[str]) -> None:
        """Look at these products next time whatever is counted: one may have come and another gone."""
        if names := array("Q", map(digest, skus)):
            key = f"sync:{business_unit}:touched"
            self.backend.set(key, (self.backend.get(key) or b"") + names.tobytes(), FOR_GOOD_SECONDS)

    def compare(self, business_unit: str, state: ShopState) -> ShopState:
        """Have fetched what is cached of products whose counts are others; return the state to save.

        Raises :class:`~proxy.trustpilot.TrustpilotError` or :class:`~proxy.cache.BackendDown`.
        """
        before, is_first = self._counted_before(business_unit)
        counted = array("Q")
        # Where the last page is full, one more is looked at only when there may be one: a call an hour.
        last = state.products if state.skus == state.compared_skus else 0
        others, reviews, at = 0, 0, self.now()
        for number in range(1, MOST_PAGES + 1):
            summaries, given = self.call(business_unit, number, Priority.FEED)
            with_reviews = []
            for sku, summary in in_turns(summaries):
                name, counts = digest(sku), digest(repr(summary.stars))
                counted.extend((name, counts))
                reviews += summary.total
                if summary.total:
                    with_reviews.append(name)
                if before.get(name) != counts:
                    others += self._is_other(business_unit, sku, summary, is_first=is_first)
            state = self.shops.add_skus(business_unit, state, with_reviews)
            if given < SUMMARIES_PER_PAGE or number * SUMMARIES_PER_PAGE == last:
                break
        self.backend.set(f"sync:{business_unit}:counted", counted.tobytes(), FOR_GOOD_SECONDS)
        self.backend.set(f"sync:{business_unit}:touched", b"", FOR_GOOD_SECONDS)
        products = len(counted) // 2
        self.report(Compared(products, others))
        return replace(state, compared_at=at, reviews=reviews, products=products, compared_skus=state.skus)

    def _counted_before(self, business_unit: str) -> tuple[dict[int, int], bool]:
        """Return what was counted last time of what nobody touched since, and whether this is the first time."""
        kept = self.backend.get(f"sync:{business_unit}:counted")
        touched = self.backend.get(f"sync:{business_unit}:touched") or b""
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
        parts = self.cache.parts(product)
        pages = {
            part: cached
            for part, cached in parts.cached.items()
            if is_page(part) and is_confirmable(Key(product, part))
        }
        newest = {part for part in pages if is_newest_page(part)}
        if not pages or (is_first and not any(page_of(pages[part]).countable for part in newest)):
            # Nothing is cached, or nothing says what was counted when it was.
            return False
        spans = self.spans(parts, summary)
        wrong = {part for part, cached in pages.items() if not is_within(cached, spans)}
        if not wrong:
            return False

        def change(part: str, cached: Cached) -> Updated | None:
            if is_variants_token(part) or (part in wrong and part not in newest):
                return None
            return Updated(cached.value, refresh=part in wrong or part == SUMMARY)

        self.cache.update(product, change)
        if newest & wrong:
            self.refetch(business_unit, sku)
        return True


class Progress(Struct, frozen=True, array_like=True):
    """How far the list was read. ``page``: the next one; then ``summaries``: the next page of those."""

    page: int = 1
    last: float = float("inf")
    """When the last review that was read was written."""
    tail: tuple[str, ...] = ()
    """Ids of the last page: what comes meanwhile pushes them onto the next."""
    reviews: int = 0
    is_read: bool = False
    summaries: int = 1


@dataclass(frozen=True)
class Backfill:
    """Goes on where it stopped, whoever stopped it. ``spans`` and ``refetch`` as for the comparison."""

    feed: FeedCall
    summaries: SummariesCall
    cache: Cache
    backend: Backend
    shops: Shops
    spans: Spans
    refetch: Callable[[str, str], None]
    now: Now
    report: Report = unheard

    def progress(self, business_unit: str) -> Progress:
        """Return how far the list was read. Raises :class:`~proxy.cache.BackendDown`."""
        kept = self.backend.get(_key(business_unit))
        with suppress(msgspec.DecodeError):
            return msgspec.msgpack.decode(kept or b"", type=Progress)
        return Progress()

    def step(self, business_unit: str, state: ShopState, is_stopped: Callable[[], bool]) -> ShopState:
        """Read on for a while, or until it is stopped; return the state to save.

        Raises :class:`OutOfOrder`, :class:`~proxy.trustpilot.TrustpilotError` or
        :class:`~proxy.cache.BackendDown`; what was read before that counts.
        """
        until = self.now() + STEP_SECONDS
        progress = self.progress(business_unit)
        if progress == Progress():
            _log.info("reading all reviews of business unit %s: about %d", business_unit, state.reviews)
        while not state.is_backfilled and self.now() < until and not is_stopped():
            if not progress.is_read:
                state, progress = self._read(business_unit, state, progress)
            else:
                state, progress = self._finish(business_unit, state, progress)
            # First what is known by it: who goes on from here must not know less.
            self.shops.save(business_unit, state)
            self.backend.set(_key(business_unit), msgspec.msgpack.encode(progress), FOR_GOOD_SECONDS)
            self.report(Backfilled(progress.reviews))
        if state.is_backfilled:
            _log.info("all %d reviews of business unit %s are cached", progress.reviews, business_unit)
        return state

    def _read(self, business_unit: str, state: ShopState, progress: Progress) -> tuple[ShopState, Progress]:
        items, given = self.feed(business_unit, progress.page, Priority.BACKFILL)
        written = dated(items)
        if not is_newest_first(written):
            raise OutOfOrder
        new = [item for item in items if item.written <= progress.last and item.review.id not in progress.tail]
        by_sku: dict[str, list[FeedItem]] = {}
        for item in new:
            by_sku.setdefault(item.sku, []).append(item)
        for sku, theirs in in_turns(by_sku.items()):
            self._collect(product_name(business_unit, sku), theirs)
        return self.shops.add_skus(business_unit, state, map(digest, by_sku)), replace(
            progress,
            page=progress.page + 1,
            last=min(progress.last, written[-1]) if written else progress.last,
            tail=tuple(item.review.id for item in items if item.review.id),
            reviews=progress.reviews + len(new),
            is_read=given < PER_PAGE,
        )

    def _collect(self, product: str, items: Iterable[FeedItem]) -> None:
        parts = self.cache.parts(product)
        draft = parts.cached.get(DRAFT)
        counts, page = _read_draft(draft) if draft else ([0] * 5, Page.of([], complete=False))
        collected: list[Item] = list(page.items)
        known, dropped = {review.id for review, _ in collected}, page.dropped
        for item in items:
            if item.review.id in known:
                continue
            try:
                indexed = item_of(item.review)
            except ValueError:
                dropped += 1
                continue
            counts[indexed[0].stars - 1] += 1
            if len(collected) < PER_PAGE:
                collected.append(indexed)
        value = _COUNTS.pack(*counts) + Page.of_items(collected, complete=False, dropped=dropped).encode()
        self.cache.put(Key(product, DRAFT), Fetched(value, found=True), self.now(), parts.generation)

    def _finish(self, business_unit: str, state: ShopState, progress: Progress) -> tuple[ShopState, Progress]:
        at = self.now()
        summaries, given = self.summaries(business_unit, progress.summaries, Priority.BACKFILL)
        with_reviews = []
        for sku, summary in in_turns(summaries):
            self._complete(business_unit, sku, summary, at)
            if summary.total:
                with_reviews.append(digest(sku))
        state = self.shops.add_skus(business_unit, state, with_reviews)
        state = replace(state, is_backfilled=given < SUMMARIES_PER_PAGE)
        return state, replace(progress, summaries=progress.summaries + 1)

    def _complete(self, business_unit: str, sku: str, summary: Summary, at: float) -> None:
        """Make a page of what was collected of a product, if ``summary`` counts the same; else have it fetched."""
        product = product_name(business_unit, sku)
        parts = self.cache.parts(product)
        draft = parts.cached.get(DRAFT)
        newest = parts.cached.get(NEWEST_PAGE)
        spans = self.spans(parts, summary)
        is_right = newest is not None and is_within(newest, spans)
        if draft is not None:
            self.cache.update(product, _without_draft)
            counts, page = _read_draft(draft)
            if not is_right and tuple(counts) == summary.stars and not page.dropped:
                self._put(product, page, summary, at)
                is_right = True
        if not is_right and summary.total:
            self.refetch(business_unit, sku)

    def _put(self, product: str, page: Page, summary: Summary, at: float) -> None:
        generation = self.cache.parts(product).generation
        whole = Page.of_items(list(page.items), complete=summary.total <= len(page.index), dropped=0)
        if not whole.complete:
            baseline = Fetched(counts_of(summary), found=True)
            self.cache.put(Key(product, COUNTS), baseline, at, generation)
            self.cache.put(Key(product, SUMMARY), Fetched(summary.encode(), found=True), at, generation)
        fetched = Fetched(whole.encode(), found=bool(whole.index))
        self.cache.put(Key(product, NEWEST_PAGE), fetched, at, generation)


def _without_draft(part: str, cached: Cached) -> Updated | None:
    return None if part == DRAFT else Updated(cached.value, refresh=False)


def _read_draft(draft: Cached) -> tuple[list[int], Page]:
    return list(_COUNTS.unpack_from(draft.value)), Page.decode(draft.value[_COUNTS.size :])


def _key(business_unit: str) -> str:
    return f"sync:{business_unit}:backfill"
