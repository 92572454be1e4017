"""Many events at once: each product is changed once, and others get their turn in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from proxy.cache import Cache, Flights, Key, Lifetimes, MemoryStore
from proxy.cache.store import Change
from proxy.reviews import Updates
from proxy.reviews.page import Page
from proxy.reviews.shelf import product_name
from proxy.trustpilot.events import ReviewEvent

LIFETIMES = Lifetimes(900, 86_400, 300)
UNIT = "unit-1"


class CountingStore(MemoryStore):
    """A store that counts what is changed."""

    def __init__(self) -> None:
        super().__init__(10**8, time.time)
        self.revisions: list[str] = []

    def revise(self, product: str, change: Change) -> None:
        self.revisions.append(product)
        super().revise(product, change)


def _review(name: str, second: int, stars: int = 5) -> dict[str, Any]:
    moment = f"2024-10-14T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
    return {"id": name, "createdAt": moment, "stars": stars, "content": "x", "language": "en"}


def _event(sku: str, review: dict[str, Any]) -> ReviewEvent:
    return ReviewEvent("updated", sku, review["id"], review, hidden=False, whole=True)


def _updates(store: MemoryStore, pause: Callable[[], None]) -> Updates:
    return Updates(Cache(store, Flights(lambda job: job()), LIFETIMES, time.time), pause)


def _held(store: MemoryStore, sku: str, page: Page | None = None) -> Page:
    key = Key(product_name(UNIT, sku), "page/*/*.*/1/")
    if page is not None:
        store.put(key, LIFETIMES.entry(page.encode(), found=True, now=time.time()))
    entry = store.get(key)
    assert entry is not None
    return Page.decode(entry.value)


def test_each_product_is_changed_once_and_others_get_a_turn_in_between() -> None:
    store, turns = CountingStore(), []
    _held(store, "A", Page([_review("old", 1)], complete=True))
    events = [_event("A", _review("old", 1, 1 + place % 5)) for place in range(9_000)]
    events += [_event(f"P-{place}", _review("r", 1)) for place in range(20)]
    _updates(store, lambda: turns.append(len(store.revisions))).apply(UNIT, events)
    assert store.revisions == [product_name(UNIT, sku) for sku in ("A", *(f"P-{place}" for place in range(20)))]
    assert set(range(1, 22)) <= set(turns)
    assert _held(store, "A").reviews == [_review("old", 1, 5)]


def test_a_page_never_grows_without_bound() -> None:
    store = CountingStore()
    _held(store, "A", Page([_review("old", 1)], complete=True))
    events = [_event("A", _review(f"n{place}", place)) for place in range(2, 9_002)]
    _updates(store, lambda: None).apply(UNIT, events)
    page = _held(store, "A")
    assert [review["id"] for review in page.reviews] == [f"n{place}" for place in range(9_001, 8_901, -1)]
    assert not page.complete


def test_what_happens_to_one_review_happens_in_the_order_told() -> None:
    store = CountingStore()
    _held(store, "A", Page([_review("old", 1)], complete=True))
    gone = ReviewEvent("deleted", None, "old", {"id": "old"}, hidden=False, whole=False)
    _updates(store, lambda: None).apply(UNIT, [_event("A", _review("old", 1, 2)), gone])
    assert _held(store, "A").reviews == []
    _updates(store, lambda: None).apply(UNIT, [_event("A", _review("new", 1, 2)), _event("A", _review("new", 1, 3))])
    assert _held(store, "A").reviews == [_review("new", 1, 3)]
