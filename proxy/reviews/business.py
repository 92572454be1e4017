"""The shop itself: its rating and the reviews of it, by themselves or in the place of a product's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxy.cache import Freshness, Lookup
from proxy.clock import Deadline
from proxy.reviews.answers import Block, BusinessAnswer, Links, TitledReview, TrustpilotBusinessUnit
from proxy.reviews.models import SHOP, ServiceReview, Shop, read_service_review, ready
from proxy.reviews.page_loader import PageLoader, read_shop
from proxy.reviews.search import MISSING, Cursor, Missing, newest
from proxy.reviews.view import (
    BrandAssets,
    Summary,
    View,
    product_block,
    stars_icons,
    stars_in_halves,
    trimmed_review,
    trustpilots_counts,
)


@dataclass(frozen=True)
class Business:
    """A shop, the reviews of it that a view chose, and how fresh both are. ``whole``: nothing is missing."""

    unit: str
    view: View
    shop: Shop
    reviews: Sequence[ServiceReview]
    freshness: list[Freshness]
    whole: bool

    def answer(self, assets: BrandAssets) -> BusinessAnswer:
        shop, view = self.shop, self.view
        stars = shop.stars or (stars_in_halves(shop.trust_score) if shop.trust_score else None)
        return {
            "found": shop.numbers[0] > 0 or bool(self.reviews),
            "name": ready(shop.name, html=view.html),
            "trust_score": shop.trust_score,
            "trust_score_text": view.display.average(shop.trust_score),
            "stars": stars,
            "stars_icons": stars_icons(stars) if stars else "",
            "stars_alt": view.display.stars_alt(stars),
            "stars_image": assets.stars_image(stars) if stars else None,
            "label": view.display.label(stars),
            "total": shop.numbers[0],
            "total_text": view.display.number(shop.numbers[0]),
            "count": len(self.reviews),
            "reviews": [_titled(review, view) for review in self.reviews],
            "disclosure": view.display.disclosure(view.stars, view.sort) if self.reviews else "",
            "links": self._links(assets),
        }

    def block(self, sku: str, assets: BrandAssets) -> Block:
        """Return a block in which the shop stands in for ``sku``."""
        total, *stars = self.shop.numbers
        summary = Summary.of_counts(self.shop.trust_score, total, tuple(stars))
        shown = [(review, "trustpilot") for review in self.reviews]
        block = product_block(sku, summary, shown, self.view, assets, self.unit)  # type: ignore[arg-type]  # a literal
        return {**block, "scope": "business", "links": self._links(assets)}

    def in_trustpilots_shape(self) -> TrustpilotBusinessUnit:
        shop = self.shop
        return {
            "id": self.unit,
            "displayName": shop.name,
            "name": {"identifying": shop.domain},
            "score": {"trustScore": shop.trust_score or 0, "stars": shop.stars or 0},
            "numberOfReviews": trustpilots_counts(*shop.numbers),
        }

    def _links(self, assets: BrandAssets) -> Links:
        page = f"https://www.trustpilot.com/review/{self.shop.domain}" if self.shop.domain else None
        return {"trustpilot": assets.shop_page(self.unit) or page}


class PendingBusiness:
    """A shop that is looked up and not yet waited for."""

    def __init__(self, pages: PageLoader, unit: str, view: View) -> None:
        self._pages = pages
        self._unit = unit
        self._view = view
        self._shop: Lookup = pages.shop()
        self._reviews = Cursor(pages, SHOP)
        if view.limit:
            self._reviews.prefetch()

    def wait(self, deadline: Deadline) -> Business:
        """Return the shop; its reviews are left out where they can't be had. Raises :data:`Missing`."""
        cached = self._shop.wait(deadline)
        freshness = [cached.freshness]
        reviews: list[ServiceReview] = []
        missing: Missing | None = None
        if self._view.limit:
            try:
                self._reviews.await_page(deadline)
                found = newest(self._pages, [self._reviews], self._view, self._view.limit, deadline)
                reviews = [read_service_review(shown.raw) for shown in found.reviews[: self._view.limit]]
                freshness += found.freshness
                missing = found.missing
            except MISSING as error:
                missing = error
        return Business(self._unit, self._view, read_shop(cached), reviews, freshness, whole=missing is None)


def _titled(review: ServiceReview, view: View) -> TitledReview:
    return {**trimmed_review(review, "trustpilot", view), "title": ready(review.title, html=view.html)}


def service_review_in_trustpilots_shape(raw: bytes) -> dict[str, Any]:
    """Return a review of the shop under Trustpilot's own names."""
    review = read_service_review(raw)
    reply = review.first_company_comment
    return {
        "id": review.id or None,
        "stars": review.stars,
        "title": review.title or "",
        "text": review.content or "",
        "language": review.language or None,
        "createdAt": review.created_at or None,
        "consumer": {"displayName": (review.consumer.display_name or None) if review.consumer else None},
        "companyReply": {"text": reply.comment or None, "createdAt": reply.created_at or None} if reply else None,
        "isVerified": review.is_verified is True,
    }
