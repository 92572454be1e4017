"""One call confirms a whole shop: its reviews, newest first, read until one that was there last time.

What came since then is brought in as a webhook's events are. The order is documented nowhere, so it is checked on
every page. Until when each shop's feed was read is kept in the backend, for all workers.
"""

from __future__ import annotations

import logging
import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise, takewhile

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from proxy.cache import Key
from proxy.cache.backend import FOR_GOOD_SECONDS, Backend
from proxy.cache.entry import SKEW_SECONDS
from proxy.clock import Now, Priority
from proxy.events import FeedRead, Report, unheard
from proxy.reviews import Updates
from proxy.reviews.models import PER_PAGE, UNDATED, FeedItem, ReviewEvent
from proxy.reviews.page_loader import is_confirmable, shop_and_sku

REMEMBERED = 100
"""Reviews of which one has to be met again: any of them may be deleted meanwhile."""

MOST_PAGES = 50
"""Beyond, it is cheaper to look at each product when it is asked for."""

_BEHIND = 2.0
"""A feed that was not read for so many times as long as copies are fresh confirms nothing any more."""

UNORDERED_SECONDS = 86_400.0
"""How long a feed that is in no order is left alone, the longest of all."""

_log = logging.getLogger(__name__)


class ShopState(Struct, frozen=True, array_like=True):
    """What is known of one shop. Moments are seconds since the epoch."""

    since: float = 0.0
    """From then on nothing was missed; 0 before the feed was read."""
    confirmed_at: float = 0.0
    """Until then all that the feed tells is cached."""
    newest: tuple[str, ...] = ()
    """Ids of the newest reviews then: the next reading ends at one of them."""
    reached: float = 0.0
    """When the oldest of them was written."""
    compared_at: float = 0.0
    """When the summaries of all products were compared."""
    unreadable_until: float = 0.0
    """Until then the feed is left alone: it is refused, or in no order."""
    is_backfilled: bool = False
    """The list of all reviews was read to its end."""
    skus: int = 0
    """Grows with each change of the SKUs that are known to have reviews."""
    reviews: int = 0
    """In all, when the summaries were compared last."""
    products: int = 0
    """In all, then."""
    started_at: float = 0.0
    """When the first of the readings began that missed nothing since."""
    compared_skus: int = -1
    """What ``skus`` was when the summaries were compared."""


