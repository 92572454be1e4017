"""Where pages and summaries come from: the cache, and behind it Trustpilot. One key per thing that can be fetched.

Summaries asked for within a few milliseconds of each other share one call.
"""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

import msgspec

from proxy.cache import PATIENCE, Cache, Cached, Fetch, Fetched, Key, Lookup, Patience
from proxy.clock import Deadline, Priority
from proxy.reviews.models import SHOP, Page, Shop, Source, products_query
from proxy.reviews.view import NOTHING, Filter, Summary
from proxy.trustpilot import Malformed, NotFound


class Upstream(Protocol):
    """Trustpilot's calls; each raises :class:`~proxy.trustpilot.TrustpilotError` when it can't be had."""

    def reviews(
        self, business_unit: str, sku: str, filters: Filter, page: int, *, locale: str | None, priority: Priority
    ) -> Page:
        """Return page ``page`` (from 1) of 100 reviews, newest first, under Trustpilot's own filters.

        ``sku`` is one, several with commas between, or what :func:`~proxy.reviews.models.at_url` named; Trustpilot
        merges their reviews. For :data:`~proxy.reviews.models.SHOP` they are those of the shop itself.

        Background calls are the first to be given up.
        """

    def batch_summaries(
        self, business_unit: str, skus: Sequence[str], *, priority: Priority
    ) -> Mapping[str, Summary | Malformed]:
        """Return the summaries of several products in one call, an error in the place of one that can't be read.

        A product without reviews may be missing.
        """

    def business_unit(self, business_unit: str, *, priority: Priority) -> Shop:
        """Return the shop itself."""

    def summary(self, business_unit: str, sku: str, *, source: Source, priority: Priority) -> Summary:
        """Return the summary of what ``sku`` names, as for :meth:`reviews`, merged by Trustpilot."""


WINDOW_SECONDS = 0.005
"""How long a batch stays open for others."""

EXPECTED_SECONDS = 0.1
"""How long it stays open for the next one of those who are announced: on a busy machine they come one by one."""


class _Batch:
    def __init__(self) -> None:
        self.skus: list[str] = []
        self.expected = 0
        """How many were announced, 0 when none were."""
        self.priority = Priority.VALIDATION
        self.full = threading.Event()
        self.done = threading.Event()
        self.summaries: Mapping[str, Summary | Malformed] = {}
        self.error: Exception | None = None


class SummaryBatches:
    """Collects SKUs per business unit; the first to ask waits for the others and calls for all."""

    def __init__(self, trustpilot: Upstream, most_skus: int = 100) -> None:
        """``most_skus``: in one call."""
        self._trustpilot = trustpilot
        self._most_skus = most_skus
        self._lock = threading.Lock()
        self._open: dict[str, _Batch] = {}

    def expect(self, business_unit: str, count: int) -> None:
        """Announce that ``count`` more are about to ask, so that the batch waits for them; fewer when negative."""
        with self._lock:
            batch = self._open.setdefault(business_unit, _Batch())
            batch.expected = max(0, batch.expected + count)
            if batch.skus and len(batch.skus) >= batch.expected:
                batch.full.set()
            elif not batch.skus and not batch.expected:
                del self._open[business_unit]

    def summary(self, business_unit: str, sku: str, *, priority: Priority) -> Summary | None:
        """Return the summary of ``sku``, ``None`` when Trustpilot has none; raise what the shared call raised.

        A summary that can't be read raises for its own SKU only. One who waits makes the call a foreground one.
        """
        with self._lock:
            batch = self._open.get(business_unit)
            if batch is None:
                batch = self._open[business_unit] = _Batch()
            leads = not batch.skus
            batch.skus.append(sku)
            batch.priority = min(batch.priority, priority)
            if len(batch.skus) >= self._most_skus:
                del self._open[business_unit]
                batch.full.set()
            elif batch.expected and len(batch.skus) >= batch.expected:
                batch.full.set()
        if leads:
            if batch.expected:
                _await_expected(batch)
            else:
                batch.full.wait(WINDOW_SECONDS)
            self._run(business_unit, batch)
        batch.done.wait()
        if batch.error is not None:
            raise batch.error
        counts = batch.summaries.get(sku)
        if isinstance(counts, Malformed):
            raise counts
        return counts

    def _run(self, business_unit: str, batch: _Batch) -> None:
        with self._lock:
            if self._open.get(business_unit) is batch:
                del self._open[business_unit]
        try:
            skus = list(dict.fromkeys(batch.skus))
            batch.summaries = self._trustpilot.batch_summaries(business_unit, skus, priority=batch.priority)
        except Exception as error:  # noqa: BLE001  # it is raised again in everyone who shares the call
            batch.error = error
        finally:
            batch.done.set()


