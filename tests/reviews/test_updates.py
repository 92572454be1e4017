"""Many events at once: each product is changed once, and others get their turn in between."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from proxy.cache import Cache, Flights, Key, Lifetimes, MemoryStore
from proxy.cache.store import Change
from proxy.reviews import Updates
from proxy.reviews.models import Page, Review, ReviewEvent, read_review
from proxy.reviews.page_loader import product_name

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


def _review(name: str, second: int, stars: int = 5) -> Review:
    moment = f"2024-10-14T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
    return Review(name, moment, stars, "x", language="en")


def _event(sku: str, review: Review, *, whole: bool = True) -> ReviewEvent:
    return ReviewEvent("updated", sku, str(review.id), review, hidden=False, whole=whole)


def _updates(store: MemoryStore, pause: Callable[[], None]) -> Updates:
    return Updates(Cache(store, Flights(lambda job: job()), LIFETIMES, time.time), pause)


def _put(store: MemoryStore, sku: str, *reviews: Review) -> None:
    page = Page.of(reviews, complete=True)
    store.put(_key(sku), LIFETIMES.entry(page.encode(), found=True, now=time.time()))


def _key(sku: str) -> Key:
    return Key(product_name(UNIT, sku), "page2/*/*.*/1/")


def _reviews(store: MemoryStore, sku: str) -> list[Review]:
    entry = store.get(_key(sku))
    assert entry is not None
    return list(map(read_review, Page.decode(entry.value).raw))


def test_each_product_is_changed_once_and_others_get_a_turn_in_between() -> None:
    store, turns = CountingStore(), []
    _put(store, "A", _review("old", 1))
    events = [_event("A", _review("old", 1, 1 + place % 5)) for place in range(9_000)]
    events += [_event(f"P-{place}", _review("r", 1)) for place in range(20)]
    _updates(store, lambda: turns.append(len(store.revisions))).apply(UNIT, events)
    assert store.revisions == [product_name(UNIT, sku) for sku in ("A", *(f"P-{place}" for place in range(20)))]
    assert set(range(1, 22)) <= set(turns)
    assert _reviews(store, "A") == [_review("old", 1, 5)]


def test_a_page_never_grows_without_bound() -> None:
    store = CountingStore()
    _put(store, "A", _review("old", 1))
    events = [_event("A", _review(f"n{place}", place)) for place in range(2, 9_002)]
    _updates(store, lambda: None).apply(UNIT, events)
    assert [review.id for review in _reviews(store, "A")] == [f"n{place}" for place in range(9_001, 8_901, -1)]
    entry = store.get(_key("A"))
    assert entry is not None
    assert not Page.decode(entry.value).complete
    assert not entry.is_fresh(time.time())


def test_what_happens_to_one_review_happens_in_the_order_said() -> None:
    store = CountingStore()
    _put(store, "A", _review("old", 1))
    gone = ReviewEvent("deleted", None, "old", Review("old"), hidden=False, whole=False)
    _updates(store, lambda: None).apply(UNIT, [_event("A", _review("old", 1, 2)), gone])
    assert _reviews(store, "A") == []
    _updates(store, lambda: None).apply(UNIT, [_event("A", _review("new", 1, 2)), _event("A", _review("new", 1, 3))])
    assert _reviews(store, "A") == [_review("new", 1, 3)]


@pytest.mark.parametrize("whole", [True, False])
def test_a_known_review_that_an_event_does_not_say_all_of_is_shown_changed_and_fetched(whole: bool) -> None:
    store = CountingStore()
    _put(store, "A", _review("old", 1))
    said = Review("old", content="Broke after a week")
    _updates(store, lambda: None).apply(UNIT, [_event("A", said, whole=whole)])
    [review] = _reviews(store, "A")
    assert (review.content, review.stars, review.language) == ("Broke after a week", 5, "en")
    entry = store.get(_key("A"))
    assert entry is not None
    assert entry.is_fresh(time.time()) is whole
