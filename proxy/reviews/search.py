"""Finds the reviews that a view asks for, reading each list page by page only as far as an exact answer needs it."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from proxy.cache import BackendDown, DeadlinePassed, FailedElsewhere, Freshness, Lookup, State
from proxy.clock import Deadline
from proxy.reviews.models import PER_PAGE, UNDATED, Page, Source
from proxy.reviews.page_loader import WHOLE, PageLoader, page_of
from proxy.reviews.view import Filter, View
from proxy.trustpilot import TrustpilotError

MAX_PAGES = 10
"""How deep one list is read: its newest 1,000 reviews. Beyond, a rare filter would eat the quota."""

_TOGETHER_SECONDS = 2.0
"""Pages that were fetched so close to each other were fetched for one answer."""

Missing = TrustpilotError | DeadlinePassed | FailedElsewhere
"""Why something could not be read in time."""

MISSING = (TrustpilotError, DeadlinePassed, FailedElsewhere)


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A page of a list, how fresh its copy is, and the id of the review before it."""

    page: Page
    freshness: Freshness
    after: str


class Cursor:
    """The reviews of one SKU under Trustpilot's own filters, as far as their list was read."""

    def __init__(self, pages: PageLoader, sku: str, filters: Filter = WHOLE, *, newest_first: bool = True) -> None:
        """``newest_first``: nothing known says that this list has another order."""
        self.sku = sku
        self.filters = filters
        self.loaded: list[_Loaded] = []
        self._pages = pages
        self._newest_first = newest_first
        self._lookup: Lookup | None = None
        self._restarts = 0
        self._refetched: set[int] = set()

    @property
    def listing(self) -> tuple[str, Source]:
        """Which list it is: whose reviews, and from where."""
        return self.sku, self.filters.source

    @property
    def complete(self) -> bool:
        """Whether the list was read to its end, or as deep as lists are read."""
        return bool(self.loaded) and (self.loaded[-1].page.complete or len(self.loaded) >= MAX_PAGES)

    @property
    def newest_first(self) -> bool:
        """Whether all that was read came newest first, which Trustpilot documents nowhere."""
        pages = [loaded.page for loaded in self.loaded if loaded.page.newest > UNDATED]
        return (
            self._newest_first
            and all(page.newest_first for page in pages)
            and all(page.oldest >= next_.newest for page, next_ in pairwise(pages))
        )

    @property
    def watermark(self) -> float:
        """The moment up to which, from now backwards, every review is known (seconds since the epoch)."""
        if self.complete:
            return UNDATED
        if not self.newest_first:
            return float("inf")  # any page may hold the newest review: all are read
        return min(loaded.page.oldest for loaded in self.loaded)

    def ends_before(self, since: float) -> bool:
        """Tell whether what was not read of the list, if anything, was written before ``since``."""
        return self.complete or self.watermark < since

    def prefetch(self) -> None:
        """Look the next page up; :meth:`await_page` waits for it."""
        after = self.loaded[-1].page.end if self.loaded else ""
        self._lookup = self._pages.page(self.sku, self.filters, len(self.loaded) + 1, after)

    def await_page(self, deadline: Deadline) -> None:
        """Wait for the page that was looked up. Raises :data:`Missing`."""
        if self._lookup is None:
            return
        cached = self._lookup.wait(deadline)
        self._lookup = None
        if self._may_hide_one(cached.freshness) and self._has_moved(deadline):
            self._restart(deadline)
            return
        after = self.loaded[-1].page.end if self.loaded else ""
        self.loaded.append(_Loaded(page_of(cached), cached.freshness, after))

    def _may_hide_one(self, next_: Freshness) -> bool:
        """Tell whether a review that went between the fetches of two pages may have moved another out of sight."""
        if not self.loaded or len(self.loaded) in self._refetched:
            return False
        last = self.loaded[-1].freshness
        if last.state is State.MISS:
            return False  # both were fetched just now, for this answer
        return next_.state is State.MISS or next_.stored_at > last.stored_at + _TOGETHER_SECONDS

    def _has_moved(self, deadline: Deadline) -> bool:
        """Fetch the last page again; tell whether it ends with another review than when the next was fetched.

        Where a review went from it meanwhile, the next page begins one later than it is to begin.
        """
        number, last = len(self.loaded), self.loaded[-1]
        try:
            cached = self._pages.page(self.sku, self.filters, number, last.after, again=True).wait(deadline)
        except (*MISSING, BackendDown):
            # Nothing says that the two belong together: the answer is not to pass for a fresh one.
            fresh = last.freshness
            stale = Freshness(State.STALE, fresh.stored_at, fresh.stored_at, fresh.gone_at)
            self.loaded[-1] = _Loaded(last.page, stale, last.after)
            return False
        self._refetched.add(number)
        page = page_of(cached)
        if page.end != last.page.end:
            return self._restarts < MAX_PAGES
        self.loaded[-1] = _Loaded(page, cached.freshness, last.after)
        return False

    def _restart(self, deadline: Deadline) -> None:
        anew = Cursor(self._pages, self.sku, self.filters, newest_first=self._newest_first)
        anew._restarts, anew._refetched = self._restarts + 1, self._refetched
        while len(anew.loaded) <= len(self.loaded) and not anew.complete:
            anew.prefetch()
            anew.await_page(deadline)
        self.loaded, self._restarts = anew.loaded, anew._restarts


