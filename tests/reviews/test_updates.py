"""Many events at once: each product is changed once, and others get their turn in between."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from proxy.cache import Cached, Fetched, Key, Lifetimes, State
from proxy.clock import Deadline, Priority
from proxy.reviews import Updates
from proxy.reviews.models import Attachment, Comment, Consumer, Page, Review, ReviewEvent, read_review
from proxy.reviews.page_loader import product_name
from tests.reviews.trustpilot import in_memory

LIFETIMES = Lifetimes(900, 86_400, 300)
UNIT = "unit-1"


class CountingCache:
    """A cache, and which products were changed in it."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.cache = in_memory(LIFETIMES, lambda: time.time() + self.ahead, lambda job: job(), max_bytes=10**8)
        self.updated: list[str] = []
        self.cache._store.when_changed.append(self.updated.append)

    def get(self, sku: str) -> Cached:
        cached = self.cache.get(_key(sku))
        assert cached is not None
        return cached


def _review(name: str, second: int, stars: int = 5) -> Review:
    moment = f"2024-10-14T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
    return Review(name, moment, stars, "x", language="en")


def _event(sku: str, review: Review, *, whole: bool = True) -> ReviewEvent:
    return ReviewEvent("updated", sku, str(review.id), review, hidden=False, whole=whole)


def _updates(counting: CountingCache, pause: Callable[[], None]) -> Updates:
    return Updates(counting.cache, pause)


def _put(counting: CountingCache, sku: str, *reviews: Review) -> None:
    page = Page.of(reviews, complete=True)

    def fetch(*, priority: Priority) -> Fetched:
        return Fetched(page.encode(), found=bool(reviews))

    counting.cache.get_or_fetch(_key(sku), fetch).wait(Deadline.after(1))


def _key(sku: str) -> Key:
    return Key(product_name(UNIT, sku), "page2/*/*.*/1/")


def _reviews(counting: CountingCache, sku: str) -> list[Review]:
    return list(map(read_review, Page.decode(counting.get(sku).value).raw))


def test_each_product_is_changed_once_and_others_get_a_turn_in_between() -> None:
    counting, turns = CountingCache(), []
    _put(counting, "A", _review("old", 1))
    events = [_event("A", _review("old", 1, 1 + place % 5)) for place in range(9_000)]
    events += [_event(f"P-{place}", _review("r", 1)) for place in range(20)]
    _updates(counting, lambda: turns.append(len(counting.updated))).apply(UNIT, events)
    assert counting.updated == [product_name(UNIT, sku) for sku in ("A", *(f"P-{place}" for place in range(20)))]
    assert set(range(1, 22)) <= set(turns)
    assert _reviews(counting, "A") == [_review("old", 1, 5)]


def test_a_page_never_grows_without_bound() -> None:
    counting = CountingCache()
    _put(counting, "A", _review("old", 1))
    events = [_event("A", _review(f"n{place}", place)) for place in range(2, 9_002)]
    _updates(counting, lambda: None).apply(UNIT, events)
    assert [review.id for review in _reviews(counting, "A")] == [f"n{place}" for place in range(9_001, 8_901, -1)]
    cached = counting.get("A")
    assert not Page.decode(cached.value).complete
    assert cached.freshness.state is State.STALE


def test_what_happens_to_one_review_happens_in_the_order_said() -> None:
    counting = CountingCache()
    _put(counting, "A", _review("old", 1))
    gone = ReviewEvent("deleted", None, "old", Review("old"), hidden=False, whole=False)
    _updates(counting, lambda: None).apply(UNIT, [_event("A", _review("old", 1, 2)), gone])
    assert _reviews(counting, "A") == []
    _updates(counting, lambda: None).apply(
        UNIT, [_event("A", _review("new", 1, 2)), _event("A", _review("new", 1, 3))]
    )
    assert _reviews(counting, "A") == [_review("new", 1, 3)]


