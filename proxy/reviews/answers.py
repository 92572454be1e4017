"""The contract's answers, as types: what is answered is made as these, and ``/openapi.json`` is written from them.

What a key means stands beside it, for the document, ``/docs`` and docs/reference.md.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta


def is_(meaning: str) -> Meta:
    """Say what a key means."""
    return Meta(description=meaning)


Count = Annotated[int, Meta(ge=0)]
HalfStars = Annotated[float, Meta(ge=0, le=5, multiple_of=0.5)]
Average = Annotated[float, Meta(ge=0, le=5)]
Address = Annotated[str, Meta(pattern="^https?://")]

Found = Annotated[bool, is_("whether there are reviews to show; false in every error too")]
Shown = Annotated[Count, is_("how many there are in this answer")]
Error = Annotated[str, is_("why there is nothing; only with on_error=empty")]
InHalves = Annotated[HalfStars | None, is_("in halves, as Trustpilot rounds")]
Icons = Annotated[str, is_("five signs: ★, ½, ☆")]
Alt = Annotated[str, is_("the rating in words, for alt")]
Picture = Annotated[Address | None, is_("Trustpilot's picture of it, 256×48")]
Total = Annotated[Count, is_("reviews in all")]
AsText = Annotated[str, is_("the same as text")]
WithOneDecimal = Annotated[str, is_("the same as text, with one decimal")]
Disclosure = Annotated[str, is_("which reviews are shown; has to be said")]


class Links(TypedDict):
    trustpilot: Annotated[Address | None, is_("the shop's page at Trustpilot")]


class Distribution(TypedDict):
    five_stars: Count
    four_stars: Count
    three_stars: Count
    two_stars: Count
    one_star: Count


class Rating(TypedDict):
    average: Annotated[Average | None, is_("1 to 5; null without reviews")]
    average_text: WithOneDecimal
    stars: InHalves
    stars_icons: Icons
    stars_alt: Alt
    stars_image: Picture
    total: Total
    total_text: AsText
    distribution: Annotated[Distribution, is_("how many there are of each rating")]


class Attribute(TypedDict):
    name: Annotated[str, is_("what is rated")]
    rating: Annotated[float, is_("1 to 5")]


class ShownReview(TypedDict):
    id: Annotated[str | None, is_("Trustpilot's own")]
    stars: Annotated[int, Meta(ge=1, le=5, description="1 to 5")]
    stars_icons: Icons
    source: Annotated[Literal["trustpilot", "imported"], is_("imported: from an earlier platform")]
    content: Annotated[str, is_("the text, escaped unless format=text")]
    truncated: Annotated[bool, is_("whether max_chars cut it")]
    author: Annotated[str, is_("the name that the reviewer shows")]
    date: Annotated[str | None, is_("the day it was written, UTC")]
    date_text: Annotated[str, is_("the same for people")]
    created_at: Annotated[str | None, is_("the moment it was written")]
    language: Annotated[str | None, is_("ISO 639-1")]
    reply: Annotated[str | None, is_("the shop's answer")]
    image: Annotated[str | None, is_("the address of a photo")]
    attributes: Annotated[list[Attribute], is_("ratings of single qualities")]


class Product(TypedDict):
    sku: Annotated[str, is_("the SKUs that were asked for, comma-separated")]
    found: Found


class Block(Product):
    count: Shown
    scope: Annotated[Literal["product", "business"], is_("business when the shop's own reviews stand in")]
    summary: Annotated[Rating | None, is_("the product's rating over all its reviews; null when it can't be had")]
    reviews: Annotated[list[ShownReview], is_("the reviews, newest first")]
    disclosure: Disclosure
    links: Annotated[Links, is_("where to read on")]
    error: NotRequired[Error]


class Blocks(TypedDict):
    found: Found
    count: Shown
    products: Annotated[list[Block], is_("a block for each SKU, in the order asked")]
    error: NotRequired[Error]


class ProductRating(Product, Rating):
    error: NotRequired[Error]


class TitledReview(ShownReview):
    title: str


class BusinessAnswer(TypedDict):
    found: Found
    name: Annotated[str, is_("of the shop")]
    trust_score: Annotated[Average | None, is_("Trustpilot's rating of the shop, 1 to 5; null without reviews")]
    trust_score_text: WithOneDecimal
    stars: InHalves
    stars_icons: Icons
    stars_alt: Alt
    stars_image: Picture
    label: Annotated[str, is_("Trustpilot's word for it, such as Excellent")]
    total: Total
    total_text: AsText
    count: Shown
    reviews: Annotated[list[TitledReview], is_("the reviews, newest first")]
    disclosure: Disclosure
    links: Annotated[Links, is_("where to read on")]
    error: NotRequired[Error]


class Counts(TypedDict):
    total: Count
    oneStar: Count
    twoStars: Count
    threeStars: Count
    fourStars: Count
    fiveStars: Count


class TrustpilotSummary(TypedDict):
    starsAverage: float
    numberOfReviews: Counts


class TrustpilotProduct(TrustpilotSummary):
    sku: str


class Score(TypedDict):
    trustScore: float
    stars: float


class Names(TypedDict):
    identifying: str


class TrustpilotBusinessUnit(TypedDict):
    id: str
    displayName: str
    name: Names
    score: Score
    numberOfReviews: Counts