def prefetched(pages: PageLoader, lists: Iterable[tuple[str, Filter]]) -> list[Cursor]:
    """Look the newest page of each list up, before waiting for any."""
    cursors = [Cursor(pages, name, filters) for name, filters in lists]
    for cursor in cursors:
        cursor.prefetch()
    return cursors


def await_pages(cursors: Iterable[Cursor], deadline: Deadline) -> Missing | None:
    """Wait for all; return why some could not be read."""
    failure: Missing | None = None
    for cursor in cursors:
        try:
            cursor.await_page(deadline)
        except MISSING as missing:
            failure = missing
    return failure


class Shown(NamedTuple):
    """A review as a page keeps it, and the list it is in."""

    raw: bytes
    source: Source


@dataclass
class Found:
    """Reviews that a search found, whether there can be no more, and what it could not read."""

    reviews: list[Shown] = field(default_factory=list)
    exhausted: bool = True
    missing: Missing | None = None
    freshness: list[Freshness] = field(default_factory=list)


def newest(pages: PageLoader, bases: list[Cursor], view: View, wanted: int, deadline: Deadline) -> Found:
    """Find the newest ``wanted`` reviews that ``view`` accepts, in the order of Trustpilot's full list.

    ``bases`` are the whole lists of the SKUs, in the order asked, their first page read. Only where that is not
    enough to be exact is more read: with Trustpilot's filters where the view has some, else the next page.
    """
    frontier = list(bases)
    read = list(bases)
    merge = _Merge(view, [cursor.listing for cursor in bases])
    found = Found()
    while True:
        found.reviews = merge.certain(frontier, wanted)
        found.exhausted = all(cursor.ends_before(view.since) for cursor in frontier)
        if len(found.reviews) >= wanted or found.exhausted:
            break
        if not deadline.remaining():
            # Copies come at once, whatever the deadline: what is made of very many of them has to look at it too.
            found.missing = DeadlinePassed()
            break
        time.sleep(0)  # lets the worker's other requests run between two pages
        nearest = max(cursor.watermark for cursor in frontier)
        further = {
            cursor: _further(pages, cursor, view)
            for cursor in frontier
            if not cursor.ends_before(view.since) and cursor.watermark == nearest
        }
        frontier = [new for old in frontier for new in further.get(old, [old])]
        blocking = [cursor for cursors in further.values() for cursor in cursors]
        read += [cursor for cursor in blocking if cursor not in read]
        try:
            for cursor in blocking:
                cursor.await_page(deadline)
        except MISSING as missing:
            found.missing = missing
            break
    found.freshness = [loaded.freshness for cursor in read for loaded in cursor.loaded]
    return found


def highest(pages: PageLoader, bases: list[Cursor], view: View, wanted: int, deadline: Deadline) -> Found:
    """Find the ``wanted`` reviews with the most stars, newest first among equals: level by level."""
    found = Found(freshness=[loaded.freshness for cursor in bases for loaded in cursor.loaded])
    for stars in sorted(view.stars, reverse=True):
        level = newest(pages, bases, replace(view, stars=frozenset({stars})), wanted - len(found.reviews), deadline)
        found.reviews += level.reviews[: wanted - len(found.reviews)]
        found.freshness += level.freshness
        found.missing = level.missing
        found.exhausted = level.exhausted
        if level.missing or len(found.reviews) >= wanted:
            break
    return found


