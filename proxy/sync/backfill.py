"""The list of all of a shop's reviews, read to its end once: then no product of the shop is cold.

Reviews come newest first, so those of one product are spread over the whole list: they are collected in a part of the
product that nobody is answered from, until the shop's summaries show that none is missing.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import pairwise

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from proxy.cache import Cache, Cached, Fetched, Key, Updated
from proxy.cache.backend import FOR_GOOD_SECONDS, Backend
from proxy.cache.cache import Parts
from proxy.clock import Now, Priority, in_turns
from proxy.events import Backfilled, Report, unheard
from proxy.reviews.models import PER_PAGE, FeedItem, Item, Page, item_of
from proxy.reviews.page_loader import NEWEST_PAGE, SUMMARY, product_name
from proxy.reviews.view import Summary
from proxy.sync.comparison import SummariesCall
from proxy.sync.feed import FeedCall, OutOfOrder
from proxy.sync.shops import Shops, ShopState, digest
from proxy.sync.validator import COUNTS, counts_of
from proxy.trustpilot.client import SUMMARIES_PER_PAGE

DRAFT = "draft"
STEP_SECONDS = 20.0
"""After so long the feed and the other shops have their turn."""

_COUNTS = struct.Struct(">5I")
_log = logging.getLogger(__name__)


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


class Backfill:
    """Goes on where it stopped, whoever stopped it."""

    def __init__(
        self,
        feed: FeedCall,
        summaries: SummariesCall,
        cache: Cache,
        backend: Backend,
        shops: Shops,
        spans: Callable[[Parts, Summary], list[tuple[float, float]]],
        refetch: Callable[[str, str], None],
        now: Now,
        report: Report = unheard,
    ) -> None:
        """``spans`` and ``refetch`` as for the comparison."""
        self._feed = feed
        self._summaries = summaries
        self._cache = cache
        self._backend = backend
        self._shops = shops
        self._spans = spans
        self._refetch = refetch
        self._now = now
        self._report = report

    def progress(self, business_unit: str) -> Progress:
        """Return how far the list was read. Raises :class:`~proxy.cache.BackendDown`."""
        kept = self._backend.get(_key(business_unit))
        with suppress(msgspec.DecodeError):
            return msgspec.msgpack.decode(kept or b"", type=Progress)
        return Progress()

    def step(self, business_unit: str, state: ShopState, is_stopped: Callable[[], bool]) -> ShopState:
        """Read on for a while, or until it is stopped; return the state to save.

        Raises :class:`OutOfOrder`, :class:`~proxy.trustpilot.errors.TrustpilotError` or
        :class:`~proxy.cache.BackendDown`; what was read before that counts.
        """
        until = self._now() + STEP_SECONDS
        progress = self.progress(business_unit)
        if progress == Progress():
            _log.info("reading all reviews of business unit %s: about %d", business_unit, state.reviews)
        while not state.is_backfilled and self._now() < until and not is_stopped():
            if not progress.is_read:
                state, progress = self._read(business_unit, state, progress)
            else:
                state, progress = self._finish(business_unit, state, progress)
            # First what is known by it: who goes on from here must not know less.
            self._shops.save(business_unit, state)
            self._backend.set(_key(business_unit), msgspec.msgpack.encode(progress), FOR_GOOD_SECONDS)
            self._report(Backfilled(business_unit, progress.reviews, state.is_backfilled))
        if state.is_backfilled:
            _log.info("all %d reviews of business unit %s are cached", progress.reviews, business_unit)
        return state

    def _read(self, business_unit: str, state: ShopState, progress: Progress) -> tuple[ShopState, Progress]:
        items, given = self._feed(business_unit, progress.page, priority=Priority.BACKFILL)
        written = [item.written for item in items]
        if any(later > earlier for earlier, later in pairwise(written)):
            raise OutOfOrder
        new = [item for item in items if item.written <= progress.last and item.review.id not in progress.tail]
        by_sku: dict[str, list[FeedItem]] = {}
        for item in new:
            by_sku.setdefault(item.sku, []).append(item)
        for sku, theirs in in_turns(by_sku.items()):
            self._collect(product_name(business_unit, sku), theirs)
        return self._shops.add_skus(business_unit, state, map(digest, by_sku)), replace(
            progress,
            page=progress.page + 1,
            last=min(progress.last, written[-1]) if written else progress.last,
            tail=tuple(item.review.id for item in items if item.review.id),
            reviews=progress.reviews + len(new),
            is_read=given < PER_PAGE,
        )

    def _collect(self, product: str, items: Iterable[FeedItem]) -> None:
        parts = self._cache.parts(product)
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
        self._cache.put(Key(product, DRAFT), Fetched(value, found=True), self._now(), parts.generation)

    def _finish(self, business_unit: str, state: ShopState, progress: Progress) -> tuple[ShopState, Progress]:
        at = self._now()
        summaries, given = self._summaries(business_unit, progress.summaries, priority=Priority.BACKFILL)
        with_reviews = []
        for sku, summary in in_turns(summaries):
            self._complete(business_unit, sku, summary, at)
            if summary.total:
                with_reviews.append(digest(sku))
        state = self._shops.add_skus(business_unit, state, with_reviews)
        state = replace(state, is_backfilled=given < SUMMARIES_PER_PAGE)
        return state, replace(progress, summaries=progress.summaries + 1)

    def _complete(self, business_unit: str, sku: str, summary: Summary, at: float) -> None:
        """Make a page of what was collected of a product, if ``summary`` counts the same; else have it fetched."""
        product = product_name(business_unit, sku)
        parts = self._cache.parts(product)
        draft = parts.cached.get(DRAFT)
        newest = parts.cached.get(NEWEST_PAGE)
        spans = self._spans(parts, summary)
        is_right = newest is not None and any(begin <= newest.freshness.stored_at <= end for begin, end in spans)
        if draft is not None:
            self._cache.update(product, _without_draft)
            counts, page = _read_draft(draft)
            if not is_right and tuple(counts) == summary.stars and not page.dropped:
                self._put(product, page, summary, at)
                is_right = True
        if not is_right and summary.total:
            self._refetch(business_unit, sku)

    def _put(self, product: str, page: Page, summary: Summary, at: float) -> None:
        generation = self._cache.parts(product).generation
        whole = Page.of_items(list(page.items), complete=summary.total <= len(page.index), dropped=0)
        if not whole.complete:
            baseline = Fetched(counts_of(summary), found=True)
            self._cache.put(Key(product, COUNTS), baseline, at, generation)
            self._cache.put(Key(product, SUMMARY), Fetched(summary.encode(), found=True), at, generation)
        fetched = Fetched(whole.encode(), found=bool(whole.index))
        self._cache.put(Key(product, NEWEST_PAGE), fetched, at, generation)


def _without_draft(part: str, cached: Cached) -> Updated | None:
    return None if part == DRAFT else Updated(cached.value, refresh=False)


def _read_draft(draft: Cached) -> tuple[list[int], Page]:
    return list(_COUNTS.unpack_from(draft.value)), Page.decode(draft.value[_COUNTS.size :])


def _key(business_unit: str) -> str:
    return f"sync:{business_unit}:backfill"