def _await_expected(batch: _Batch) -> None:
    """Wait for those who are announced while they come, for up to half of the time that those who wait have."""
    patience, began, came = PATIENCE.get() or Patience(), time.monotonic(), 0
    while not batch.full.wait(EXPECTED_SECONDS) and len(batch.skus) > came:
        came, now = len(batch.skus), time.monotonic()
        if now - began >= patience.until - now:
            return


WHOLE = Filter()
SUMMARY = "summary"
"""The part that is Trustpilot's own summary."""

_LONGEST_LIST = 4000
"""Characters of SKUs in one URL; servers take 8,000 in all."""
_PAGE = "page2"
"""Counted up when the bytes of a stored page mean something else: a copy in an older form is then never asked for."""


NEWEST_PAGE = f"{_PAGE}/*/{WHOLE.name}/1/"
"""The part that is the newest page, in Trustpilot's own language of attribute names."""

WithoutReviews = Callable[[str, str], float | None]
"""Tells of a business unit's SKU when it was known to have no reviews, ``None`` when it may have some."""


def product_name(business_unit: str, sku: str) -> str:
    """Return the name under which all parts of a product are cached."""
    return f"{business_unit}/{sku}"


@dataclass(frozen=True)
class Selection:
    """Which products are asked for: one business unit's SKUs, and the language of attribute names."""

    business_unit: str
    skus: tuple[str, ...]
    """One of them may be what :func:`~proxy.reviews.models.at_url` named."""
    locale: str | None = None
    sources: tuple[Source, ...] = ("trustpilot",)

    @property
    def shown(self) -> str:
        """The SKUs as an answer names them."""
        return ",".join(sku for sku in self.skus if not sku.startswith(" "))

    @property
    def products(self) -> tuple[str, ...]:
        """The names under which the cache holds the products."""
        return tuple(product_name(self.business_unit, sku) for sku in self.skus)

    @property
    def surrogate_keys(self) -> tuple[str, ...]:
        """The same, and the shop, which may stand in for them or is named beside them."""
        return tuple(product_name(self.business_unit, sku) for sku in (*self.skus, SHOP))


def shop_and_sku(product: str) -> tuple[str, str]:
    """Return the business unit and the SKU of what :func:`product_name` named."""
    business_unit, _, sku = product.partition("/")
    return business_unit, sku


def is_page(part: str) -> bool:
    """Tell whether ``part`` is a page of Trustpilot's own reviews of its one product."""
    return part.startswith(f"{_PAGE}/")


def is_imported_page(part: str) -> bool:
    """Tell whether ``part`` is a page of imported reviews of its one product."""
    return part.startswith(f"imported-{_PAGE}/")


def holds_reviews(part: str) -> bool:
    """Tell whether ``part`` is a page of any kind, of variants merged by Trustpilot too."""
    return part.partition("/")[0].endswith(_PAGE)


def is_newest_page(part: str) -> bool:
    """Tell whether ``part`` is the newest page, all stars and languages, in any language of attribute names."""
    return is_page(part) and part.split("/")[2:] == [WHOLE.name, "1", ""]


def is_confirmable(key: Key) -> bool:
    """Tell whether ``key`` is of one SKU alone, and not of imported reviews: what counts and feeds tell of."""
    sku = shop_and_sku(key.product)[1]
    is_one = sku != SHOP and "," not in sku and products_query(sku)[0] == "sku"
    return is_one and (key.part == SUMMARY or is_page(key.part))


def is_variants_token(part: str) -> bool:
    """Tell whether ``part`` names the merged lists of which its product is one."""
    return part.startswith("variants/")


