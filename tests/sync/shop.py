"""A shop in memory that answers Trustpilot's calls, a clock that is set by hand, and the proxy's heart over both."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from proxy.cache import Cache, Group, Lifetimes, MemoryBackend, State, Tiered
from proxy.clock import Deadline, Priority
from proxy.reviews import ProductReviews, Selection, Updates, View
from proxy.reviews.brand_assets import NoAssets
from proxy.reviews.models import Page, Source
from proxy.reviews.summary import Summary
from proxy.sync.validator import Validator
from proxy.trustpilot.decode import read_batch_summaries, read_reviews
from proxy.trustpilot.errors import Malformed, Rejected, TrustpilotError

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
        self,
        business_unit: str,
        sku: str,
        *,
        stars: Sequence[int],
        language: str | None,
        locale: str | None,
        page: int,
        source: Source,
        priority: Priority,
    ) -> Page:
        self._count("reviews")
        full = [review for review in self.products.get(sku, []) if not stars or review["stars"] in stars]
        links = [{"rel": "next-page"}] if len(full) > page * 100 else []
        body = {"productReviews": full[(page - 1) * 100 : page * 100], "links": links}
        return read_reviews(json.dumps(body).encode(), 100)

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


class Heart:
    """The proxy without its edge, in front of a :class:`Shop`."""

    def __init__(self, *, sync: bool = True, most_skus: int = 100) -> None:
        self.clock = Clock()
        self.jobs = Jobs()
        self.shop = Shop(self.clock)
        self.lifetimes = Lifetimes(FRESH, STALE, MISSING, confirms=sync)
        # A fetch ends at once; what is collected for a call waits until the test lets it go.
        store = Tiered(MemoryBackend(0), self.lifetimes, self.clock, at_once, l1_bytes=10**9, fetch_seconds=60)
        self.store = store
        self.cache = Cache(store, Group(at_once), self.clock)
        self.updates = Updates(self.cache, lambda: None)
        self.reviews = ProductReviews(self.cache, self.shop, NoAssets(), self.clock)
        self.validator = Validator(
            self.cache,
            self.shop.batch_summaries,
            self.jobs.spawn,
            self.clock,
            most_skus=most_skus,
            fresh_seconds=lambda: FRESH,
            collect_seconds=0.0,
        )
        if sync:
            self.cache.validate_with(self.validator.want)

    def ask(self, *skus: str) -> list[str]:
        """Return the texts that the blocks of ``skus`` show, and have what that set off be done."""
        view = View(limit=20)
        blocks = [self.reviews.block(Selection(UNIT, (sku,)), view, Deadline.after(5)) for sku in skus]
        self.jobs.run()
        return [review["content"] for block in blocks for review in block.body["reviews"]]

    def state(self, sku: str) -> State:
        """Return how fresh the block of ``sku`` is."""
        return self.reviews.block(Selection(UNIT, (sku,)), View(), Deadline.after(5)).freshness.state


def at_once(job: Callable[[], None]) -> None:
    """Run what is spawned before going on."""
    job()


def moment(seconds: float) -> str:
    """Return a time as Trustpilot writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