def _by(name: str | None, second: int, consumer: str) -> Review:
    return Review(name or "", f"2024-10-14T00:00:{second:02d}Z", 5, "x", Consumer(consumer), language="en")


def test_every_copy_of_a_persons_reviews_goes_and_a_product_whose_review_has_no_name_is_forgotten() -> None:
    counting = CountingCache()
    _put(counting, "A", _by("a1", 1, "gone"), _by("a2", 2, "stays"))
    _put(counting, "B", _by("b1", 1, "gone"), _by("b2", 2, "gone too"))
    _put(counting, "C", _by("c1", 1, "stays"))
    _put(counting, "D", _by(None, 1, "gone"), _by("d2", 2, "stays"))
    _put(counting, "E", _by(None, 1, "stays"), Review("e2", "2024-10-14T00:00:00Z", 5, "x"))
    _updates(counting, lambda: None).remove_consumers(UNIT, {"gone", "gone too"})
    assert {sku: [review.id for review in _reviews(counting, sku)] for sku in "ABCE"} == {
        "A": ["a2"],
        "B": [],
        "C": ["c1"],
        "E": ["", "e2"],
    }
    assert counting.cache.get(_key("D")) is None
    assert sorted(counting.updated) == [product_name(UNIT, sku) for sku in "ABD"]
    assert all(counting.get(sku).freshness.state is State.HIT for sku in "ABCE")


def test_a_review_goes_from_every_product_that_shows_it() -> None:
    counting = CountingCache()
    _put(counting, "A", _review("shared", 1), _review("a", 2))
    _put(counting, "B", _review("shared", 1))
    _put(counting, "C", _review("c", 1))
    _updates(counting, lambda: None).remove_reviews(UNIT, ["shared", "unknown"])
    assert [[review.id for review in _reviews(counting, sku)] for sku in "ABC"] == [["a"], [], ["c"]]
    assert sorted(counting.updated) == [product_name(UNIT, sku) for sku in "AB"]
    assert all(counting.get(sku).freshness.state is State.HIT for sku in "ABC")


@pytest.mark.parametrize("whole", [True, False])
def test_a_known_review_that_an_event_does_not_say_all_of_is_shown_changed_and_fetched(whole: bool) -> None:
    counting = CountingCache()
    _put(counting, "A", _review("old", 1))
    said = Review("old", content="Broke after a week")
    _updates(counting, lambda: None).apply(UNIT, [_event("A", said, whole=whole)])
    [review] = _reviews(counting, "A")
    assert (review.content, review.stars, review.language) == ("Broke after a week", 5, "en")
    assert counting.get("A").freshness.state is (State.HIT if whole else State.STALE)


def test_what_an_event_that_says_all_of_a_review_has_as_null_is_gone() -> None:
    counting = CountingCache()
    answered = _review("old", 1)
    answered.first_company_comment = Comment("We mended it")
    answered.attachments = [Attachment("photo")]
    _put(counting, "A", answered)
    _put(counting, "B", answered)
    said = _review("old", 1)
    said.first_company_comment, said.attachments, said.attribute_ratings = None, None, []
    _updates(counting, lambda: None).apply(UNIT, [_event("A", said), _event("B", said, whole=False)])
    [[of_a], [of_b]] = [_reviews(counting, sku) for sku in "AB"]
    assert (of_a.first_company_comment, of_a.attachments) == (None, None)
    assert (of_b.first_company_comment, of_b.attachments) == (Comment("We mended it"), [Attachment("photo")])


def test_a_first_review_that_an_event_brings_is_cached_for_as_long_as_any() -> None:
    counting = CountingCache()
    _put(counting, "A")
    _updates(counting, lambda: None).apply(UNIT, [_event("A", _review("first", 1))])
    counting.ahead = LIFETIMES.missing + 1
    assert counting.get("A").freshness.state is State.HIT
    counting.ahead = LIFETIMES.fresh + 1
    assert counting.get("A").freshness.state is State.STALE
