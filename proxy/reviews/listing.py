"""A product's reviews, newest first, read page by page only as far as an answer needs them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import pairwise

from proxy.cache import DeadlinePassed, FailedElsewhere, Freshness, Lookup, State, StoreDown
from proxy.clock import Deadline
from proxy.reviews.page import Page, written_at
from proxy.reviews.shelf import WHOLE, Shelf
from proxy.reviews.view import Filter, View
from proxy.trustpilot import RawReview, TrustpilotError

MAX_PAGES = 10
"""How deep one listing is read: its newest 1,000 reviews. Beyond, a rare filter would eat the quota."""

_TOGETHER_SECONDS = 2.0
"""Pages that were fetched so close to each other were fetched for one answer."""

Missing = TrustpilotError | DeadlinePassed | FailedElsewhere
"""Why something could not be had in time."""

MISSING = (TrustpilotError, DeadlinePassed, FailedElsewhere)


class Listing:
    """The reviews of one SKU under Trustpilot's own filters, as far as they were read."""

    def __init__(self, shelf: Shelf, sku: str, filters: Filter = WHOLE) -> None:
        self.sku = sku
        self.filters = filters
        self.reviews: list[RawReview] = []
        self.moments: list[float] = []
        """When each of the reviews was written, read once."""
        self.sorted = True
        """Whether the reviews came newest first, which Trustpilot documents nowhere."""
        self.complete = False
        self.countable = False
        self.freshness: list[Freshness] = []
        self._shelf = shelf
        self._pages = 0
        self._after = ""
        """The review before the last page."""
        self._last: Freshness | None = None
        """Of the last page."""
        self._restarts = 0
        self._fetched_again: set[int] = set()
        self._lookup: Lookup | None = None

    def reach(self) -> None:
        """Look the next page up; :meth:`settle` waits for it."""
        self._lookup = self._shelf.page(self.sku, self.filters, self._pages + 1, _end(self.reviews))

    def settle(self, deadline: Deadline) -> None:
        """Wait for the page that was looked up. Raises :data:`Missing`."""
        if self._lookup is None:
            return
        held = self._lookup.wait(deadline)
        self._lookup = None
        checked = self._pages in self._fetched_again
        if not checked and _may_hide_one(self._last, held.freshness) and self._has_moved(deadline):
            self._restart(deadline)
            return
        page = Page.decode(held.value)
        self.freshness.append(held.freshness)
        self._after, self._last = _end(self.reviews), held.freshness
        self.reviews += page.reviews
        self.moments += map(written_at, page.reviews)
        dated = [moment for moment in self.moments if moment != float("-inf")]
        self.sorted = self.sorted and all(newer >= older for newer, older in pairwise(dated))
        self._pages += 1
        self.countable = page.countable
        self.complete = page.complete or self._pages >= MAX_PAGES

    def _has_moved(self, deadline: Deadline) -> bool:
        """Fetch the last page again; tell whether it ends with another review than when the next was fetched.

        Where a review went from it meanwhile, the next page begins one later than it is to begin.
        """
        try:
            held = self._shelf.page(self.sku, self.filters, self._pages, self._after, again=True).wait(deadline)
        except (*MISSING, StoreDown):
            # Nothing says that the two belong together: the answer is not to pass for a fresh one.
            now = self.freshness[-1]
            self.freshness.append(Freshness(State.STALE, now.stored_at, now.stored_at, now.gone_at))
            return False
        self._last = held.freshness
        self._fetched_again.add(self._pages)
        self.freshness.append(held.freshness)
        return self._restarts < MAX_PAGES and _end(Page.decode(held.value).reviews) != _end(self.reviews)

    def _restart(self, deadline: Deadline) -> None:
        """Read as many pages as before and one more, from the first on."""
        pages, self._pages, self._last = self._pages + 1, 0, None
        self._restarts += 1
        self.reviews, self.moments, self.freshness = [], [], []
        self.sorted, self.complete = True, False
        while self._pages < pages and not self.complete:
            self.reach()
            self.settle(deadline)

    def copy(self) -> Listing:
        """Return a listing that can be read further while this one stays, as other searches may share it."""
        copy = Listing(self._shelf, self.sku, self.filters)
        copy.reviews, copy.freshness, copy._pages = list(self.reviews), list(self.freshness), self._pages
        copy.moments, copy.sorted = list(self.moments), self.sorted
        copy._after, copy._last, copy._restarts = self._after, self._last, self._restarts
        copy._fetched_again = set(self._fetched_again)
        return copy

    @property
    def horizon(self) -> float:
        """The moment up to which, from now backwards, every review is known (seconds since the epoch)."""
        if self.complete:
            return float("-inf")
        if not self.sorted:
            return float("inf")  # any page may hold the newest review: all are read
        dated = [moment for moment in self.moments if moment != float("-inf")]
        return min(dated, default=float("inf"))


def _end(reviews: list[RawReview]) -> str:
    """Return the id of the last review, which names the place where the next page begins."""
    return str(reviews[-1].get("id")) if reviews else ""