class Shops:
    """The states, as this process saw them last."""

    def __init__(
        self, backend: Backend, business_units: Sequence[str], now: Now, fresh_seconds: Callable[[], float]
    ) -> None:
        self.business_units = tuple(business_units)
        self._backend = backend
        self._now = now
        self._fresh_seconds = fresh_seconds
        self._states = dict.fromkeys(business_units, ShopState())
        self._skus: dict[str, tuple[int, frozenset[int]]] = {}

    def seen(self, business_unit: str) -> ShopState:
        """Return the state of a shop that :meth:`load` saw last."""
        return self._states[business_unit]

    def load(self, business_unit: str) -> ShopState:
        """Look at what is kept of a shop. Raises :class:`~proxy.cache.BackendDown`."""
        kept = self._backend.get(_key(business_unit))
        state = ShopState()
        if kept is not None:
            try:
                state = msgspec.msgpack.decode(kept, type=ShopState)
            except msgspec.DecodeError:
                _log.warning("what is stored of shop %s is not the proxy's: treated as absent", business_unit)
        looked_at = max(state.confirmed_at, state.compared_at, state.unreadable_until - UNORDERED_SECONDS)
        if looked_at > self._now() + SKEW_SECONDS:
            # The clock was set back. Nobody would look at the shop before it is that late again.
            state = ShopState(skus=state.skus)
        # None are there where the store was emptied while another process had the state in hand.
        if state.skus and self._skus_of(business_unit)[0] != state.skus and (skus := self._read_skus(business_unit)):
            self._skus[business_unit] = (state.skus, skus)
        self._states[business_unit] = state
        return state

    def add_skus(self, business_unit: str, state: ShopState, digests: Iterable[int]) -> ShopState:
        """Note that the SKUs of these digests have reviews; return the state to save, by which the others see it.

        Raises :class:`~proxy.cache.BackendDown`.
        """
        version, known = self._skus_of(business_unit)
        added = frozenset(digests)
        if version == state.skus and added <= known:
            return state
        # What is kept may be less than was known, where the store was emptied; and more, where another process led.
        kept = self._read_skus(business_unit)
        if state.skus not in (0, version) and not kept:
            # Lost, and this process knew fewer: nobody knows them all until the summaries are compared again.
            state = replace(state, compared_at=0.0)
        known |= added | kept
        # By the time, as a count that begins anew would come to a number that stood for other SKUs before.
        version = max(state.skus + 1, int(self._now() * 1000))
        self._backend.set(f"{_key(business_unit)}:skus", array("Q", known).tobytes(), FOR_GOOD_SECONDS)
        self._skus[business_unit] = (version, known)
        return replace(state, skus=version)

    def without_reviews_at(self, business_unit: str, sku: str) -> float | None:
        """Return when ``sku`` was known to have no reviews, ``None`` when it may have some.

        That takes a list that was read to its end, a comparison since, and a feed that missed nothing.
        """
        state = self._states.get(business_unit, ShopState())
        known = state.is_backfilled and 0 < state.started_at <= state.compared_at
        if not known or self._now() >= state.confirmed_at + _BEHIND * self._fresh_seconds():
            return None
        version, skus = self._skus_of(business_unit)
        return None if version != state.skus or digest(sku) in skus else state.confirmed_at

    def _skus_of(self, business_unit: str) -> tuple[int, frozenset[int]]:
        """Return what this process knows of a shop's SKUs, and of which version; -1: nothing yet."""
        return self._skus.get(business_unit, (-1, frozenset()))

    def _read_skus(self, business_unit: str) -> frozenset[int]:
        kept = self._backend.get(f"{_key(business_unit)}:skus") or b""
        known = array("Q")
        known.frombytes(kept[: len(kept) // 8 * 8])
        return frozenset(known)

    def save(self, business_unit: str, state: ShopState) -> None:
        """Keep what is known of a shop. Raises :class:`~proxy.cache.BackendDown`."""
        self._backend.set(_key(business_unit), msgspec.msgpack.encode(state), FOR_GOOD_SECONDS)
        self._states[business_unit] = state

    def confirmed(self, key: Key) -> tuple[float, float]:
        """Return from when to when all that happened to ``key`` is known to be cached."""
        state = self._states.get(shop_and_sku(key.product)[0])
        if state is None or not state.since or not is_confirmable(key):
            return 0.0, 0.0
        return state.since, state.confirmed_at

    def covers(self, key: Key, as_of: float) -> bool:
        """Tell whether the feed confirms what was right at ``as_of``, so that nobody else need."""
        since, confirmed_at = self.confirmed(key)
        return bool(since) and since <= as_of and self._now() < confirmed_at + _BEHIND * self._fresh_seconds()


def digest(sku: str) -> int:
    """Return the eight bytes that stand for ``sku`` where all of a shop's are remembered."""
    return int.from_bytes(blake2b(sku.encode("utf-8", "replace"), digest_size=8).digest())


def _key(business_unit: str) -> str:
    return f"sync:{business_unit}"


class OutOfOrder(Exception):
    """The feed is not newest first."""


FeedCall = Callable[[str, int, Priority], tuple[list[FeedItem], int]]
"""Returns a business unit's page of so much (from 1), and how many reviews it held."""


@dataclass(frozen=True)
class FeedReader:
    """Reads feeds, and brings what is new in them into the cache.

    ``touch`` and ``add_skus`` are told of the products that got a review. ``fetch_seconds``: longer than any fetch.
    """

    call: FeedCall
    updates: Updates
    now: Now
    touch: Callable[[str, Iterable[str]], None]
    add_skus: Callable[[str, ShopState, Iterable[int]], ShopState]
    report: Report = unheard
    fetch_seconds: float = 12.0

    def read(self, business_unit: str, state: ShopState) -> ShopState:
        """Read until what was read last, and return the state after it.

        Raises :class:`OutOfOrder`, :class:`~proxy.trustpilot.TrustpilotError`, or
        :class:`~proxy.cache.BackendDown` when others may not know of what came; the state is then as it was.
        """
        began_at, met_before = self.now(), frozenset(state.newest)
        read: list[FeedItem] = []
        last, met, seen = math.inf, False, frozenset[str]()
        new = 0
        for number in range(1, MOST_PAGES + 1):
            items, given = self.call(business_unit, number, Priority.FEED)
            # What came meanwhile pushes the end of a page onto the next.
            unseen = [item for item in items if item.review.id not in seen]
            if not is_newest_first(written := [last, *dated(unseen)]):
                raise OutOfOrder
            last = written[-1]
            seen = frozenset(item.review.id for item in items if item.review.id)
            read += unseen[: max(0, REMEMBERED - len(read))]
            if not state.since:
                break
            came = list(takewhile(lambda item: item.review.id not in met_before, unseen))
            new += len(came)
            self.touch(business_unit, dict.fromkeys(item.sku for item in came))
            state = self.add_skus(business_unit, state, [digest(item.sku) for item in came])
            self.updates.apply(business_unit, [_event(item) for item in came])
            met = len(came) < len(unseen) or (given < PER_PAGE and not met_before)
            if met or given < PER_PAGE or last < state.reached:
                break
        self.report(FeedRead("read" if met else "restarted" if state.since else "begun", new))
        if state.since and not met:
            _log.warning(
                "the feed of business unit %s does not lead to what was read last: its products are confirmed by "
                "their counts first",
                business_unit,
            )
        return replace(
            state,
            # What landed since may have been on its way before.
            since=state.since if met else began_at + self.fetch_seconds,
            started_at=state.started_at if met else began_at,
            confirmed_at=began_at,
            newest=tuple(item.review.id for item in read if item.review.id),
            reached=min(dated(read), default=0.0),
        )


def dated(items: Iterable[FeedItem]) -> list[float]:
    """Return when each was written, of those that tell a date that can be read."""
    return [item.written for item in items if item.written != UNDATED]


def is_newest_first(written: Iterable[float]) -> bool:
    """Tell whether none of these moments is later than the one before."""
    return all(earlier >= later for earlier, later in pairwise(written))


def _event(item: FeedItem) -> ReviewEvent:
    name = item.review.id if isinstance(item.review.id, str) else ""
    return ReviewEvent("created", item.sku, name, item.review, hidden=False, whole=True, product_url=item.product_url)
