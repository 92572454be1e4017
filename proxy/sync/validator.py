"""Stale pages are confirmed by their products' counts, a hundred products in one call, and fetched if they changed.

Counts show a review that came, went, or got other stars. What they can't show, such as an edited text, is bounded by
the policy: an entry that was not fetched for ``CACHE_STALE_SECONDS`` is never given to the validator.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.cache import BackendDown, Cache, Cached, Fetched, Key, Parts, State, Updated
from proxy.clock import Now, Priority, Spawn, in_turns
from proxy.events import Report, Validated, unheard
from proxy.reviews.models import Page
from proxy.reviews.page_loader import (
    SUMMARY,
    Upstream,
    is_confirmable,
    is_newest_page,
    is_page,
    page_of,
    product_name,
    shop_and_sku,
)
from proxy.reviews.view import NOTHING, Summary, stars_of
from proxy.trustpilot import Malformed, NotFound, Rejected, TrustpilotError

COUNTS = "counts"
"""The part of a product that says what its summary was when its pages were fetched: it may never equal the page."""

COLLECT_SECONDS = 0.25
"""How long stale products are collected before they are asked about: their stale copies are answered meanwhile."""

SOON = 0.5
"""A call that is not full takes along what is stale within this part of ``CACHE_FRESH_SECONDS``."""

MOST_RIDES = 16
"""How often a product is taken along although nobody asked for it since."""

MOST_KNOWN = 50_000
"""Products of a shop that may be taken along. About 10 MB."""

_PAUSE_SECONDS = 1.0
"""After a call that failed: the stale copies are answered on."""

_GROW_SECONDS = 86_400.0
"""How long calls stay as small as Trustpilot takes them, before one is tried that is twice as large."""

_UNABLE_SECONDS = 300.0
"""How long products are fetched again, as without a validator, where Trustpilot rejects the call itself."""

_log = logging.getLogger(__name__)

Refetch = Callable[[], object]
Spans = Callable[[Parts, Summary], list[tuple[float, float]]]


@dataclass
class _Known:
    """A product that was asked for when it was stale: when it is so again, and how often nobody has asked since."""

    stale_at: float
    rides: int = 0


@dataclass
class _Shop:
    """What is known of one business unit. ``wanted``: by SKU, the stale parts and how each is fetched."""

    business_unit: str
    most: int
    wanted: dict[str, dict[str, Refetch]] = field(default_factory=dict)
    known: OrderedDict[str, _Known] = field(default_factory=OrderedDict)
    is_working: bool = False
    paused_until: float = 0.0
    unable_until: float = 0.0
    grows_at: float = math.inf
    full: threading.Event = field(default_factory=threading.Event)


@dataclass(eq=False)
class Validator:
    """Sees to stale entries that may still be right. Nobody waits for it.

    ``fresh_seconds``: how long an entry is fresh once it is confirmed.
    """

    cache: Cache
    trustpilot: Upstream
    spawn: Spawn
    now: Now
    most_skus: int
    fresh_seconds: Callable[[], float]
    collect_seconds: float = COLLECT_SECONDS
    report: Report = unheard
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _shops: dict[str, _Shop] = field(default_factory=dict, init=False)

    def want(self, key: Key, _as_of: float, refetch: Refetch) -> bool:
        """Have the stale entry of ``key`` confirmed, or fetched by ``refetch``; tell whether that is possible."""
        if not is_confirmable(key):
            return False
        business_unit, sku = shop_and_sku(key.product)
        now = self.now()
        with self._lock:
            shop = self._shops.setdefault(business_unit, _Shop(business_unit, self.most_skus))
            if now < shop.unable_until:
                return False
            if now < shop.paused_until:
                return True
            shop.wanted.setdefault(sku, {})[key.part] = refetch
            shop.known.setdefault(sku, _Known(now))
            if len(shop.wanted) >= shop.most:
                shop.full.set()
            starts, shop.is_working = not shop.is_working, True
        if starts:
            self.spawn(lambda: self._work(shop))
        return True

    @property
    def known(self) -> int:
        """How many products are asked for again and again."""
        with self._lock:
            return sum(len(shop.known) for shop in self._shops.values())

    def _work(self, shop: _Shop) -> None:
        while True:
            shop.full.wait(self.collect_seconds)
            with self._lock:
                if self.now() >= shop.grows_at:
                    self._resize(shop, 2 * shop.most)
                shop.full.clear()
                batch = {sku: shop.wanted.pop(sku) for sku in list(shop.wanted)[: shop.most]}
                if not batch:
                    shop.is_working = False
                    return
                if len(shop.wanted) >= shop.most:
                    shop.full.set()
            try:
                self._validate(shop, batch)
            except BackendDown:
                # What could not be confirmed for all is stale until the backend is back.
                self._pause(shop)
            except Exception:  # noqa: BLE001  # one product's fault must not end the work for all
                self._pause(shop)
                _log.exception("stale products could not be confirmed")

    def _validate(self, shop: _Shop, wanted: dict[str, dict[str, Refetch]]) -> None:
        business_unit = shop.business_unit
        asked = {
            sku: refetches
            for sku, refetches in in_turns(wanted.items())
            if self._is_stale(product_name(business_unit, sku), refetches)
        }
        if not asked:
            return
        skus = [*asked, *self._riders(shop, shop.most - len(asked), asked)]
        at = self.now()
        try:
            summaries = self.trustpilot.batch_summaries(business_unit, skus, priority=Priority.VALIDATION)
        except (Rejected, NotFound) as error:
            self._shrink(shop, len(skus) if isinstance(error, Rejected) else 1, error)
            with self._lock:
                waiting = {**asked, **(shop.wanted if shop.unable_until else {})}
                if shop.unable_until:
                    shop.wanted.clear()
            for sku, refetches in waiting.items():
                for part, refetch in refetches.items():
                    self.want(Key(product_name(business_unit, sku), part), at, refetch) or refetch()
            return
        except TrustpilotError:
            # Reported where the call was made. A stale copy is answered on, until the next who asks.
            self._pause(shop)
            return
        confirmed = 0
        for sku in in_turns(skus):
            confirmed += self._judge(shop, sku, summaries.get(sku, NOTHING), at, asked.get(sku))
        self.report(Validated(len(skus), confirmed))

    def _judge(
        self, shop: _Shop, sku: str, summary: Summary | Malformed, at: float, asked: Mapping[str, Refetch] | None
    ) -> bool:
        """Confirm what ``summary`` of the moment ``at`` shows to be right, have the rest fetched; tell if all is."""
        product = product_name(shop.business_unit, sku)
        if isinstance(summary, Malformed):
            for refetch in (asked or {}).values():
                refetch()
            return False
        is_asked = asked is not None or self.cache.was_read(product)
        parts = self.cache.parts(product)
        if SUMMARY in parts.cached:
            self.cache.put(
                Key(product, SUMMARY), Fetched(summary.encode(), bool(summary.total)), at, parts.generation
            )
        pages = {part: cached for part, cached in parts.cached.items() if is_page(part)}
        spans = self.spans(parts, summary)
        right = {part for part, cached in pages.items() if is_within(cached, spans)}
        for part in right:
            self.cache.confirm(Key(product, part), at)
        if not spans:
            # What the summary says now, before the pages are fetched, is what it is compared with from now on.
            self.cache.put(Key(product, COUNTS), Fetched(counts_of(summary), found=True), at, parts.generation)
        elif COUNTS in parts.cached:
            self.cache.confirm(Key(product, COUNTS), at)
        wrong = pages.keys() - right
        for part in wrong & (asked or {}).keys():
            (asked or {})[part]()
        if asked is None and wrong:
            # Nobody asked just now: who asks next has it fetched.
            self.cache.update(product, lambda part, cached: Updated(cached.value, refresh=part in wrong))
        self._note(shop, sku, at, rode=not is_asked, has_pages=bool(parts.cached))
        return not wrong

    def spans(self, parts: Parts, summary: Summary) -> list[tuple[float, float]]:
        """Return from when to when a page must have been fetched to show what ``summary`` counts."""
        spans = []
        baseline = parts.cached.get(COUNTS)
        if baseline is not None and baseline.value == counts_of(summary):
            # Once nobody looked at the counts any more, they may have changed and changed back.
            spans.append((baseline.freshness.stored_at, baseline.freshness.as_of + 2 * self.fresh_seconds()))
        for part, cached in parts.cached.items():
            if is_newest_page(part) and _counts_as(page_of(cached), summary):
                spans.append((cached.freshness.stored_at, math.inf))
        return spans

    def _riders(self, shop: _Shop, room: int, asked: Mapping[str, object]) -> list[str]:
        """Return products that are stale soon, as many as there is room for: asking for them costs nothing more."""
        until = self.now() + SOON * self.fresh_seconds()
        riders: list[str] = []
        given_up: list[str] = []
        with self._lock:
            # In the order in which they grow stale, and never all of them: there are thousands.
            for sku, product in shop.known.items():
                if len(riders) >= room or product.stale_at > until:
                    break
                if sku not in asked and sku not in shop.wanted:
                    (riders if product.rides < MOST_RIDES else given_up).append(sku)
            for sku in given_up:
                del shop.known[sku]
        return riders

    def _is_stale(self, product: str, refetches: Mapping[str, Refetch]) -> bool:
        """Tell whether another process has not confirmed all of it meanwhile."""
        cached = [self.cache.get(Key(product, part)) for part in refetches]
        return any(one is None or one.freshness.state is State.STALE for one in cached)

    def _note(self, shop: _Shop, sku: str, at: float, *, rode: bool, has_pages: bool) -> None:
        with self._lock:
            before = shop.known.pop(sku, None)
            if not has_pages:
                return
            rides = before.rides + 1 if rode and before else 0
            shop.known[sku] = _Known(at + self.fresh_seconds(), rides)
            if len(shop.known) > MOST_KNOWN:
                shop.known.popitem(last=False)

    def _shrink(self, shop: _Shop, size: int, error: TrustpilotError) -> None:
        """Ask about half as many from now on, as Trustpilot rejects the size; after the last one not at all."""
        with self._lock:
            if size > 1:
                self._resize(shop, size // 2)
            else:
                shop.unable_until = self.now() + _UNABLE_SECONDS
        if size > 1:
            _log.warning("Trustpilot rejects a summary of %d products at once: asking for %d", size, shop.most)
        else:
            _log.warning("products are fetched again instead of confirmed for a while: %s", error)

    def _resize(self, shop: _Shop, most: int) -> None:
        shop.most = max(1, min(most, self.most_skus))
        shop.grows_at = self.now() + _GROW_SECONDS if shop.most < self.most_skus else math.inf

    def _pause(self, shop: _Shop) -> None:
        with self._lock:
            shop.paused_until = self.now() + _PAUSE_SECONDS


def is_within(page: Cached, spans: list[tuple[float, float]]) -> bool:
    """Tell whether a page was fetched in one of ``spans``."""
    return any(begin <= page.freshness.stored_at <= end for begin, end in spans)


def counts_of(summary: Summary) -> bytes:
    """Return what is compared of ``summary``."""
    # Without the average, which follows from them and is rounded.
    return Summary(None, summary.total, summary.stars).encode()


def _counts_as(page: Page, summary: Summary) -> bool:
    stars = stars_of(page.index)
    return page.countable and (sum(stars), stars) == (summary.total, summary.stars)
