"""Cached pages follow what happens to reviews: purged by hand, or brought up to date by Trustpilot's webhooks."""

from __future__ import annotations

import json
import re
import time
import zlib
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from proxy.cache import Cache, Cached, Updated
from proxy.reviews.listing import MAX_PAGES
from proxy.reviews.page import Page, written_at
from proxy.reviews.shelf import is_newest_page, is_page, is_summary, product_name
from proxy.trustpilot import RawReview
from proxy.trustpilot.events import ReviewEvent, tells_enough
from proxy.trustpilot.reader import PER_PAGE

_IDS = re.compile(rb'"id":("(?:[^"\\]|\\.)*")')
_COPIES_AT_ONCE = 20
_EVENTS_AT_ONCE = 1000
"""So much is done before other requests get a turn: a few milliseconds."""


@dataclass(frozen=True)
class _Told:
    """What the events of one webhook come to for one review: it goes, or ``review`` is told of it."""

    goes: bool
    review: RawReview
    whole: bool

    def then(self, event: ReviewEvent) -> _Told:
        if event.kind == "deleted" or event.hidden:
            return _GONE
        return _Told(goes=False, review=_merged(self.review, event.review), whole=self.whole or event.whole)


_GONE = _Told(goes=True, review={}, whole=False)
_NOTHING = _Told(goes=False, review={}, whole=False)


class Updates:
    """Changes what is held. Every method raises :class:`~proxy.cache.StoreDown` when others could not be told."""

    def __init__(self, cache: Cache, pause: Callable[[], None] = lambda: time.sleep(0)) -> None:
        """``pause`` lets other requests have a turn."""
        self._cache = cache
        self._pause = pause

    def purge(self, business_unit: str, skus: Iterable[str]) -> None:
        """Forget all that is held of ``skus``."""
        for sku in skus:
            self._cache.invalidate(product_name(business_unit, sku))

    def apply(self, business_unit: str, events: Sequence[ReviewEvent]) -> None:
        """Bring the held pages of the events' products up to date, without a call. Each product is changed once.

        What the events do not tell enough about is marked, so that the next read has it fetched. Pages further down
        and under filters are dropped: where a review enters or leaves them can't be seen from one page alone.
        """
        for product, told in self._by_product(business_unit, events).items():
            self._change(product, told)
            self._pause()

    def _by_product(self, business_unit: str, events: Sequence[ReviewEvent]) -> dict[str, dict[str, _Told]]:
        unplaced = {event.review_id for event in events if event.sku is None}
        holders = self._holders(business_unit, unplaced) if unplaced else {}
        products: dict[str, dict[str, _Told]] = {}
        for place, event in enumerate(events):
            if place % _EVENTS_AT_ONCE == 0:
                self._pause()
            if event.sku is not None:
                named = [product_name(business_unit, event.sku)]
                if event.review_id in unplaced:
                    holders.setdefault(event.review_id, set()).update(named)
            else:
                named = sorted(holders.get(event.review_id, ()))
            for product in named:
                told = products.setdefault(product, {})
                told[event.review_id] = told.get(event.review_id, _NOTHING).then(event)
        return products

    def _holders(self, business_unit: str, review_ids: Collection[str]) -> dict[str, set[str]]:
        """Return the held products that show each of ``review_ids``."""
        wanted = {json.dumps(name, ensure_ascii=False).encode("utf-8", "replace") for name in review_ids}
        holders: dict[str, set[str]] = {}
        searched = 0

        def search(product: str, part: str, value: bytes) -> None:
            nonlocal searched
            if not is_page(part):
                return
            searched += 1
            if searched % _COPIES_AT_ONCE == 0:
                self._pause()
            # Reading a page costs ten times as much as looking for an id in its text.
            if wanted.isdisjoint(_IDS.findall(zlib.decompress(value))):
                return
            for review in Page.decode(value).reviews:
                name = review.get("id")
                if isinstance(name, str) and name in review_ids:
                    holders.setdefault(name, set()).add(product)

        self._cache.scan(product_name(business_unit, ""), search)
        return holders

    def _change(self, product: str, told: Mapping[str, _Told]) -> None:
        def change(part: str, held: Cached) -> Updated | None:
            if is_summary(part):
                return Updated(held.value, refresh=True)
            if not is_newest_page(part):
                return None
            page, refresh = _applied(Page.decode(held.value), told)
            return Updated(page.encode(), refresh=refresh)

        self._cache.update(product, change)


def _applied(page: Page, told: Mapping[str, _Told]) -> tuple[Page, bool]:
    """Return ``page`` after what was told, and whether it has to be fetched to be right."""
    known = {review["id"]: review for review in page.reviews if review.get("id") in told}
    reviews = [review for review in page.reviews if review.get("id") not in told]
    # Negated, as bisect wants them to rise.
    moments = [-written_at(review) for review in reviews]
    end = -written_at(page.reviews[-1]) if page.reviews else float("-inf")
    refresh = False
    for name, now in told.items():
        if now.goes:
            continue
        before = known.get(name)
        review = _merged(before or {}, now.review)
        if not tells_enough(review):
            refresh = True
            if before is None:
                continue
            review = before
        # A new review without its language, say, would be missing where that is asked for.
        refresh = refresh or (before is None and not now.whole)
        moment = -written_at(review)
        if moment > end and not page.complete:
            refresh = True
            continue
        place = bisect_left(moments, moment)
        reviews.insert(place, review)
        moments.insert(place, moment)
    if not page.complete:
        # One review fewer on a page that is not all: the next page begins one later than Trustpilot's.
        gap = len(reviews) < len(page.reviews)
        # As Trustpilot would answer: what is pushed off the page begins the next one.
        return replace(page, reviews=reviews[:PER_PAGE], complete=False), refresh or gap
    if len(reviews) > MAX_PAGES * PER_PAGE:
        return replace(page, reviews=reviews[:PER_PAGE], complete=False), True
    return replace(page, reviews=reviews), refresh


def _merged(known: RawReview, told: RawReview) -> RawReview:
    """Return what is known of a review with what is told of it; a told author keeps what is known of them."""
    review = {**known, **told}
    before, now = known.get("consumer"), told.get("consumer")
    if before and now:
        review["consumer"] = {**before, **now}
    return review
