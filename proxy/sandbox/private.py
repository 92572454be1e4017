"""The calls that Trustpilot documents for an access token, under ``/v1``: whole shops, invitations and links.

Sources: Trustpilot's "Product Reviews API (private)", "Products API" and "Invitation API" pages. What is read here
holds the data of persons, as it does there.
"""

import secrets
import time
from collections.abc import Sequence

from flask import Response, request
from werkzeug.exceptions import BadRequest, Unauthorized

from proxy.sandbox.business_unit import BusinessUnit
from proxy.sandbox.endpoints import Call, asked_object, asked_once, asked_place
from proxy.sandbox.faults import Kind, json_answer
from proxy.sandbox.shop import named_for
from proxy.sandbox.state import State

_STATES = ("published", "unpublished", "underModeration", "archived")


def with_token(state: State) -> None:
    """Refuse a call that does not show an access token."""
    shown = request.authorization
    if shown is None or shown.type != "bearer" or not state.tokens.holds(shown.token or ""):
        raise Unauthorized("Invalid access token")


def _feed(state: State, unit: BusinessUnit) -> Response:
    """Return ``{"productReviews", "links"}``: one page of the reviews of the whole shop, or of one SKU."""
    page, per_page = asked_place()
    language, sku, lists = asked_once("language"), asked_once("sku"), state.lists
    if (wanted := request.args.get("state", "published")) not in _STATES:
        raise BadRequest(f"state takes one of {', '.join(_STATES)}")
    if page > 1:
        unit.arrive(lists.arrivals, state.now)
    start = (page - 1) * per_page + (per_page if page >= lists.lost_page else 0)
    # The sandbox knows of published reviews only.
    found = unit.products.all_reviews(language, sku, lists.feed_order, start, start + per_page)
    shown = [_private(unit, sku, review) for sku, review in (found if wanted == "published" else [])]
    if locale := request.args.get("locale"):
        shown = [named_for(locale, review) for review in shown]
    return json_answer({"productReviews": shown, "links": []})


def _private(unit: BusinessUnit, sku: str, review: object) -> object:
    """Return a review as its shop sees it: with its product, the consumer's address and the number of the order."""
    if not isinstance(review, dict):
        return review
    consumer = review.get("consumer")
    if isinstance(consumer, dict):
        consumer = consumer | {"email": f"{consumer.get('id')}@customers.example"}
    more = {"consumer": consumer, "referenceId": f"order-{review.get('id')}", "state": "published"}
    return review | more | {"product": unit.product(sku)}


def _shop_summaries(_: State, unit: BusinessUnit) -> Response:
    """Return ``{"summaries": [{"sku", "starsAverage", "numberOfReviews"}]}``: a page of all products."""
    skus = _page(list(unit.products), 20, 1000)
    return json_answer({"summaries": [{"sku": sku} | unit.products.summary_of(sku) for sku in skus]})


def _products(_: State, unit: BusinessUnit) -> Response:
    """Return ``{"products": [{"id", "sku", "title", "link", "imageLink"}], "isLastPage"}``: a catalogue's page."""
    named = asked_once("skus")
    skus = [sku for sku in named.split(",") if sku in unit.products] if named else list(unit.products)
    page = _page(skus, 10_000, 10_000)
    listed = [
        {"id": product["id"], "sku": sku, "title": product["name"], "link": product["productUrl"]}
        | {"imageLink": f"{product['productUrl']}.jpg"}
        for sku in page
        for product in [unit.product(sku)]
    ]
    return json_answer({"products": listed, "isLastPage": not page or page[-1] == skus[-1]})


def _page(skus: Sequence[str], usual: int, most: int) -> Sequence[str]:
    page, per_page = asked_place(usual, most)
    return skus[(page - 1) * per_page : page * per_page]


def _invitation(state: State, unit: BusinessUnit) -> Response:
    """Store what arrived; Trustpilot answers 202 with nothing in it."""
    # "Should be provided when access token is obtained using client_credentials grant type."
    if not (user := request.headers.get("x-business-user-id")):
        raise BadRequest("x-business-user-id is missing")
    state.invitations.append(_stored(asked_object()) | {"business_user_id": user})
    return Response(status=202)


def _service_link(state: State, unit: BusinessUnit) -> Response:
    """Return ``{"id", "url"}``: a link to review the shop."""
    body = asked_object()
    _require(body, "email", "name")
    link = secrets.token_hex(8)
    state.links.append(_stored(body))
    return json_answer({"id": link, "url": f"https://www.trustpilot.example/evaluate/{unit.domain}?ref={link}"})


def _product_link(state: State, unit: BusinessUnit) -> Response:
    """Return ``{"reviewLinkId", "reviewUrl"}``: a link to review products."""
    body = asked_object()
    consumer = body.get("consumer")
    _require(consumer if isinstance(consumer, dict) else {}, "email", "name")
    if ("productIds" in body) == ("products" in body):
        raise BadRequest("an invitation link takes either productIds or products")
    link = secrets.token_hex(8)
    state.links.append(_stored(body))
    return json_answer(
        {"reviewLinkId": link, "reviewUrl": f"https://products.trustpilot.example/{unit.domain}/evaluate/{link}"}
    )


def _stored(body: dict[str, object]) -> dict[str, object]:
    arguments = request.view_args or {}
    return {"at": time.time(), "business_unit": arguments["unit"], "body": body}


def _require(members: dict[str, object], *names: str) -> None:
    for name in names:
        if not isinstance(members.get(name), str) or not members[name]:
            raise BadRequest(f"{name} takes text")


_FEED = "/private/product-reviews/business-units/<unit>"
_SHOP = "/private/business-units/<unit>"
WITH_A_TOKEN = (
    Call(Kind.FEED, f"{_FEED}/reviews", _feed, with_token),
    Call(Kind.SHOP_SUMMARIES, f"{_FEED}/summaries", _shop_summaries, with_token),
    Call(Kind.PRODUCT_LINKS, f"{_FEED}/invitation-links", _product_link, with_token, "POST"),
    Call(Kind.PRODUCTS, f"{_SHOP}/products", _products, with_token),
    Call(Kind.SERVICE_LINKS, f"{_SHOP}/invitation-links", _service_link, with_token, "POST"),
    Call(Kind.INVITATIONS, f"{_SHOP}/email-invitations", _invitation, with_token, "POST"),
)