def _further(pages: PageLoader, cursor: Cursor, view: View) -> list[Cursor]:
    """Look up what answers ``view`` where ``cursor`` was not read far enough."""
    filters = view.filters
    further = [cursor]
    if cursor.filters.is_whole and filters != [WHOLE]:
        newest_first, source = cursor.newest_first, cursor.filters.source
        narrowed = [replace(one, source=source) for one in filters]
        further = [Cursor(pages, cursor.sku, one, newest_first=newest_first) for one in narrowed]
    for one in further:
        one.prefetch()
    return further


_Position = tuple[float, int, int]
"""How long before the epoch a review was written, then the rank of its SKU and, under several languages, of its
language."""

_Match = tuple[float, int, int, int, int, str | None, Shown]
"""A review that the view accepts: its :data:`_Position`, its list's language's rank, its place there, id, itself."""


class _Merge:
    """Merges lists newest first, up to where a page not yet read could still put a review in between.

    Reviews of one moment are in the order of SKUs, then, under several languages, of these, then Trustpilot's: one
    order wherever a review was read, in the whole list or its language's, so that drop-in pages meet each once.
    Each page's reviews are judged once, however many pages are read after it.
    """

    def __init__(self, view: View, listings: list[tuple[str, Source]]) -> None:
        self._view = view
        self._listings = {listing: rank for rank, listing in enumerate(listings)}
        languages = sorted(view.languages) if len(view.languages) > 1 else []
        self._languages = {language: rank for rank, language in enumerate(languages)}
        self._accepted: dict[_Loaded, list[_Match]] = {}

    def certain(self, cursors: list[Cursor], wanted: int) -> list[Shown]:
        """Return what comes before all that ``cursors`` may still hide; a review in two of their lists comes once.

        It may leave out what comes after ``wanted`` of them and one more, which tells that more follow.
        """
        if len(cursors) == 1 and (first := self._first(cursors[0], wanted)) is not None:
            return first
        matches = sorted(match for cursor in cursors for match in self._matches(cursor))
        # What an incomplete list still hides is at its watermark or older, and of its own SKU and language.
        hidden = min((self._first_hidden(cursor) for cursor in cursors if not cursor.complete), default=None)
        end = len(matches) if hidden is None else bisect_right(matches, hidden, key=lambda match: match[:3])
        seen: set[str] = set()
        certain = []
        for *_, name, shown in matches[:end]:
            if name is not None:
                if name in seen:
                    continue
                seen.add(name)
            certain.append(shown)
        return certain

    def _first(self, cursor: Cursor, wanted: int) -> list[Shown] | None:
        """Return the first matches of a list of which one page is read, ``None`` where they have to be sorted."""
        page = cursor.loaded[0].page
        if len(cursor.loaded) > 1 or self._languages or not cursor.newest_first:
            return None
        found: dict[object, Shown] = {}
        for position, review in enumerate(page.index):
            if review.written == UNDATED:
                return None
            if self._view.accepts(review):
                name = position if review.id is None else review.id
                found.setdefault(name, Shown(page.raw[position], cursor.filters.source))
                if len(found) > wanted:
                    break
        return list(found.values())

    def _matches(self, cursor: Cursor) -> Iterator[_Match]:
        for number, loaded in enumerate(cursor.loaded):
            if loaded not in self._accepted:
                self._accepted[loaded] = list(self._accept(cursor, number, loaded.page))
            yield from self._accepted[loaded]

    def _accept(self, cursor: Cursor, number: int, page: Page) -> Iterator[_Match]:
        _, sku, language = self._first_hidden(cursor)
        ranks, others = self._languages, len(self._languages)
        for position, review in enumerate(page.index):
            if self._view.accepts(review):
                rank = ranks.get(review.language, others)
                at = number * PER_PAGE + position
                yield (
                    -review.written,
                    sku,
                    rank,
                    language,
                    at,
                    review.id,
                    Shown(page.raw[position], cursor.filters.source),
                )

    def _first_hidden(self, cursor: Cursor) -> _Position:
        return (
            -cursor.watermark,
            self._listings[cursor.listing],
            self._languages.get(cursor.filters.language or "", 0),
        )
