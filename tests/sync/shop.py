"""A shop in memory that answers Trustpilot's calls, a clock that is set by hand, and the proxy's heart over both."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from proxy.cache import Backend, Cache, Group, Lifetimes, MemoryBackend, State, Tiered
from proxy.cache.sqlite import SqliteBackend
from proxy.cache.sqlite_file import MachineClock
from proxy.clock import Deadline, Priority, spawn
from proxy.reviews import ProductReviews, Selection, Updates, View
from proxy.reviews.models import FeedItem, Page, Review, Source, read_review
from proxy.reviews.models import Shop as BusinessUnit
from proxy.reviews.page_loader import is_page, page_of
from proxy.reviews.view import Filter, Summary
from proxy.sync import Deletions, Sync
from proxy.sync.feed import FeedCall, FeedReader, Shops
from proxy.sync.validator import Validator
from proxy.sync.whole_shop import Backfill, Comparison
from proxy.trustpilot import Malformed, Rejected, TrustpilotError
from proxy.trustpilot.changes import read_feed, read_shop_summaries
from proxy.trustpilot.client import read_batch_summaries, read_reviews
from tests.reviews.trustpilot import NoAssets

UNIT = "u"
FRESH, STALE, MISSING = 900.0, 86_400.0, 300.0


class Clock:
    """Seconds since the epoch, moved by the test."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Jobs:
    """What was spawned, run when the test says so: one after the other, in this thread."""

    def __init__(self) -> None:
        self._jobs: list[Callable[[], None]] = []

    def spawn(self, job: Callable[[], None]) -> None:
        self._jobs.append(job)

    def run(self) -> None:
        while self._jobs:
            self._jobs.pop(0)()


class Shop:
    """The truth: reviews by SKU, newest first. ``calls`` counts what was asked; a batch takes ``most_skus``."""

    def __init__(self, clock: Clock) -> None:
        self.products: dict[str, list[dict[str, Any]]] = {}
        self.calls: Counter[str] = Counter()
        self.batches: list[list[str]] = []
        self.most_skus = 10**9
        self.counts_more = 0
        """By how many reviews each summary says more than the pages show."""
        self.error: TrustpilotError | None = None
        self.deleted: list[tuple[float, str]] = []
        self.deleted_consumers: list[tuple[float, str]] = []
        self.is_oldest_first = False
        self.lost_page = 10**9
        self._clock = clock
        self._written = 0

    def add(self, sku: str, **fields: Any) -> dict[str, Any]:
        """Let a review of ``sku`` be written now."""
        self._written += 1
        written = {
            "id": f"r{self._written}",
            "createdAt": moment(self._clock.now + self._written / 1000),
            "stars": 5,
            "content": f"Review {self._written}",
            "consumer": {"id": f"c{self._written}", "displayName": "Ada"},
            "language": "en",
            "attributeRatings": [],
            "attachments": [],
            "firstCompanyComment": None,
            **fields,
        }
        self.products.setdefault(sku, []).insert(0, written)
        return written

    def reviews(
        self, business_unit: str, sku: str, filters: Filter, page: int, *, locale: str | None, priority: Priority
    ) -> Page:
        self._count("reviews")
        stars = filters.stars
        full = [review for review in self.products.get(sku, []) if not stars or review["stars"] in stars]
        links = [{"rel": "next-page"}] if len(full) > page * 100 else []
        body = {"productReviews": full[(page - 1) * 100 : page * 100], "links": links}
        return read_reviews(json.dumps(body).encode())

    def business_unit(self, business_unit: str, *, priority: Priority) -> BusinessUnit:
        raise NotImplementedError

    def summary(self, business_unit: str, sku: str, *, source: Source, priority: Priority) -> Summary:
        raise NotImplementedError

    def batch_summaries(
        self, business_unit: str, skus: Sequence[str], *, priority: Priority
    ) -> dict[str, Summary | Malformed]:
        self._count("summaries")
        self.batches.append(list(skus))
        if len(skus) > self.most_skus:
            raise Rejected("too many")
        listed = [{"sku": sku, **self.counts_of(sku)} for sku in skus if sku in self.products]
        return read_batch_summaries(json.dumps({"summaries": listed}).encode())

    def feed(self, business_unit: str, page: int, priority: Priority) -> tuple[list[FeedItem], int]:
        self._count("feed")
        listed = [(review, sku) for sku, reviews in self.products.items() for review in reviews]
        listed.sort(key=lambda pair: pair[0]["createdAt"], reverse=not self.is_oldest_first)
        start = (page - 1) * 100 + (100 if page >= self.lost_page else 0)
        shown = [
            {**review, "referenceId": "order-1", "product": {"sku": sku}}
            for review, sku in listed[start : start + 100]
        ]
        return read_feed(json.dumps({"productReviews": shown, "links": []}).encode())

    def summaries(
        self, business_unit: str, page: int, priority: Priority
    ) -> tuple[Iterator[tuple[str, Summary]], int]:
        self._count("shop_summaries")
        skus = sorted(self.products)[(page - 1) * 1000 : page * 1000]
        return read_shop_summaries(
            json.dumps({"summaries": [{"sku": s, **self.counts_of(s)} for s in skus]}).encode()
        )

    def counts_of(self, sku: str) -> dict[str, Any]:
        """Return Trustpilot's summary of a product."""
        stars = [review["stars"] for review in self.products[sku]]
        words = ("oneStar", "twoStars", "threeStars", "fourStars", "fiveStars")
        numbers = {word: stars.count(number) for number, word in enumerate(words, start=1)}
        numbers["fiveStars"] += self.counts_more
        total = len(stars) + self.counts_more
        return {"starsAverage": 4.0 if total else 0.0, "numberOfReviews": {"total": total, **numbers}}

    def _count(self, kind: str) -> None:
        self.calls[kind] += 1
        if self.error is not None:
            raise self.error