def _may_hide_one(before: Freshness | None, after: Freshness) -> bool:
    """Tell whether a review that went between the fetches of two pages may have moved another out of sight."""
    if before is None or before.state is State.MISS:
        return False  # both were fetched just now, for this answer
    return after.state is State.MISS or after.stored_at > before.stored_at + _TOGETHER_SECONDS


@dataclass
class Found:
    """Reviews that a search found, whether there can be no more, and what it could not have."""

    reviews: list[RawReview] = field(default_factory=list)
    exhausted: bool = True
    missing: Missing | None = None
    freshness: list[Freshness] = field(default_factory=list)


def newest(shelf: Shelf, bases: list[Listing], view: View, wanted: int, deadline: Deadline) -> Found:
    """Find the newest ``wanted`` reviews that ``view`` accepts, in the order of Trustpilot's full list.

    ``bases`` are the settled whole listings of the SKUs, in the order asked. Only where they are not enough to be
    exact is more read: with Trustpilot's filters where the view has some, else the next page.
    """
    frontier = list(bases)
    read: list[Listing] = list(bases)
    found = Found()
    accepted: dict[int, bool] = {}
    """By the review's identity, as each page more goes through all again; the listings keep them alive."""
    while True:
        matched = []
        for review in _certain(frontier, view):
            if id(review) not in accepted:
                accepted[id(review)] = view.accepts(review)
            if accepted[id(review)]:
                matched.append(review)
        found.reviews = matched
        found.exhausted = all(listing.complete for listing in frontier)
        if len(matched) >= wanted or found.exhausted:
            break
        if not deadline.remaining():
            # Copies come at once, whatever the deadline: what is made of very many of them has to look at it too.
            found.missing = DeadlinePassed()
            break
        time.sleep(0)  # lets the worker's other requests run between two pages
        nearest = max(listing.horizon for listing in frontier)
        blocking = [listing for listing in frontier if not listing.complete and listing.horizon == nearest]
        further = {id(listing): _further(shelf, listing, view) for listing in blocking}
        frontier = [new for old in frontier for new in further.get(id(old), [old])]
        read += [listing for listings in further.values() for listing in listings if listing not in read]
        try:
            for listing in (listing for listings in further.values() for listing in listings):
                listing.settle(deadline)
        except MISSING as missing:
            found.missing = missing
            break
    found.freshness = [freshness for listing in read for freshness in listing.freshness]
    return found


def highest(shelf: Shelf, bases: list[Listing], view: View, wanted: int, deadline: Deadline) -> Found:
    """Find the ``wanted`` reviews with the most stars, newest first among equals: level by level."""
    found = Found(freshness=[freshness for listing in bases for freshness in listing.freshness])
    for stars in sorted(view.stars, reverse=True):
        level = newest(shelf, bases, view.with_stars(stars), wanted - len(found.reviews), deadline)
        found.reviews += level.reviews[: wanted - len(found.reviews)]
        found.freshness += level.freshness
        found.missing = level.missing
        found.exhausted = level.exhausted
        if level.missing or len(found.reviews) >= wanted:
            break
    return found


def _further(shelf: Shelf, listing: Listing, view: View) -> list[Listing]:
    """Look up what answers ``view`` where ``listing`` does not reach far enough."""
    filters = view.filters
    if listing.filters == WHOLE and filters != [WHOLE]:
        listings = [Listing(shelf, listing.sku, one) for one in filters]
    else:
        listings = [listing.copy()]
    for new in listings:
        new.sorted = listing.sorted
        new.reach()
    return listings


def _certain(listings: list[Listing], view: View) -> list[RawReview]:
    """Merge ``listings`` newest first, up to where a page not yet read could still put a review in between.

    Reviews of one moment are in the order of SKUs, then, under several languages, of these, then Trustpilot's: one
    order wherever a review was read, in the whole list or its language's, so that drop-in pages meet each once.
    """
    skus = {sku: place for place, sku in enumerate(dict.fromkeys(listing.sku for listing in listings))}
    languages = sorted(view.languages) if len(view.languages) > 1 else []
    ranks = {language: rank for rank, language in enumerate(languages)}

    def rank(review: RawReview) -> int:
        return ranks.get(str(review.get("language")).lower(), len(ranks)) if ranks else 0

    entries = [
        (-moment, skus[listing.sku], rank(review), review)
        for listing in listings
        for moment, review in zip(listing.moments, listing.reviews, strict=True)
    ]
    entries.sort(key=lambda entry: entry[:3])
    # What an incomplete listing still hides is at its horizon or older, and of its own SKU and language.
    hidden = [
        (-listing.horizon, skus[listing.sku], ranks.get(listing.filters.language or "", 0))
        for listing in listings
        if not listing.complete
    ]
    first_hidden = min(hidden, default=(float("inf"), 0, 0))
    certain: list[RawReview] = []
    seen: set[str] = set()
    for *order, review in entries:
        if tuple(order) > first_hidden:
            return certain
        name = review.get("id")
        if name is None or name not in seen:
            certain.append(review)
        if name is not None:
            seen.add(name)
    return certain
