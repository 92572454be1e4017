"""Cached pages follow what happens to reviews: purged by hand, or brought up to date by Trustpilot's webhooks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
from msgspec import UNSET

from proxy.cache import Cache, Cached, Key, Updated
from proxy.clock import give_way
from proxy.reviews.models import (
    PER_PAGE,
    Item,
    Page,
    Review,
    ReviewEvent,
    at_url,
    item_of,
    products_query,
    read_review,
)
from proxy.reviews.page_loader import (
    NEWEST_PAGE,
    SUMMARY,
    holds_reviews,
    is_imported_page,
    is_newest_page,
    page_of,
    product_name,
    shop_and_sku,
)
from proxy.reviews.search import MAX_PAGES

_COPIES_AT_ONCE = 100
_EVENTS_AT_ONCE = 1000
"""So much is done before other requests get a turn: a few milliseconds."""

S = TypeVar("S", bound=msgspec.Struct)

_Changes = Mapping[str, ReviewEvent | None]
"""By review, what all events of a webhook come to: it goes, or one event that says all that they say of it."""


class Updates:
    """Changes what is cached. Every method raises :class:`~proxy.cache.BackendDown` when others may not know."""

    def __init__(self, cache: Cache, pause: Callable[[], None] = give_way) -> None:
        """``pause`` lets other requests have a turn."""
        self._cache = cache
        self._pause = pause

    def purge(self, business_unit: str, skus: Iterable[str]) -> None:
        """Forget all that is cached of ``skus``."""
        for sku in skus:
            self._cache.invalidate(product_name(business_unit, sku))

    def apply(self, business_unit: str, events: Sequence[ReviewEvent]) -> None:
        """Bring the cached pages of the events' products up to date, without a call. Each product is changed once.

        What the events do not say enough about is marked, so that the next read has it fetched. Pages further down
        and under filters are dropped: where a review enters or leaves them can't be seen from one page alone.
        """
        for find in (self._by_product, self._by_address):
            for product, changes in find(business_unit, events).items():
                self._change(product, changes)
                self._pause()

    def remove_reviews(self, business_unit: str, review_ids: Iterable[str]) -> None:
        """Remove every copy of these reviews, whatever their products."""
        self.apply(
            business_unit,
            [ReviewEvent("deleted", None, one, Review(), hidden=False, whole=True) for one in review_ids],
        )

    def remove_consumers(self, business_unit: str, consumer_ids: Collection[str]) -> None:
        """Remove every copy of every review that these people wrote."""
        events: list[ReviewEvent] = []
        nameless: set[str] = set()

        def search(product: str, page: Page) -> None:
            sku = shop_and_sku(product)[1]
            for review in map(read_review, page.raw):
                if review.consumer and review.consumer.id in consumer_ids:
                    if review.id:
                        events.append(ReviewEvent("deleted", sku, review.id, Review(), hidden=False, whole=True))
                    else:
                        nameless.add(sku)

        self._search(business_unit, search)
        self.apply(business_unit, events)
        self.purge(business_unit, nameless)

    def _by_product(self, business_unit: str, events: Sequence[ReviewEvent]) -> dict[str, _Changes]:
        nameless = {event.review_id for event in events if event.sku is None}
        products_of = self._products_of(business_unit, nameless) if nameless else {}
        changes: dict[str, dict[str, ReviewEvent | None]] = {}
        for number, event in enumerate(events):
            if number % _EVENTS_AT_ONCE == 0:
                self._pause()
            if event.sku is not None:
                products = {product_name(business_unit, event.sku)}
                if event.review_id in nameless:
                    products_of.setdefault(event.review_id, set()).update(products)
            else:
                products = products_of.get(event.review_id, set())
            for product in sorted(products):
                _add(changes.setdefault(product, {}), event)
        return dict(changes)

    def _by_address(self, business_unit: str, events: Sequence[ReviewEvent]) -> dict[str, _Changes]:
        """Return the same for what is cached in the place of a SKU, by the address of a page in the shop.

        An event belongs there when it names the address, or a review that is listed there; a new review also when its
        SKU's own page shares one with it.
        """
        ids, urls = {event.review_id for event in events}, {event.product_url for event in events}
        new = {event.sku for event in events if event.kind == "created" and event.sku and not event.product_url}
        neighbours: dict[str, set[str | None]] = {}
        for sku in new:
            if cached := self._cache.get(Key(product_name(business_unit, sku), NEWEST_PAGE)):
                neighbours[sku] = {review.id for review in page_of(cached).index}
        changes: dict[str, dict[str, ReviewEvent | None]] = {}

        def search(product: str, page: Page) -> None:
            url = products_query(shop_and_sku(product)[1])[1]
            listed = {review.id for review in page.index if review.id}
            similar = {sku for sku, shown in neighbours.items() if listed & shown}
            if url in urls or listed & ids or similar:
                for event in events:
                    if event.product_url == url or event.review_id in listed or event.sku in similar:
                        _add(changes.setdefault(product, {}), event)

        self._search(business_unit, search, at_url(""))
        return dict(changes)

    def _products_of(self, business_unit: str, review_ids: Collection[str]) -> dict[str, set[str]]:
        products_of: dict[str, set[str]] = {}

        def search(product: str, page: Page) -> None:
            for review in page.index:
                if review.id is not None and review.id in review_ids:
                    products_of.setdefault(review.id, set()).add(product)

        self._search(business_unit, search)
        return products_of

    def _search(self, business_unit: str, look: Callable[[str, Page], None], beginning: str = "") -> None:
        """Show ``look`` every cached page with its product, of those whose SKU has this ``beginning``."""
        searched = 0

        def search(product: str, part: str, value: bytes) -> None:
            nonlocal searched
            if not holds_reviews(part):
                return
            searched += 1
            if searched % _COPIES_AT_ONCE == 0:
                self._pause()
            look(product, Page.decode(value))

        self._cache.scan(product_name(business_unit, beginning), search)

    def _change(self, product: str, changes: _Changes) -> None:
        def change(part: str, cached: Cached) -> Updated | None:
            if part == SUMMARY:
                return Updated(cached.value, refresh=True)
            if is_imported_page(part) and not any(review.id in changes for review in page_of(cached).index):
                return Updated(cached.value, refresh=False)
            if not is_newest_page(part):
                return None
            page, refresh = _applied(page_of(cached), changes)
            return Updated(page.encode(), refresh=refresh, found=bool(page.index))

        self._cache.update(product, change)


def _add(changes: dict[str, ReviewEvent | None], event: ReviewEvent) -> None:
    goes = bool(event.review_id) and (event.kind == "deleted" or event.hidden)
    changes[event.review_id] = None if goes else _joined(changes.get(event.review_id), event)


def _joined(before: ReviewEvent | None, event: ReviewEvent) -> ReviewEvent:
    if before is None:
        return event
    review = _merged(before.review, event)
    return msgspec.structs.replace(event, review=review, whole=before.whole or event.whole)


def _applied(page: Page, changes: _Changes) -> tuple[Page, bool]:
    """Return ``page`` after ``changes``, and whether it has to be fetched to be right."""
    known = {review.id: raw for review, raw in page.items if review.id in changes}
    items = [item for item in page.items if item[0].id not in changes]
    end = page.index[-1].written if page.index else float("inf")
    refresh = False
    for name, event in changes.items():
        if event is None:
            continue
        before = read_review(known[name]) if name in known else None
        updated = _item(_merged(before, event) if before else event.review, whole=event.whole)
        # What an event leaves out, such as the language, would be missing where that is asked for.
        refresh = refresh or not event.whole or updated is None
        if updated is None and before is not None:
            updated = item_of(before)
        if updated is None:
            continue
        if updated[0].written < end and not page.complete:
            refresh = True
            continue
        # Negated, as bisect wants what rises.
        items.insert(bisect_left(items, -updated[0].written, key=lambda item: -item[0].written), updated)
    if not page.complete:
        # One review fewer on a page that is not all: the next page begins one later than Trustpilot's.
        refresh = refresh or len(items) < len(page.index)
        # As Trustpilot would answer: what is pushed off the page begins the next one.
        return Page.of_items(items[:PER_PAGE], complete=False, dropped=page.dropped), refresh
    if len(items) > MAX_PAGES * PER_PAGE:
        return Page.of_items(items[:PER_PAGE], complete=False, dropped=page.dropped), True
    return Page.of_items(items, complete=True, dropped=page.dropped), refresh


def _item(review: Review, *, whole: bool) -> Item | None:
    """Index ``review``, ``None`` when too little of it is known to show it. ``whole``: no text is left out."""
    texts = (review.id, review.created_at) if whole else (review.id, review.content, review.created_at)
    if not all(isinstance(text, str) for text in texts):
        return None
    try:
        return item_of(review)
    except ValueError:
        return None


def _merged(known: Review, event: ReviewEvent) -> Review:
    review = _overlaid(known, event.review)
    if known.consumer and event.review.consumer:
        review.consumer = _overlaid(known.consumer, event.review.consumer)
    if event.whole:
        # A reply or a photo that was taken back is null.
        taken_back = {name: None for name in _TAKEN_BACK if getattr(event.review, name) is None}
        review = msgspec.structs.replace(review, **taken_back)
    return review


_TAKEN_BACK = ("first_company_comment", "attachments", "attribute_ratings")


def _overlaid(below: S, above: S) -> S:
    fields = {name: getattr(above, name) for name in above.__struct_fields__}
    said = {name: value for name, value in fields.items() if value is not None and value is not UNSET and value != 0}
    return msgspec.structs.replace(below, **said)
