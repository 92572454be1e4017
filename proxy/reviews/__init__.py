"""The product's heart: what callers can ask about products, each as one method.

Every answer is had before the deadline or not at all. Beside this: a page of reviews, the views over it, and the
trimmed shape that templates use.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import Generic, TypeVar

from msgspec import structs

from proxy.cache import Cache, DeadlinePassed, Freshness, Lookup, State
from proxy.clock import TRIES_OUT, Deadline, Now, spawn
from proxy.reviews.answers import (
    Block,
    Blocks,
    BusinessAnswer,
    ProductRating,
    TrustpilotBusinessUnit,
    TrustpilotProduct,
    TrustpilotSummary,
)
from proxy.reviews.business import Business, PendingBusiness
from proxy.reviews.models import SHOP, Indexed, Shop, read_review
from proxy.reviews.page_loader import (
    WHOLE,
    PageLoader,
    Selection,
    SummaryBatches,
    Upstream,
    WithoutReviews,
    page_of,
)
from proxy.reviews.search import MISSING, Cursor, Missing, await_pages, highest, newest, prefetched
from proxy.reviews.updates import Updates
from proxy.reviews.view import (
    NOTHING,
    BrandAssets,
    Display,
    Filter,
    Summary,
    View,
    failed_block,
    product_block,
    trimmed_summary,
)

__all__ = ["Answer", "ProductReviews", "Selection", "Unavailable", "Updates", "View", "Warmed"]

Body = TypeVar("Body")


@dataclass(frozen=True)
class Answer(Generic[Body]):
    """The JSON object to send and how fresh it is."""

    body: Body
    freshness: Freshness


class Warmed(Enum):
    """What warming a product came to."""

    FETCHED = "fetched"
    FRESH_ALREADY = "fresh already"
    WITHOUT_REVIEWS = "without reviews"


class Unavailable(Exception):
    """Nothing to answer with. ``late`` tells a deadline that passed from a Trustpilot that can't be had."""

    def __init__(self, cause: Missing) -> None:
        self.late = isinstance(cause, DeadlinePassed)
        self.retry_after = 5 if isinstance(cause, DeadlinePassed) else cause.retry_after
        late = "Trustpilot did not answer within the deadline, and no copy is held; the fetch goes on"
        super().__init__(late if self.late else f"{cause}, and no copy is held")


@dataclass
class _PendingBlock:
    """A block whose pages, and then whose summaries, are looked up but not yet waited for."""

    selection: Selection
    view: View
    pages: PageLoader
    bases: list[Cursor]
    summaries: list[Lookup] | None = None
    """Trustpilot's own, of the lists whose page can't be counted; ``None`` before they are looked up."""

    @property
    def uncounted(self) -> list[Cursor]:
        """The lists whose page is there and can't be counted."""
        return [base for base in self.bases if base.loaded and not base.loaded[0].page.countable]


_REFETCH_SECONDS = 12.0


