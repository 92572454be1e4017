"""One call confirms a whole shop: its reviews, newest first, read until one that was there last time.

What came since then is brought in as a webhook's events are. The order is documented nowhere, so it is checked on
every page.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec.structs import replace

from proxy.clock import Now, Priority
from proxy.events import FeedRead, Report, unheard
from proxy.reviews import Updates
from proxy.reviews.models import PER_PAGE, FeedItem, ReviewEvent
from proxy.sync.shops import ShopState, digest

REMEMBERED = 100
"""Reviews of which one has to be met again: any of them may be deleted meanwhile."""

MOST_PAGES = 50
"""Beyond, it is cheaper to look at each product when it is asked for."""

_log = logging.getLogger(__name__)


class OutOfOrder(Exception):
    """The feed is not newest first."""


class FeedCall(Protocol):
    """The call that reads a page."""

    def __call__(self, business_unit: str, page: int, *, priority: Priority) -> tuple[list[FeedItem], int]:
        """Return page ``page`` (from 1), and how many reviews it held."""


class FeedReader:
    """Reads feeds, and brings what is new in them into the cache."""

    def __init__(
        self,
        call: FeedCall,
        updates: Updates,
        now: Now,
        touch: Callable[[str, Iterable[str]], None],
        add_skus: Callable[[str, ShopState, Iterable[int]], ShopState],
        report: Report = unheard,
        *,
        fetch_seconds: float = 12.0,
    ) -> None:
        """``touch`` and ``add_skus`` are told of the products that got a review.

        ``fetch_seconds``: longer than any fetch takes.
        """
        self._fetch_seconds = fetch_seconds
        self._touch = touch
        self._add_skus = add_skus
        self._call = call
        self._updates = updates
        self._now = now
        self._report = report

    def read(self, business_unit: str, state: ShopState) -> ShopState:
        """Read until what was read last, and return the state after it.

        Raises :class:`OutOfOrder`, :class:`~proxy.trustpilot.errors.TrustpilotError`, or
        :class:`~proxy.cache.BackendDown` when others may not know of what came; the state is then as it was.
        """
        began_at, met_before = self._now(), frozenset(state.newest)
        read: list[FeedItem] = []
        last, met, seen = math.inf, False, frozenset[str]()
        new = 0
        for number in range(1, MOST_PAGES + 1):
            items, given = self._call(business_unit, number, priority=Priority.FEED)
            # What came meanwhile pushes the end of a page onto the next.
            unseen = [item for item in items if item.review.id not in seen]
            if any(later.written > earlier for earlier, later in _pairs(last, unseen)):
                raise OutOfOrder
            last = unseen[-1].written if unseen else last
            seen = frozenset(item.review.id for item in items if item.review.id)
            read += unseen[: max(0, REMEMBERED - len(read))]
            if not state.since:
                break
            came = _before(unseen, met_before)
            new += len(came)
            self._touch(business_unit, dict.fromkeys(item.sku for item in came))
            state = self._add_skus(business_unit, state, [digest(item.sku) for item in came])
            self._updates.apply(business_unit, [_event(item) for item in came])
            met = len(came) < len(unseen) or (given < PER_PAGE and not met_before)
            if met or given < PER_PAGE or last < state.reached:
                break
        self._report(FeedRead("read" if met else "restarted" if state.since else "begun", new))
        if state.since and not met:
            _log.warning(
                "the feed of business unit %s does not lead to what was read last: its products are confirmed by "
                "their counts first",
                business_unit,
            )
        return replace(
            state,
            # What landed since may have been on its way before.
            since=state.since if met else began_at + self._fetch_seconds,
            started_at=state.started_at if met else began_at,
            confirmed_at=began_at,
            newest=tuple(item.review.id for item in read if item.review.id),
            reached=min((item.written for item in read), default=0.0),
        )


def _pairs(last: float, items: Sequence[FeedItem]) -> list[tuple[float, FeedItem]]:
    return list(zip([last, *(item.written for item in items)], items, strict=False))


def _before(items: Sequence[FeedItem], met_before: frozenset[str]) -> list[FeedItem]:
    """Return what comes before the first item that was met before."""
    for number, item in enumerate(items):
        if item.review.id in met_before:
            return list(items[:number])
    return list(items)


def _event(item: FeedItem) -> ReviewEvent:
    name = item.review.id if isinstance(item.review.id, str) else ""
    return ReviewEvent("created", item.sku, name, item.review, hidden=False, whole=True, product_url=item.product_url)
