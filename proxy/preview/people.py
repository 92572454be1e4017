"""Five people at once: who may come out badly, from answers made here, so that no call leaves the preview."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from msgspec import structs, to_builtins

from proxy.preview.braze import Profile, RefusedError, Request, Response
from proxy.reviews import models
from proxy.reviews.answers import Block, BusinessAnswer, Rating
from proxy.reviews.business import Business
from proxy.reviews.fragment import Style, html_fragment, text_fragment
from proxy.reviews.models import Attachment, Comment, Consumer, File, Review, ServiceReview, Shop, Source
from proxy.reviews.view import ALL_STARS, NOTHING, Display, Summary, View, display_in, product_block, trimmed_summary

_ATTRIBUTE = re.compile(r"(?<![\w.])\$\{\s*([^{}]+?)\s*\}")
_NAMESPACED = re.compile(
    r"\b(custom_attribute|event_properties|api_trigger_properties|canvas_entry_properties|context)\.\$\{\s*([^{}]+?)\s*\}"
)
_FIELDS = {
    "custom_attribute": "custom_attributes",
    "context": "canvas_entry_properties",
}
_SAMPLES = {
    "first_name": "Ann",
    "last_name": "Larsson",
    "email_address": "ann@example.com",
    "city": "Malmö",
    "country": "SE",
    "language": "en",
}
_PHOTO = Attachment(processed_files=[File(mime_type="image/jpeg", url="https://shop.example.com/photo.jpg")])
_WHOLE = [
    Review(
        id=f"{number:024x}",
        created_at=f"2026-10-{14 - number}T17:42:40Z",
        stars=stars,
        content=text,
        consumer=Consumer(id="1", display_name=author),
        language="en",
        attribute_ratings=[models.Rating(attribute_name="Value for money", rating=4.0)],
        attachments=[_PHOTO],
        first_company_comment=Comment(comment="Thank you, we’re glad you like it!"),
    )
    for number, (text, author, stars) in enumerate(
        (
            ("Arrived in two days & fits perfectly, it’s just what we were looking for.", "Kevin Bob", 5),
            ("Good value. The lid is a little stiff at first, but it gets better with use.", "Maja L.", 4),
            ("Does what it says. I’d have liked a longer cable, that is all.", "Tom & Ida", 4),
            ("It broke after a week, and the shop sent me a new one at once.", "Chris", 2),
        )
    )
]
_WITH_GAPS = [
    Review(
        id=review.id,
        created_at=None,
        stars=review.stars,
        content=None if number == 1 else review.content,
        consumer=None,
        language=None,
        attribute_ratings=[],
        attachments=[],
        first_company_comment=None,
    )
    for number, review in enumerate(_WHOLE)
]

_COUNTED = Summary(4.3, 153, (13, 4, 9, 31, 96))


@dataclass(frozen=True)
class Recipient:
    """One of the five: what is set for them, and how the proxy answers."""

    name: str
    label: str
    about: str
    is_known: bool = True
    answer: str = "full"


RECIPIENTS = (
    Recipient("full", "All is there", "Every value is set, and there are reviews with replies."),
    Recipient("nothing", "Nothing is set", "No attribute and no property is known.", is_known=False),
    Recipient("no-reviews", "No reviews yet", "The product has not been reviewed.", answer="empty"),
    Recipient(
        "nulls",
        "Gaps in reviews",
        "No reply, picture, date or author; with min_chars=0 one review has stars alone.",
        answer="nulls",
    ),
    Recipient("down", "Trustpilot is down", "The proxy has no copy and can’t fetch one.", answer="down"),
)


def profile_of(recipient: Recipient, given: Profile, templates: Sequence[str]) -> Profile:
    """Return the profile of one of the five: ``given`` with what ``templates`` read filled in, or nothing at all."""
    if not recipient.is_known:
        return Profile()
    groups: dict[str, dict[str, object]] = {}
    for template in templates:
        for name in _ATTRIBUTE.findall(template):
            groups.setdefault("attributes", {})[name] = _sample(name)
        for space, name in _NAMESPACED.findall(template):
            groups.setdefault(_FIELDS.get(space, space), {})[name] = _sample(name)
    filled = {
        field: {**values, **{name: value for name, value in getattr(given, field).items() if value not in ("", None)}}
        for field, values in groups.items()
    }
    return replace(given, **filled)


def _sample(name: str) -> object:
    if name in _SAMPLES:
        return _SAMPLES[name]
    plain = name.lower()
    if re.search(r"skus|items|products|cart$", plain):
        return ["TRUCK-01", "BLENDER-450"]
    if "sku" in plain or plain.endswith("id"):
        return "TRUCK-01"
    if re.search(r"link|url|image|picture|photo", plain):
        return "https://shop.example.com/1"
    return 3 if re.search(r"count|price|total|amount|number|quantity", plain) else name.replace("_", " ")


@dataclass(frozen=True)
class CannedTransport:
    """Answers a template's calls as the proxy would for one of the five; asks nobody."""

    answer: str

    def send(self, request: Request) -> Response:
        """Answer ``request``; see `proxy.preview.braze.Transport`."""
        parts = urlsplit(request.url)
        query = {name: ",".join(values) for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if request.method != "GET" or not parts.path.startswith("/v1/"):
            raise RefusedError("not sent from a preview")
        if parts.path == "/v1/business":
            return self._answered(query, self._business(query))
        if "/product-reviews/business-units/" in parts.path:
            return self._as_trustpilot(parts.path, query)
        skus = [sku for sku in query.get("skus", query.get("sku", "")).split(",") if sku.strip()]
        if not skus:
            name = "skus" if parts.path == "/v1/products" else "sku"
            return _problem(
                400,
                f"{name} is '': an empty SKU: the Liquid variable rendered to nothing; takes a SKU such as TRUCK-01",
            )
        if parts.path == "/v1/fragment":
            return self._fragment(skus[0], query)
        if parts.path == "/v1/summary":
            summary = self._summary(_display(query))
            return self._answered(query, {"sku": ",".join(skus), "found": bool(summary["total"]), **summary})
        if parts.path == "/v1/products":
            blocks = [self._block(sku, query) for sku in skus[:20]]
            found = any(block["found"] for block in blocks)
            return self._answered(query, {"found": found, "count": len(blocks), "products": blocks})
        if parts.path == "/v1/reviews":
            return self._answered(query, self._block(",".join(skus), query))
        return _problem(404, "there is nothing at this address")

    def _answered(self, query: Mapping[str, str], body: Mapping[str, Any]) -> Response:
        if self.answer == "down":
            if query.get("on_error") != "empty":
                return _problem(503, "Trustpilot is failing")
            body = {**_emptied(body), "found": False, "count": 0, "error": "Trustpilot is failing"}
        return _json(200, body)

    def _fragment(self, sku: str, query: Mapping[str, str]) -> Response:
        block = self._block(sku, {**query, "format": "text"})
        display = _display(query)
        style: Style = "line" if query.get("style") == "line" else "card"
        if self.answer in ("down", "empty"):
            return Response(200, {"Content-Type": "text/html; charset=utf-8"}, b"")
        if query.get("channel") == "text":
            longest = query.get("max_chars", "")
            text = text_fragment(block, display, style, max_chars=int(longest) if longest.isdecimal() else 110)
            return Response(200, {"Content-Type": "text/plain; charset=utf-8"}, text.encode())
        shown = html_fragment(block, display, style, photos=query.get("with_image") == "true")
        return Response(200, {"Content-Type": "text/html; charset=utf-8"}, shown.encode())

    def stars_image(self, stars: float) -> str | None:
        """Return none: a picture would be fetched by whoever looks at the preview."""
        return None

    def shop_page(self, business_unit: str) -> str | None:
        """Return the page of the shop, where it is known."""
        return "https://www.trustpilot.com/review/shop.example" if self.answer == "full" else None

    @property
    def _counted(self) -> Summary:
        return NOTHING if self.answer in ("empty", "down") else _COUNTED

    def _summary(self, display: Display) -> Rating:
        return trimmed_summary(self._counted, display, self)

    def _block(self, sku: str, query: Mapping[str, str]) -> Block:
        view = _view(query)
        shown: list[tuple[Review, Source]] = [(review, "trustpilot") for review in self._reviews(view)]
        summary = None if self.answer == "nulls" else self._counted
        return product_block(sku, summary, shown, view, self, "")

    def _reviews(self, view: View) -> list[Review]:
        if self.answer in ("empty", "down"):
            return []
        reviews = _WITH_GAPS if self.answer == "nulls" else _WHOLE
        shown = [one for one in reviews if one.stars in view.stars and len(one.content or "") >= view.min_chars]
        return shown[: max(view.limit, 1)]

    def _business(self, query: Mapping[str, str]) -> BusinessAnswer:
        view, counted = _view(query), self._counted
        shop = Shop("Shop", "", counted.average, None, [counted.total, *counted.stars])
        reviews = [ServiceReview(**structs.asdict(review)) for review in self._reviews(view)]
        return Business("", shop, reviews, [], whole=True).answer(view, self)

    def _as_trustpilot(self, path: str, query: Mapping[str, str]) -> Response:
        if self.answer == "down":
            return _problem(503, "Trustpilot is failing")
        if not path.endswith("/reviews"):
            return _json(200, self._counted.in_trustpilots_shape())
        reviews = self._reviews(_view({**query, "limit": query.get("perPage", "20")}))
        return _json(200, {"productReviews": to_builtins(reviews), "links": []})


def _display(query: Mapping[str, str]) -> Display:
    return display_in(query.get("display_locale", "en"))


def _view(query: Mapping[str, str]) -> View:
    """Return what ``query`` asks for, where it asks for it rightly."""
    stars = {int(star) for star in query.get("stars", "").split(",") if star.strip() in {*"12345"}}
    limit, shortest, longest = (query.get(name, "") for name in ("limit", "min_chars", "max_chars"))
    return View(
        stars=frozenset(stars) or ALL_STARS,
        limit=int(limit) if limit.isdecimal() else 3,
        sort="highest" if query.get("sort") == "highest" else "newest",
        min_chars=int(shortest) if shortest.isdecimal() else 1,
        max_chars=int(longest) if longest.isdecimal() else None,
        html=query.get("format") != "text",
        display=_display(query),
    )


def _emptied(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **body,
        **(
            {"products": [{**block, "error": "Trustpilot is failing"} for block in body["products"]]}
            if "products" in body
            else {}
        ),
    }


def _json(status: int, body: Mapping[str, Any], kind: str = "application/json") -> Response:
    return Response(status, {"Content-Type": kind}, json.dumps(body).encode())


def _problem(status: int, detail: str) -> Response:
    return _json(
        status, {"title": "", "status": status, "detail": detail, "found": False}, "application/problem+json"
    )