class ProductReviews:
    """Reads through the cache."""

    def __init__(
        self,
        cache: Cache,
        trustpilot: Upstream,
        assets: BrandAssets,
        now: Now,
        *,
        batch_skus: int = 100,
        without_reviews: WithoutReviews | None = None,
    ) -> None:
        """``batch_skus``: most SKUs in one summaries call. What ``without_reviews`` knows of is not fetched."""
        self._without_reviews = without_reviews
        self._cache = cache
        self._assets = assets
        self._trustpilot = trustpilot
        self._batches = SummaryBatches(trustpilot, batch_skus)
        self._now = now
        self._late: set[Selection] = set()
        """Whose pages came too late for all who asked, and are still waited for."""

    def through(self, cache: Cache) -> ProductReviews:
        """Return the same reads through another cache."""
        known = self._without_reviews
        return ProductReviews(cache, self._trustpilot, self._assets, self._now, without_reviews=known)

    def block(
        self, selection: Selection, view: View, deadline: Deadline, *, empty_on_error: bool = False
    ) -> Answer[Block]:
        """Return the block of ``selection``'s SKUs, merged as variants. Raises :class:`Unavailable`.

        ``empty_on_error``: who asks takes a product that can't be had for one without reviews, so that the shop may
        stand in for it too.
        """
        shop = self._fallback(selection, view)
        try:
            answer = self._finish_block(self._look_up(selection, view, deadline), deadline)
        except Unavailable as failure:
            despite = self._shop_despite(failure, shop, selection.shown, deadline) if empty_on_error else None
            if despite is None:
                raise
            return despite
        return self._or_shop(answer, shop, deadline)

    def blocks(
        self, selection: Selection, view: View, deadline: Deadline, *, empty_on_error: bool = False
    ) -> Answer[Blocks]:
        """Return a block per SKU. Raises :class:`Unavailable` only when none could be had.

        The shop may stand in for those that could not be had; with ``empty_on_error``, as for :meth:`block`, for all.
        """
        shop = self._fallback(selection, view)
        # All pages are looked up before any is waited for, then all summaries, so that they share one call.
        pending = [self._look_up(replace(selection, skus=(sku,)), view, deadline) for sku in selection.skus]
        # A slow page may keep the others' summaries waiting for half of the time only.
        soon = deadline.half()
        for block in pending:
            await_pages(block.bases, soon)
        summaries = _summaries(self._loader(selection), [base for block in pending for base in block.uncounted])
        for block in pending:
            block.summaries = [summaries[base] for base in block.uncounted if base in summaries]
        products: list[Block] = []
        freshness: list[Freshness] = []
        instead: list[Freshness] = []
        failures: list[Unavailable] = []
        for block in pending:
            try:
                answer = self._or_shop(self._finish_block(block, deadline), shop, deadline)
            except Unavailable as failure:
                failures.append(failure)
                despite = self._shop_despite(failure, shop, block.selection.shown, deadline)
                products.append(despite.body if despite else self.empty_block(block.selection, str(failure)))
                instead += [despite.freshness] if despite else []
            else:
                products.append(answer.body)
                freshness.append(answer.freshness)
        if not freshness and not (empty_on_error and instead):
            raise next((failure for failure in failures if not failure.late), failures[0])
        body: Blocks = {
            "found": any(product["found"] for product in products),
            "count": len(products),
            "products": products,
        }
        return Answer(body, self._joined([*freshness, *instead], whole=not failures))

    def summary(self, selection: Selection, display: Display, deadline: Deadline) -> Answer[ProductRating]:
        """Return the stars of ``selection``'s SKUs merged. Raises :class:`Unavailable`."""
        summary, freshness = self._merged_summary(selection, deadline)
        return Answer(self._summary_body(selection, summary, display), freshness)

    def business(self, business_unit: str, view: View, deadline: Deadline) -> Answer[BusinessAnswer]:
        business = self._business(business_unit, view, deadline)
        return Answer(business.answer(self._assets), self._joined(business.freshness, whole=business.whole))

    def empty_business(self, business_unit: str, view: View, error: str) -> BusinessAnswer:
        """Return the answer of :meth:`business` that ``on_error=empty`` asks for."""
        nobody = Business(business_unit, view, Shop("", "", None, None, [0] * 6), [], [], whole=False)
        return {**nobody.answer(self._assets), "error": error}

    def trustpilot_business_unit(self, business_unit: str, deadline: Deadline) -> Answer[TrustpilotBusinessUnit]:
        """Return the shop itself in Trustpilot's own shape. Raises :class:`Unavailable`."""
        business = self._business(business_unit, View(limit=0), deadline)
        return Answer(business.in_trustpilots_shape(), self._joined(business.freshness, whole=True))

    def _business(self, business_unit: str, view: View, deadline: Deadline) -> Business:
        pages = self._loader(Selection(business_unit, (SHOP,)))
        try:
            return PendingBusiness(pages, business_unit, view).wait(deadline)
        except MISSING as missing:
            raise Unavailable(missing) from missing

    def _fallback(self, selection: Selection, view: View) -> PendingBusiness | None:
        """Look the shop up where it may have to stand in: at once, so that its calls run beside the product's."""
        if not view.fallback:
            return None
        return PendingBusiness(self._loader(selection), selection.business_unit, view)

    def _or_shop(self, answer: Answer[Block], shop: PendingBusiness | None, deadline: Deadline) -> Answer[Block]:
        """Return the shop in place of an answer without reviews, or that answer where the shop can't be had."""
        if shop is None or answer.body["found"]:
            return answer
        try:
            business = shop.wait(deadline)
        except MISSING:
            return Answer(answer.body, self._joined([answer.freshness], whole=False))
        freshness = self._joined([answer.freshness, *business.freshness], whole=business.whole)
        return Answer(business.block(answer.body["sku"], self._assets), freshness)

    def _shop_despite(
        self, failure: Unavailable, shop: PendingBusiness | None, sku: str, deadline: Deadline
    ) -> Answer[Block] | None:
        """Return the shop in place of a product that can't be had, ``None`` where it can't either."""
        if shop is None:
            return None
        try:
            business = shop.wait(deadline)
        except MISSING:
            return None
        body: Block = {**business.block(sku, self._assets), "error": str(failure)}
        return Answer(body, self._joined(business.freshness, whole=False))

    def empty_block(self, selection: Selection, error: str) -> Block:
        """Return the block that ``on_error=empty`` asks for."""
        return failed_block(selection.shown, error, self._assets, selection.business_unit)

    def empty_blocks(self, selection: Selection, error: str) -> Blocks:
        """Return the answer of :meth:`blocks` that ``on_error=empty`` asks for."""
        blocks = [self.empty_block(replace(selection, skus=(sku,)), error) for sku in selection.skus]
        return {"found": False, "count": len(blocks), "products": blocks, "error": error}

    def empty_summary(self, selection: Selection, display: Display, error: str) -> ProductRating:
        """Return the summary that ``on_error=empty`` asks for."""
        return {**self._summary_body(selection, NOTHING, display), "error": error}

    def trustpilot_summary(self, selection: Selection, deadline: Deadline) -> Answer[TrustpilotSummary]:
        """Return the same in Trustpilot's own shape. Raises :class:`Unavailable`."""
        summary, freshness = self._merged_summary(selection, deadline)
        return Answer(summary.in_trustpilots_shape(), freshness)

    def trustpilot_summaries(
        self, business_unit: str, skus: Sequence[str], deadline: Deadline
    ) -> tuple[list[TrustpilotProduct], Freshness]:
        """Return each product's summary in Trustpilot's own shape; one call fetches all that are not there.

        Raises :class:`Unavailable`.
        """
        pages = self._loader(Selection(business_unit, tuple(skus)))
        cached = {sku: page for sku in skus if (page := pages.cached_page(sku)) and page_of(page).countable}
        lacking = [sku for sku in skus if sku not in cached]
        lookups = dict(zip(lacking, pages.summaries(lacking), strict=True))
        summaries: list[TrustpilotProduct] = []
        freshness: list[Freshness] = []
        try:
            for sku in skus:
                found = cached.get(sku) or lookups[sku].wait(deadline)
                counts = Summary.of_reviews(page_of(found).index) if sku in cached else Summary.decode(found.value)
                summaries.append({"sku": sku, **counts.in_trustpilots_shape()})
                freshness.append(found.freshness)
        except MISSING as missing:
            raise Unavailable(missing) from missing
        return summaries, self._joined(freshness, whole=True)

    def trustpilot_reviews(
        self, selection: Selection, view: View, page: int, per_page: int, deadline: Deadline
    ) -> tuple[list[bytes], bool, Freshness]:
        """Return a page of reviews as Trustpilot's JSON, and whether more follow. Raises :class:`Unavailable`."""
        pages = self._loader(selection)
        bases = prefetched(pages, _lists(pages, selection, deadline))
        failure = await_pages(bases, deadline)
        if failure is not None:
            raise Unavailable(failure)
        # An incomplete whole listing says itself that more follow; under filters one review more has to be seen.
        wanted = page * per_page + (view.filters != [WHOLE])
        found = newest(pages, bases, view, wanted, deadline)
        start, end = (page - 1) * per_page, page * per_page
        shown = found.reviews[start:end]
        if found.missing and not shown:
            raise Unavailable(found.missing)
        more = len(found.reviews) > end or not found.exhausted
        return [each.raw for each in shown], more, self._joined(found.freshness, whole=found.missing is None)

    def refetch(self, business_unit: str, sku: str) -> None:
        """Have ``sku``'s newest page fetched that is known to be out of date; without it, the next who asks does."""
        with suppress(*MISSING):
            self._fresh_loader(business_unit).page(sku, WHOLE).wait(Deadline.after(_REFETCH_SECONDS))

    def warm_page(self, selection: Selection, deadline: Deadline) -> tuple[Warmed, bool]:
        """See to it that the newest pages of ``selection``'s one SKU are fresh, one for each source.

        Tells too whether Trustpilot's own summary has to be fetched for itself. Raises what kept a page from being
        fetched: :data:`~proxy.reviews.search.Missing`.
        """
        business_unit, (sku,) = selection.business_unit, selection.skus
        pages = self._fresh_loader(business_unit)
        lookups = {source: pages.page(sku, Filter(source=source)) for source in selection.sources}
        fresh = all(lookup.is_ready for lookup in lookups.values())
        found = {source: page_of(lookup.wait(deadline)) for source, lookup in lookups.items()}
        lacking = {source for source, page in found.items() if page.index and not page.countable}
        for source in lacking - {"trustpilot"}:
            pages.merged_summary(sku, source).wait(deadline)
        if not any(page.index for page in found.values()):
            return Warmed.WITHOUT_REVIEWS, False
        return Warmed.FRESH_ALREADY if fresh else Warmed.FETCHED, "trustpilot" in lacking

    def warm_summaries(
        self, business_unit: str, skus: Sequence[str], deadline: Deadline
    ) -> dict[str, Warmed | Missing]:
        """See to it that the summaries of ``skus`` are fresh, with one call for all that lack.

        Returns by SKU what it came to, or what kept the summary from being fetched.
        """
        pages = self._fresh_loader(business_unit)
        outcomes: dict[str, Warmed | Missing] = {}
        for sku, lookup in zip(skus, pages.summaries(skus), strict=True):
            outcomes[sku] = Warmed.FRESH_ALREADY if lookup.is_ready else Warmed.FETCHED
            try:
                lookup.wait(deadline)
            except MISSING as missing:
                outcomes[sku] = missing
        return outcomes

    def _look_up(self, selection: Selection, view: View, deadline: Deadline) -> _PendingBlock:
        pages = self._loader(selection)
        return _PendingBlock(selection, view, pages, prefetched(pages, _lists(pages, selection, deadline)))

    def _finish_block(self, block: _PendingBlock, deadline: Deadline) -> Answer[Block]:
        selection, view, bases = block.selection, block.view, block.bases
        failure = await_pages(bases, deadline)
        read = [base for base in bases if base.loaded]
        if not read:
            if isinstance(failure, DeadlinePassed):
                self._sum_up_later(block)
            raise Unavailable(failure or DeadlinePassed())
        uncounted = block.uncounted
        if block.summaries is None:
            block.summaries = list(_summaries(block.pages, uncounted).values())
        counted = [base.loaded[0].page.index for base in read if base not in uncounted]
        search = highest if view.sort == "highest" else newest
        found = search(block.pages, read, view, view.limit, deadline)
        reviews = found.reviews[: view.limit]
        failure = failure or found.missing
        if failure and not reviews:
            # "No reviews" would be a guess: the ones asked for may be where nobody could look.
            raise Unavailable(failure)
        freshness = list(found.freshness)
        summary: Summary | None = None
        try:
            parts = []
            for lookup in block.summaries:
                cached = lookup.wait(deadline)
                freshness.append(cached.freshness)
                parts.append(cached.value)
            if len(read) == len(bases):
                summary = Summary.together(parts, counted)
        except MISSING:
            # The contract's answer to this is a null summary beside the reviews, not a problem.
            summary = None
        whole = failure is None and summary is not None
        rating = (summary.total, summary.average) if summary else (None, None)
        worth_showing = view.is_worth_showing(*rating)
        shown = [(read_review(each.raw), each.source) for each in reviews] if worth_showing else []
        body = product_block(selection.shown, summary, shown, view, self._assets, selection.business_unit)
        return Answer(body, self._joined(freshness, whole=whole))

    def _sum_up_later(self, block: _PendingBlock) -> None:
        """Have the summaries fetched when the pages have come after all, so that the next who asks finds both."""
        asked = block.selection
        if asked in self._late or TRIES_OUT.get():
            return

        def sum_up() -> None:
            try:
                await_pages(block.bases, Deadline.after(_REFETCH_SECONDS))
                _summaries(block.pages, block.uncounted, awaited=False)
            finally:
                self._late.discard(asked)

        self._late.add(asked)
        spawn(sum_up)

    def _merged_summary(self, selection: Selection, deadline: Deadline) -> tuple[Summary, Freshness]:
        pages = self._loader(selection)
        parts: list[bytes] = []
        counted: list[Indexed] = []
        freshness: list[Freshness] = []
        pending = []
        for sku, filters in _lists(pages, selection, deadline):
            cached = pages.cached_page(sku, filters.source)
            page = page_of(cached) if cached else None
            countable = page.index if page and page.countable else None
            if cached and countable is not None and cached.freshness.state is State.HIT:
                counted += countable
                freshness.append(cached.freshness)
                continue
            awaited = countable is None
            if _is_single(sku, filters):
                lookup = pages.summary(sku, awaited=awaited)
            else:
                lookup = pages.merged_summary(sku, filters.source, awaited=awaited)
            if cached and countable is not None and not lookup.is_ready:
                # A stale page's count is answered at once; the summary just looked up refreshes it.
                counted += countable
                freshness.append(cached.freshness)
            else:
                pending.append(lookup)
        try:
            for lookup in pending:
                cached = lookup.wait(deadline)
                parts.append(cached.value)
                freshness.append(cached.freshness)
        except MISSING as missing:
            raise Unavailable(missing) from missing
        return Summary.together(parts, [counted] if counted else []), self._joined(freshness, whole=True)

    def _summary_body(self, selection: Selection, summary: Summary, display: Display) -> ProductRating:
        rating = trimmed_summary(summary, display, self._assets)
        return {"sku": selection.shown, "found": summary.total > 0, **rating}  # type: ignore[typeddict-item]  # no error

    def _loader(self, selection: Selection) -> PageLoader:
        return PageLoader(
            self._cache,
            self._trustpilot,
            self._batches,
            selection.business_unit,
            selection.locale,
            without_reviews=self._without_reviews,
        )

    def _fresh_loader(self, business_unit: str) -> PageLoader:
        return PageLoader(self._cache, self._trustpilot, self._batches, business_unit, None, fresh=True)

    def _joined(self, parts: list[Freshness], *, whole: bool) -> Freshness:
        """Join the freshness of all parts; an answer that lacks something is never better than stale."""
        joined = parts[0]
        for part in parts[1:]:
            joined = joined.with_(part)
        if whole:
            return joined
        return structs.replace(joined, state=max(joined.state, State.STALE), fresh_until=self._now())


def _lists(pages: PageLoader, selection: Selection, deadline: Deadline) -> list[tuple[str, Filter]]:
    try:
        names = pages.variants(selection.skus, selection.sources, deadline)
    except MISSING as missing:
        raise Unavailable(missing) from missing
    return [(name, Filter(source=source)) for source in selection.sources for name in names]


def _summaries(pages: PageLoader, lists: Sequence[Cursor], *, awaited: bool = True) -> dict[Cursor, Lookup]:
    """Look up Trustpilot's own summaries: of single products in one call, of each other list in one of its own."""
    if not lists:
        return {}
    single = [cursor for cursor in lists if _is_single(cursor.sku, cursor.filters)]
    lookups = dict(zip(single, pages.summaries([cursor.sku for cursor in single], awaited=awaited), strict=True))
    return {
        cursor: lookups.get(cursor) or pages.merged_summary(cursor.sku, cursor.filters.source, awaited=awaited)
        for cursor in lists
    }


def _is_single(sku: str, filters: Filter) -> bool:
    return filters.source == "trustpilot" and "," not in sku and not sku.startswith(" ")
