"""Any webhook: events that name a product and a review, or an error; and no event spoils a held page."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.cache import Cache, Flights, Key, Lifetimes, MemoryStore
from proxy.reviews import Updates
from proxy.reviews.page import Page, written_at
from proxy.reviews.shelf import is_newest_page, product_name
from proxy.trustpilot.errors import Malformed
from proxy.trustpilot.events import read_events
from proxy.trustpilot.reader import KEPT, is_sound, read_reviews
from tests.fuzz.effort import fuzzed
from tests.fuzz.outside import ANY_JSON, REVIEWS, TEXT, damaged, mostly, written

NAMES = st.sampled_from(["product-review-created", "product-review-updated", "product-review-deleted"])
REVIEW_DATA = st.builds(
    lambda review, more: {**review, **more},
    REVIEWS,
    st.fixed_dictionaries(
        {"product": mostly(st.fixed_dictionaries({"sku": mostly(st.sampled_from(["A", " A ", " ", "\ud800"]))}))},
        optional={"state": mostly(st.sampled_from(["published", "Published", "underReview"])), "id": TEXT},
    ),
)
EVENTS = st.fixed_dictionaries(
    {
        "events": mostly(
            st.lists(
                st.fixed_dictionaries({"eventName": mostly(NAMES), "eventData": mostly(REVIEW_DATA)}), max_size=4
            )
        )
    }
)
BODIES = st.one_of(EVENTS.map(written), damaged(EVENTS.map(written)), ANY_JSON.map(written), st.binary(max_size=40))
UNIT = "unit-1"
NEWEST = Key(product_name(UNIT, "A"), "page/*/*.*/1/")


@fuzzed
@given(BODIES)
@example(
    written({"events": [{"eventName": "product-review-deleted", "eventData": {"id": "r", "product": {"sku": " "}}}]})
)
def test_any_webhook_gives_events_of_a_named_review_or_is_refused(body: bytes) -> None:
    try:
        events, ignored = read_events(body)
    except Malformed:
        return
    assert ignored >= 0
    for event in events:
        assert event.kind in ("created", "updated", "deleted")
        assert event.sku or (event.sku is None and event.kind != "created")
        assert event.sku is None or event.sku == event.sku.strip()
        assert event.review_id
        assert event.review["id"] == event.review_id
        assert set(event.review) <= set(KEPT)
        assert None not in event.review.values()


@fuzzed
@given(EVENTS)
def test_each_event_is_read_or_counted_as_ignored(webhook: dict[str, Any]) -> None:
    try:
        events, ignored = read_events(written(webhook))
    except Malformed:
        assert not isinstance(webhook["events"], list)
        return
    assert len(events) + ignored == len(webhook["events"])


@fuzzed
@given(st.lists(REVIEWS, max_size=4), EVENTS, st.booleans())
def test_no_event_spoils_a_held_page(held: list[dict[str, Any]], webhook: dict[str, Any], complete: bool) -> None:
    body = written({"productReviews": [review for review in held if is_sound(review)], "links": []})
    reviews = sorted(read_reviews(body, 100).reviews, key=written_at, reverse=True)
    store = MemoryStore(10**6, time.time)
    lifetimes = Lifetimes(900, 86_400, 300)
    store.put(NEWEST, lifetimes.entry(Page(reviews, complete).encode(), found=True, now=time.time()))
    updates = Updates(Cache(store, Flights(lambda job: job()), lifetimes, time.time))
    try:
        events, _ = read_events(written(webhook))
    except Malformed:
        return
    for event in events:
        before = Page.decode(_held(store))
        updates.apply(UNIT, [event])
        page = Page.decode(_held(store))
        assert all(map(is_sound, page.reviews))
        assert [written_at(review) for review in page.reviews] == sorted(map(written_at, page.reviews), reverse=True)
        others = [review for review in page.reviews if review.get("id") != event.review_id]
        assert others == [review for review in before.reviews if review.get("id") != event.review_id]
        if event.sku not in ("A", None):
            assert page == before
        elif event.kind == "deleted" or event.hidden:
            assert others == page.reviews


def test_what_the_events_change_is_the_newest_page() -> None:
    assert is_newest_page(NEWEST.part)


def _held(store: MemoryStore) -> bytes:
    entry = store.get(NEWEST)
    assert entry is not None
    return entry.value
