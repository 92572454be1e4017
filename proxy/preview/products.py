"""The products to choose from: those whose copies the proxy holds, so that choosing costs no call."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from proxy.cache import BackendDown, Tiered
from proxy.clock import Now, Spawn
from proxy.export import CopiesOnly, blocks, sku_of_page
from proxy.reviews import ProductReviews, Selection, View
from proxy.reviews.page_loader import product_name

_MOST = 200
_MOST_LIKE = 50
_PATIENCE_SECONDS = 0.2


class _Enough(Exception):
    """Ends a scan."""


class KnownProducts:
    """Lists products of one business unit with their stars, most reviewed first."""

    def __init__(self, store: Tiered, reviews: ProductReviews, business_unit: str, now: Now, spawn: Spawn) -> None:
        self._cache = CopiesOnly(store, now, spawn)
        self._reviews = reviews.through(self._cache)
        self._selection = Selection(business_unit, ())

    def listed(self, like: str = "") -> list[dict[str, Any]]:
        """Return the ``sku``, ``average_text`` and ``total`` of some products; never waits long.

        With ``like`` of those whose SKU holds it: all that begin so are looked at first, as the cache finds them by
        their beginning however many there are; then the others, as far as there is time.
        """
        skus: set[str] = set()
        until = time.monotonic() + _PATIENCE_SECONDS
        most = _MOST if not like else _MOST_LIKE

        def look(product: str, part: str, _value: bytes) -> None:
            sku = sku_of_page(product, part)
            if sku and like.lower() in sku.lower():
                skus.add(sku)
            if len(skus) >= most or time.monotonic() > until:
                raise _Enough

        with suppress(BackendDown, _Enough):
            for beginning in dict.fromkeys((like, like.upper(), like.lower(), "")):
                self._cache.scan(product_name(self._selection.business_unit, beginning), look)
        products: list[dict[str, Any]] = []
        for sku, block in blocks(self._reviews, self._selection, sorted(skus), View(limit=1)):
            summary = block and block["summary"]
            if summary:
                stars, total = summary["average_text"], summary["total"]
                products.append({"sku": sku, "average_text": stars, "total": total})
        return sorted(products, key=lambda one: (-one["total"], one["sku"]))
