"""Held pages follow what happens to reviews: purged by hand, or brought up to date by Trustpilot's webhooks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from proxy.cache import Cache, Held, Revised
from proxy.reviews.page import Page, written_at
from proxy.reviews.shelf import is_newest_page, is_summary, product_name
from proxy.trustpilot import RawReview
from proxy.trustpilot.events import ReviewEvent, tells_enough
from proxy.trustpilot.reader import PER_PAGE


class Updates:
    """Changes what is held. Every method raises :class:`~proxy.cache.StoreDown` when others could not be told."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def purge(self, business_unit: str, skus: Iterable[str]) -> None:
        """Forget all that is held of ``skus``."""
        for sku in skus:
            self._cache.forget(product_name(business_unit, sku))

    def apply(self, business_unit: str, event: ReviewEvent) -> None:
        """Bring the held pages of the event's product up to date, without a call.

        What the event does not tell enough about is marked, so that the next read has it fetched. Pages further down
        and under filters are dropped: where a review enters or leaves them can't be seen from one page alone.
        """

        def change(part: str, held: Held) -> Revised | None:
            if is_summary(part):
                return Revised(held.value, refresh=True)
            if not is_newest_page(part):
                return None
            page = Page.decode(held.value)
            revised = _without(page, event.review_id) if _goes(event) else _with(page, event)
            if revised is None:
                return Revised(held.value, refresh=True)
            # One review fewer on a page that is not all: the next page begins one later than Trustpilot's.
            gap = not revised.complete and len(revised.reviews) < len(page.reviews)
            return Revised(revised.encode(), refresh=gap)

        self._cache.revise(product_name(business_unit, event.sku), change)


def _goes(event: ReviewEvent) -> bool:
    return event.kind == "deleted" or event.hidden


def _without(page: Page, review_id: str) -> Page:
    return replace(page, reviews=[review for review in page.reviews if review.get("id") != review_id])


def _with(page: Page, event: ReviewEvent) -> Page | None:
    """Return ``page`` with the event's review in its place, ``None`` when that can't be told."""
    known = next((review for review in page.reviews if review.get("id") == event.review_id), {})
    review: RawReview = {**known, **event.review}
    if not tells_enough(review):
        return None
    reviews = _without(page, event.review_id).reviews
    moment = written_at(review)
    place = next((place for place, other in enumerate(reviews) if written_at(other) <= moment), len(reviews))
    if place == len(reviews) and not page.complete:
        return None
    reviews.insert(place, review)
    # As Trustpilot would answer: what is pushed off the page begins the next one.
    return replace(page, reviews=reviews if page.complete else reviews[:PER_PAGE])
