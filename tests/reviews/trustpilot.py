"""Trustpilot's two calls over full lists in memory: filtered and paged as documented, answered in bytes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from proxy.cache import Cache, Group, Lifetimes, MemoryBackend, Tiered
from proxy.clock import Now, Priority, Spawn, spawn
from proxy.reviews import ProductReviews, Selection
from proxy.reviews.answers import Block
from proxy.reviews.models import SHOP, Page, Shop, Source
from proxy.reviews.view import STAR_WORDS, BrandAssets, Filter, Summary
from proxy.trustpilot import Malformed, Unreachable
from proxy.trustpilot.client import (
    read_batch_summaries,
    read_business_unit,
    read_reviews,
    read_service_reviews,
    read_summary,
)


class FullLists:
    """A list of reviews and a summary per SKU, read as the client reads what comes over the wire."""

    def __init__(
        self,
        products: Mapping[str, list[Any]],
        summaries: Mapping[str, dict[str, Any]] | None = None,
        imported: Mapping[str, list[Any]] | None = None,
    ) -> None:
        self.products = products
        self.imported = imported or {}
        self.summaries = summaries or {}
        self.shop: dict[str, Any] | None = None
        """The business unit as Trustpilot answers it, ``None``: it can't be had."""
        self.shop_reviews: list[dict[str, Any]] = []
        self.failing: set[str] = set()
        """SKUs whose reviews can't be had."""
        self.pages_asked: list[tuple[str, int]] = []
        self.batches_asked: list[list[str]] = []

    def reviews(
        self, business_unit: str, sku: str, filters: Filter, page: int, *, locale: str | None, priority: Priority
    ) -> Page:
        self.pages_asked.append((sku, page))
        if sku in self.failing:
            raise Unreachable("down")
        if sku == SHOP:
            return read_service_reviews(json.dumps({"reviews": self.shop_reviews, "links": []}).encode())
        full = [
            review
            for review in self.listed(sku, filters.source)
            if (not filters.stars or review["stars"] in filters.stars)
            and (not filters.language or review["language"] == filters.language)
        ]
        links = [{"rel": "next-page"}] if len(full) > page * 100 else []
        body = {"productReviews": full[(page - 1) * 100 : page * 100], "links": links}
        return read_reviews(json.dumps(body).encode())

    def listed(self, sku: str, source: Source) -> list[Any]:
        """Return the reviews of one SKU, or of several merged: newest first, else in the order of the SKUs."""
        lists = self.products if source == "trustpilot" else self.imported
        if "," not in sku or sku.startswith(" "):
            return lists.get(sku, [])
        return merged([lists.get(one, []) for one in sku.split(",")])

    def business_unit(self, business_unit: str, *, priority: Priority) -> Shop:
        if self.shop is None:
            raise Unreachable("down")
        return read_business_unit(json.dumps(self.shop).encode())

    def summary(self, business_unit: str, sku: str, *, source: Source, priority: Priority) -> Summary:
        self.batches_asked.append([sku])
        given = {review["id"]: review["stars"] for review in self.listed(sku, source)}
        stars = [list(given.values()).count(star) for star in range(1, 6)]
        numbers = dict(zip(STAR_WORDS, stars, strict=True))
        return read_summary(json.dumps({"numberOfReviews": {"total": len(given), **numbers}}).encode())

    def batch_summaries(
        self, business_unit: str, skus: Sequence[str], *, priority: Priority
    ) -> dict[str, Summary | Malformed]:
        self.batches_asked.append(list(skus))
        listed = [{"sku": sku, **self.summaries[sku]} for sku in skus if sku in self.summaries]
        return read_batch_summaries(json.dumps({"summaries": listed}).encode())


def merged(lists: Sequence[list[Any]]) -> list[Any]:
    """Return what Trustpilot makes of the lists of several SKUs."""
    return sorted((one for each in lists for one in each), key=lambda one: one["createdAt"], reverse=True)


class NoAssets:
    """Nothing of Trustpilot's own is known to show."""

    def stars_image(self, stars: float) -> str | None:
        return None

    def shop_page(self, business_unit: str) -> str | None:
        return None


class AllAssets:
    """All that Trustpilot has to show is known."""

    def stars_image(self, stars: float) -> str | None:
        return f"https://images.example/stars-{stars:g}.png?a=1&b=2"

    def shop_page(self, business_unit: str) -> str | None:
        return f"https://www.trustpilot.com/review/{business_unit}.example?a=1&b=2"


def in_memory(lifetimes: Lifetimes, now: Now, spawn: Spawn, *, max_bytes: int = 10_000_000) -> Cache:
    """Return the cache of a process that shares with no other."""
    store = Tiered(MemoryBackend(), lifetimes, now, spawn, l1_bytes=max_bytes, fetch_seconds=60)
    return Cache(store, Group(spawn), now)


def reads(trustpilot: FullLists, assets: BrandAssets | None = None) -> ProductReviews:
    """Return what reads ``trustpilot`` through a cache of its own, in which nothing grows old."""
    clock = itertools.count().__next__
    cache = in_memory(Lifetimes(10**7, 10**7, 10**7), clock, spawn, max_bytes=10**8)
    return ProductReviews(cache, trustpilot, assets or NoAssets(), clock)


def select(*skus: str) -> Selection:
    """Select products of the one business unit."""
    return Selection("u", skus)


def review(name: str, minute: int, **fields: Any) -> dict[str, Any]:
    """Return a review written so many minutes before the end of 2024."""
    moment = f"2024-{12 - minute // 720:02d}-{28 - minute // 60 % 12:02d}T23:{59 - minute % 60:02d}:00Z"
    return {"id": name, "createdAt": moment, "stars": 5, "language": "en", "content": "Fine", **fields}


def many(prefix: str, count: int) -> list[dict[str, Any]]:
    """Return so many reviews, newest first."""
    return [review(f"{prefix}{place:05d}", place) for place in range(count)]


def counts(total: int) -> dict[str, Any]:
    """Return a summary of so many reviews."""
    numbers = {"total": total, "oneStar": 0, "twoStars": 0, "threeStars": 0, "fourStars": 0, "fiveStars": total}
    return {"starsAverage": 5.0, "numberOfReviews": numbers}


def total(block: Block) -> int:
    """Return how many reviews a block's summary counts."""
    assert block["summary"]
    return block["summary"]["total"]
