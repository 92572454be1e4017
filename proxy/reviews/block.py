"""The trimmed shape: one product block of the contract."""

from __future__ import annotations

from proxy.reviews.answers import Block, Rating, ShownReview
from proxy.reviews.brand_assets import BrandAssets
from proxy.reviews.display import Display, stars_icons, stars_in_halves
from proxy.reviews.models import Review, Source, clean, cut, escape_html
from proxy.reviews.summary import Summary
from proxy.reviews.view import View

_HIGHEST = 1e6
"""What is beyond it is no rating."""


def product_block(
    sku: str,
    summary: Summary | None,
    reviews: list[tuple[Review, Source]],
    view: View,
    assets: BrandAssets,
    business_unit: str,
) -> Block:
    """Return the answer of ``/v1/reviews``; ``summary`` is ``None`` when it could not be had."""
    return {
        "sku": sku,
        "found": bool(reviews),
        "count": len(reviews),
        "scope": "product",
        "summary": trimmed_summary(summary, view.display, assets) if summary else None,
        "reviews": [trimmed_review(review, source, view) for review, source in reviews],
        "disclosure": view.display.disclosure(view.stars, view.sort) if reviews else "",
        "links": {"trustpilot": assets.shop_page(business_unit)},
    }


def failed_block(sku: str, error: str, assets: BrandAssets, business_unit: str) -> Block:
    """Return the block of a product that could not be had."""
    return {**product_block(sku, None, [], View(), assets, business_unit), "error": error}


def trimmed_summary(summary: Summary, display: Display, assets: BrandAssets) -> Rating:
    """Return the contract's summary object."""
    average = summary.average
    one, two, three, four, five = summary.stars
    stars = None if average is None else stars_in_halves(average)
    return {
        "average": average,
        "average_text": display.average(average),
        "stars": stars,
        "stars_icons": "" if stars is None else stars_icons(stars),
        "stars_alt": display.stars_alt(stars),
        "stars_image": None if stars is None else assets.stars_image(stars),
        "total": summary.total,
        "total_text": display.number(summary.total),
        "distribution": {
            "five_stars": five,
            "four_stars": four,
            "three_stars": three,
            "two_stars": two,
            "one_star": one,
        },
    }


def trimmed_review(review: Review, source: Source, view: View) -> ShownReview:
    """Return one of the contract's reviews."""

    def ready(text: object) -> str:
        cleaned = clean(text)
        return escape_html(cleaned) if view.html else cleaned

    moment = review.moment
    day = moment.date() if moment else None
    content, truncated = cut(clean(review.content), view.max_chars)
    return {
        "id": ready(review.id) or None,
        "stars": int(review.stars),
        "stars_icons": stars_icons(review.stars),
        "source": source,
        "content": escape_html(content) if view.html else content,
        "truncated": truncated,
        "author": ready(review.consumer.display_name) if review.consumer else "",
        "date": day.isoformat() if day else None,
        "date_text": view.display.date(day),
        "created_at": moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z" if moment else None,
        "language": ready(review.language) or None,
        "reply": ready(review.first_company_comment.comment) or None if review.first_company_comment else None,
        "image": ready(review.image) or None,
        "attributes": [
            {"name": ready(rating.attribute_name), "rating": rating.rating}
            for rating in review.attribute_ratings or ()
            if clean(rating.attribute_name) and isinstance(rating.rating, float) and abs(rating.rating) < _HIGHEST
        ],
    }