def page_of(cached: Cached) -> Page:
    """Return the page of a copy: the one that was just fetched, or else read from its bytes."""
    return cached.source if isinstance(cached.source, Page) else Page.decode(cached.value)


def read_shop(cached: Cached) -> Shop:
    """Return the business unit of a copy."""
    return msgspec.json.decode(cached.value, type=Shop)


@dataclass(eq=False)
class PageLoader:
    """Looks up one business unit's pages, in one language of attribute names, and its summaries.

    ``fresh``: a stale copy is not enough. What ``without_reviews`` knows of is not fetched.
    """

    cache: Cache
    trustpilot: Upstream
    batches: SummaryBatches
    business_unit: str
    locale: str | None
    fresh: bool = False
    without_reviews: WithoutReviews | None = None
    _merged: dict[str, str] = field(default_factory=dict, init=False)
    """By the SKUs of a merged list, their tokens together."""

    def page(self, sku: str, filters: Filter, number: int = 1, after: str = "", *, again: bool = False) -> Lookup:
        """Look page ``number`` up. ``after`` names the review before it. ``again``: a fresh copy is not enough.

        Being part of the key, it keeps a page that was fetched behind an older page from being joined to a newer one,
        with a gap between them. Raises :class:`~proxy.cache.BackendDown` only where it is to be fetched again.
        """

        def fetch(*, priority: Priority) -> Fetched:
            if filters.source == "trustpilot" and self._has_no_reviews(sku):
                return Fetched(Page.of([], complete=True).encode(), found=False)
            try:
                page = self.trustpilot.reviews(
                    self.business_unit, sku, filters, number, locale=self.locale, priority=priority
                )
            except NotFound:
                cached = self.cache.get(key)
                if cached is not None and page_of(cached).index:
                    # A 404 may be a mistake for a while; reviews that were there are not replaced by none.
                    raise
                page = Page.of([], complete=True)
            return Fetched(page.encode(), found=bool(page.index), source=page)

        key = self._page_key(sku, filters, number, after)
        return self.cache.refetch(key, fetch) if again else self._look_up(key, fetch)

    def summary(self, sku: str, *, awaited: bool = True) -> Lookup:
        """Look the summary up that Trustpilot itself makes; ``awaited`` as for :meth:`Cache.get_or_fetch`."""

        def fetch(*, priority: Priority) -> Fetched:
            if self._has_no_reviews(sku):
                return Fetched(NOTHING.encode(), found=False)
            try:
                summary = self.batches.summary(self.business_unit, sku, priority=priority) or NOTHING
            except NotFound:
                cached = self.cache.get(key)
                if cached is not None and Summary.decode(cached.value).total:
                    raise  # as for a page
                summary = NOTHING
            return Fetched(summary.encode(), found=bool(summary.total))

        key = Key(product_name(self.business_unit, sku), SUMMARY)
        return self._look_up(key, fetch, awaited=awaited)

    def summaries(self, skus: Sequence[str], *, awaited: bool = True) -> list[Lookup]:
        """Look several summaries up; one call fetches all that are not there."""
        self.batches.expect(self.business_unit, len(skus))
        lookups = [self.summary(sku, awaited=awaited) for sku in skus]
        self.batches.expect(self.business_unit, -sum(lookup.is_ready for lookup in lookups))
        return lookups

    def merged_summary(self, sku: str, source: Source, *, awaited: bool = True) -> Lookup:
        """Look up what Trustpilot sums up of what has no place in a batch: several SKUs, imported reviews."""

        def fetch(*, priority: Priority) -> Fetched:
            try:
                summary = self.trustpilot.summary(self.business_unit, sku, source=source, priority=priority)
            except NotFound:
                summary = NOTHING
            return Fetched(summary.encode(), found=bool(summary.total))

        return self._look_up(self._key(sku, f"{source}-summary"), fetch, awaited=awaited)

    def shop(self) -> Lookup:
        """Look the business unit itself up; :func:`read_shop` reads the copy."""

        def fetch(*, priority: Priority) -> Fetched:
            shop = self.trustpilot.business_unit(self.business_unit, priority=priority)
            return Fetched(msgspec.json.encode(shop), found=True)

        return self._look_up(self._key(SHOP, "unit"), fetch)

    def cached_page(self, sku: str, source: Source = "trustpilot") -> Cached | None:
        """Return the newest page if a copy is there, without fetching."""
        return self.cache.get(self._page_key(sku, Filter(source=source), 1, ""))

    def variants(self, skus: Sequence[str], sources: Sequence[Source], deadline: Deadline) -> list[str]:
        """Return the names of the lists to read for ``skus``: alone, or those that Trustpilot merges in one call.

        Alone where a copy of every one is there and can be counted: of longer lists nobody but Trustpilot can tell
        how many reviews are under several of the SKUs. A merged list is cached as part of its first SKU. Its key
        holds a token of each of the SKUs, which is cached as a part of that one, so that a change of any makes it
        another list: the token goes with all that is cached of its product. Raises what waiting for a look-up does.
        """
        if len(skus) == 1:
            return list(skus)
        groups = [",".join(group) for group in _together(skus)]
        tokens = [self.cache.get(Key(product_name(self.business_unit, sku), self._token_part(skus))) for sku in skus]
        if None in tokens:
            alone = (self.cached_page(sku, source) for sku in skus for source in sources)
            if all(cached is not None and page_of(cached).countable for cached in alone):
                return list(skus)
        lookups = [self._token(sku, skus) for sku in skus]
        digest = hashlib.sha256(b"".join(lookup.wait(deadline).value for lookup in lookups)).hexdigest()[:32]
        self._merged |= dict.fromkeys(groups, digest)
        return groups

    def _look_up(self, key: Key, fetch: Fetch, *, awaited: bool = True) -> Lookup:
        if self.fresh:
            return self.cache.refresh(key, fetch)
        return self.cache.get_or_fetch(key, fetch, awaited=awaited)

    def _has_no_reviews(self, sku: str) -> bool:
        """Tell whether nothing need be fetched: it is known of one SKU alone, and where nothing is cached of it."""
        if self.without_reviews is None:
            return False
        key = Key(product_name(self.business_unit, sku), NEWEST_PAGE)
        if not is_confirmable(key):
            return False
        known_at = self.without_reviews(self.business_unit, sku)
        # A webhook may have told of its first review since, or somebody had it forgotten.
        return known_at is not None and not self.cache.was_changed_after(key, known_at)

    def _token(self, sku: str, skus: Sequence[str]) -> Lookup:
        key = Key(product_name(self.business_unit, sku), self._token_part(skus))

        def fetch(*, priority: Priority) -> Fetched:
            # One that is there stays, or the list would have another name. That it is there yet is all it says.
            cached = self.cache.get(key)
            return Fetched(cached.value if cached else uuid.uuid4().bytes, found=True)

        return self.cache.get_or_fetch(key, fetch)

    @staticmethod
    def _token_part(skus: Sequence[str]) -> str:
        return f"variants/{hashlib.sha256(','.join(skus).encode()).hexdigest()[:32]}"

    def _page_key(self, sku: str, filters: Filter, number: int, after: str) -> Key:
        kind = _PAGE
        if sku in self._merged:
            kind = f"merged-{_PAGE}"
        elif sku == SHOP:
            kind = f"service-{_PAGE}"
        elif filters.source == "imported":
            kind = f"imported-{_PAGE}"
        return self._key(sku, f"{kind}/{self.locale or '*'}/{filters.name}/{number}/{after}")

    def _key(self, sku: str, part: str) -> Key:
        if tokens := self._merged.get(sku):
            first, _, _ = sku.partition(",")
            return Key(product_name(self.business_unit, first), f"{part}/{tokens}")
        return Key(product_name(self.business_unit, sku), part)


def _together(skus: Sequence[str]) -> list[list[str]]:
    groups: list[list[str]] = []
    size = _LONGEST_LIST
    for sku in skus:
        length = len(quote(sku, safe="")) + 3
        if size + length > _LONGEST_LIST:
            groups.append([])
            size = 0
        groups[-1].append(sku)
        size += length
    return groups
