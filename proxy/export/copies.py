"""Reads products from the cache and nowhere else: an export of a whole shop must not cost a call for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.cache import Cache, Group, Key, Lookup, Tiered
from proxy.cache.cache import Fetch
from proxy.cache.singleflight import Call
from proxy.clock import Deadline, Now, Spawn
from proxy.reviews import ProductReviews, Selection, Unavailable, View
from proxy.reviews.answers import Block
from proxy.reviews.page_loader import NEWEST_PAGE, product_name, shop_and_sku
from proxy.trustpilot import TrustpilotError

_PATIENCE_SECONDS = 60


class NotCached(TrustpilotError):
    """No copy is held, and none is fetched."""


class CopiesOnly(Cache):
    """Answers from entries, fresh or stale, and never fetches."""

    def __init__(self, store: Tiered, now: Now, spawn: Spawn) -> None:
        super().__init__(store, Group(spawn), now)

    def get_or_fetch(self, key: Key, fetch: Fetch) -> Lookup:
        """Find the entry for ``key``; waiting for one that is not there raises :class:`NotCached`."""
        cached = self.get(key)
        if cached is not None:
            return Lookup(cached, None)
        call: Call[Any] = Call()
        call.set_exception(NotCached("nothing is fetched for an export"))
        return Lookup(None, call)

    def pass_over(self, product: str) -> None:
        """Keep no more of ``product`` in memory: an export reads each once, however many there are."""
        self._store.drop_l1(product)


def cached_skus(cache: Cache, business_unit: str) -> list[str]:
    """Return the SKUs of which a newest page is cached. Raises :class:`~proxy.cache.BackendDown`."""
    skus: set[str] = set()

    def look(product: str, part: str, _value: bytes) -> None:
        if sku := sku_of_page(product, part):
            skus.add(sku)

    cache.scan(product_name(business_unit, ""), look)
    return sorted(skus)


def sku_of_page(product: str, part: str) -> str:
    """Return the SKU of which this is the newest page, ``""`` for anything else that is cached."""
    sku = shop_and_sku(product)[1]
    return sku if part == NEWEST_PAGE and sku.strip() and not sku.startswith(" ") else ""


def blocks(
    reviews: ProductReviews, selection: Selection, skus: list[str], view: View
) -> Iterator[tuple[str, Block | None]]:
    """Yield each SKU with its block, ``None`` where not all of it is cached."""
    for sku in skus:
        alone = Selection(selection.business_unit, (sku,), selection.locale, selection.sources)
        try:
            yield sku, reviews.block(alone, view, Deadline.after(_PATIENCE_SECONDS)).body
        except Unavailable:
            yield sku, None