class DeletionLists:
    """What the shop lists as deleted, two a page."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def reviews(self, since: float, token: str | None) -> tuple[list[str], str | None]:
        return self._page(self._shop.deleted, since, token)

    def consumers(self, since: float, token: str | None) -> tuple[list[str], str | None]:
        return self._page(self._shop.deleted_consumers, since, token)

    def _page(self, listed: list[tuple[float, str]], since: float, token: str | None) -> tuple[list[str], str | None]:
        names = [name for at, name in listed if at >= since]
        start = int(token or 0)
        return names[start : start + 2], str(start + 2) if len(names) > start + 2 else None


class Heart:
    """The proxy without its edge, in front of a :class:`Shop`."""

    def __init__(
        self,
        *,
        sync: bool = True,
        has_feed: bool = False,
        fills: Path | None = None,
        before: Heart | None = None,
        most_skus: int = 100,
        shop: Callable[[Clock], Shop] | None = None,
    ) -> None:
        """``fills``: the folder of a store into which all reviews are read.

        ``before``: the process that ended, with the same shop and backend. ``shop``: makes another than usual.
        """
        self.clock: Clock = before.clock if before else Clock()
        self.jobs = Jobs()
        self.shop: Shop = before.shop if before else (shop or Shop)(self.clock)
        self.lifetimes = Lifetimes(FRESH, STALE, MISSING, confirms=sync)
        # A fetch ends at once; what is collected for a call waits until the test lets it go.
        self.backend: Backend = MemoryBackend(self.clock)
        if fills:
            clock = MachineClock(self.clock, self.clock, "this boot")
            self.backend = SqliteBackend(fills / "proxy.sqlite3", spawn, max_bytes=10**9, clock=clock)
        store = Tiered(self.backend, self.lifetimes, self.clock, at_once, l1_bytes=10**9, fetch_seconds=60)
        self.store = store
        self.cache = Cache(store, Group(at_once), self.clock)
        self.updates = Updates(self.cache, lambda: None)
        self.shops = Shops(self.backend, [UNIT], self.clock, lambda: FRESH)
        self.reviews = ProductReviews(
            self.cache, self.shop, NoAssets(), self.clock, without_reviews=self.shops.without_reviews_at
        )
        self.validator = Validator(
            self.cache,
            self.shop,
            self.jobs.spawn,
            self.clock,
            most_skus=most_skus,
            fresh_seconds=lambda: FRESH,
            collect_seconds=0.0,
        )
        store.confirm_with(self.shops.confirmed)
        if sync:
            self.cache.validate_with(
                lambda key, as_of, fetch: self.shops.covers(key, as_of) or self.validator.want(key, as_of, fetch)
            )
        spans, refetch = self.validator.spans, self.reviews.refetch
        comparison = Comparison(self.shop.summaries, self.cache, self.backend, self.shops, self.clock, spans, refetch)
        backfill = Backfill(
            self._feed, self.shop.summaries, self.cache, self.backend, self.shops, spans, refetch, self.clock
        )
        self.feed_call: FeedCall = self.shop.feed
        feed = FeedReader(
            self._feed, self.updates, self.clock, comparison.touch, self.shops.add_skus, fetch_seconds=1
        )
        lists = DeletionLists(self.shop)
        deletions = Deletions(lists.reviews, lists.consumers, self.updates, self.backend, [UNIT], self.clock)
        self.sync = Sync(
            self.backend,
            self.shops,
            deletions,
            self.jobs.spawn,
            self.clock,
            lambda: FRESH,
            feed=feed if has_feed else None,
            comparison=comparison,
            backfill=backfill if fills else None,
        )

    def ask(self, *skus: str) -> list[str]:
        """Return the texts that the blocks of ``skus`` show, and have what that set off be done."""
        view = View(limit=20)
        blocks = [self.reviews.block(Selection(UNIT, (sku,)), view, Deadline.after(5)) for sku in skus]
        self.jobs.run()
        return [review["content"] for block in blocks for review in block.body["reviews"]]

    def pages(self, sku: str) -> list[list[Review]]:
        """Return the reviews of every cached page of ``sku``."""
        cached = self.cache.parts(f"{UNIT}/{sku}").cached
        return [[read_review(raw) for raw in page_of(one).raw] for part, one in cached.items() if is_page(part)]

    def _feed(self, business_unit: str, page: int, priority: Priority) -> tuple[list[FeedItem], int]:
        return self.feed_call(business_unit, page, priority)

    def state(self, sku: str) -> State:
        """Return how fresh the block of ``sku`` is."""
        return self.reviews.block(Selection(UNIT, (sku,)), View(), Deadline.after(5)).freshness.state


def at_once(job: Callable[[], None]) -> None:
    """Run what is spawned before going on."""
    job()


def moment(seconds: float) -> str:
    """Return a time as Trustpilot writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
