"""Any webhook: events that name a product and a review, or an error; and no event spoils a held page."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.cache import Cache, Fetched, Key, Lifetimes
from proxy.clock import Deadline, Priority
from proxy.reviews import Updates
from proxy.reviews.models import Page, read_review
from proxy.reviews.page_loader import is_newest_page, product_name
from proxy.trustpilot import Malformed
from proxy.trustpilot.changes import read_events
from proxy.trustpilot.client import read_reviews
from tests.fuzz.effort import fuzzed
from tests.fuzz.outside import ANY_JSON, REVIEWS, TEXT, damaged, mostly, written
from tests.reviews.trustpilot import in_memory

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
NEWEST = Key(product_name(UNIT, "A"), "page2/*/*.*/1/")


@fuzzed
@given(BODIES)
@example(
    written({"events": [{"eventName": "product-review-deleted", "eventData": {"id": "r", "product": {"sku": " "}}}]})
)
def test_any_webhook_gives_events_of_a_named_review_or_product_or_is_refused(body: bytes) -> None:
    try:
        events, ignored = read_events(body)
    except Malformed:
        return
    assert ignored >= 0
    for event in events:
        assert event.kind in ("created", "updated", "deleted")
        assert event.sku or (event.sku is None and event.kind != "created")
        assert event.sku is None or event.sku == event.sku.strip()
        assert event.review_id or event.sku or event.product_url
        assert (event.review.id or "") == event.review_id
        assert not event.whole or event.review.language


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
    try:
        page = read_reviews(written({"productReviews": held, "links": []}))
        events, _ = read_events(written(webhook))
    except Malformed:
        return
    items = sorted(page.items, key=lambda item: -item[0].written)
    stored = Page.of_items(items, complete=complete, dropped=0).encode()
    cache = in_memory(Lifetimes(900, 86_400, 300), time.time, lambda job: job())

    def fetch(*, priority: Priority) -> Fetched:
        return Fetched(stored, found=True)

    cache.get_or_fetch(NEWEST, fetch).wait(Deadline.after(1))
    updates = Updates(cache)
    for event in events:
        before = _cached(cache)
        updates.apply(UNIT, [event])
        page = _cached(cache)
        assert page.newest_first
        assert Page.of(map(read_review, page.raw), complete=page.complete).index == page.index
        others = [item for item in page.items if item[0].id != event.review_id]
        assert others == [item for item in before.items if item[0].id != event.review_id]
        if event.sku not in ("A", None):
            assert page == before
        elif event.kind == "deleted" or event.hidden:
            assert others == list(page.items)


def test_what_the_events_change_is_the_newest_page() -> None:
    assert is_newest_page(NEWEST.part)


def _cached(cache: Cache) -> Page:
    entry = cache.get(NEWEST)
    assert entry is not None
    return Page.decode(entry.value)
