"""The calls that Trustpilot documents, under ``/v1``, and how any call is answered.

With an API key: reviews, summaries, deletions, tokens. With an access token: whole shops, which holds the data of
persons as it does there, invitations and links. Sources: Trustpilot's "Product Reviews API", "Product Reviews API
(private)", "Products API", "Invitation API", "Business Units API", "Resources API", "Data Solutions" and
"Authentication" pages. Where they leave something open, the sandbox is strict (400), so that nobody comes to rely on
what Trustpilot never promised.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import urlencode

from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, HTTPException, NotFound, Unauthorized

from proxy.sandbox import API_KEY, API_SECRET
from proxy.sandbox.shops import STAR_WORDS, BusinessUnit, Products, matching, named_for, newest_first, ordered
from proxy.sandbox.state import State, Wire, answer_by, json_answer, next_behaviour, refusal

T = TypeVar("T")

_NO_HURRY = "u=7"
"""What a caller says of a call that nobody waits for (RFC 9218)."""

_MOST_PER_PAGE = 100
_USUAL_PER_PAGE = 20
_MOST_DELETIONS = 1000


def _with_key(_: State) -> None:
    if not _same(request.headers.get("apikey", ""), API_KEY):
        raise Unauthorized("Invalid API key")


def _with_secret(_: State) -> None:
    shown = request.authorization
    if shown is None or shown.type != "basic":
        raise Unauthorized("Invalid client credentials")
    if not (_same(shown.username or "", API_KEY) and _same(shown.password or "", API_SECRET)):
        raise Unauthorized("Invalid client credentials")


@dataclass(frozen=True)
class Call:
    """One documented call. ``process`` gets what its path names; ``authorize`` raises for who may not call."""

    kind: str
    rule: str
    process: Callable[..., Response]
    authorize: Callable[[State], None] = _with_key
    method: str = "GET"


def documented_calls(state: State) -> Blueprint:
    """Return the calls as a blueprint, with everything that can happen to them."""
    made = Blueprint("documented", __name__, url_prefix="/v1")
    for call in CALLS:
        made.add_url_rule(call.rule, call.kind, _view(state, call), methods=[call.method])
    return made


def _view(state: State, call: Call) -> Callable[..., Response]:
    def process(unit: str | None = None, **path: str) -> Response:
        try:
            call.authorize(state)
            if unit is None:
                return call.process(state, **path)
            if unit not in state.units:
                raise NotFound("Business unit not found")
            return call.process(state, state.units[unit], **path)
        except HTTPException as error:
            return refusal(error)

    def view(**path: str) -> Response:
        # Whatever happens next, it happens to a request that has been read to its end.
        request.get_data()
        wire = Wire(request.environ["sandbox.connection"], state.waiting)
        unit, skus = path.get("unit"), _named_skus()
        record = state.asides if request.headers.get("Priority") == _NO_HURRY else state.record
        record.begin(call.kind, unit, skus, request.args.to_dict(flat=False))
        with ExitStack() as on_failure:
            on_failure.callback(record.end, call.kind)
            response = _limited(state) or answer_by(
                next_behaviour(state.behaviours, call.kind, unit, skus), lambda: process(**path), wire
            )
            response.call_on_close(on_failure.pop_all().close)
        return response

    return view


def _limited(state: State) -> Response | None:
    wait = state.limit.refuse(time.monotonic()) if state.limit else None
    return None if wait is None else json_answer({"message": "Too Many Requests"}, 429, {"Retry-After": str(wait)})


def _named_skus() -> Collection[str]:
    if request.method == "GET":
        return [sku for given in request.args.getlist("sku") for sku in given.split(",")]
    body = request.get_json(silent=True)
    skus = body.get("skus") if isinstance(body, dict) else None
    return [sku for sku in skus if isinstance(sku, str)] if isinstance(skus, list) else []


def _page_of_reviews(state: State, unit: BusinessUnit, products: Products) -> Response:
    """Return ``{"productReviews", "links"}``: one page of the reviews of SKUs, merged into one list."""
    found = matching(products.reviews_of(*_asked_skus(unit)), _asked_stars(), _asked_once("language"))
    shown, links = _asked_page(ordered(found, state.lists.reviews_order))
    return json_answer({"productReviews": _named(shown), "links": links})


def _named(reviews: Sequence[object]) -> Sequence[object]:
    locale = request.args.get("locale")
    return [named_for(locale, review) for review in reviews] if locale else reviews


def _summary(unit: BusinessUnit, products: Products) -> Response:
    return json_answer(products.summary_of(*_asked_skus(unit)))


def _batch_summaries(state: State, unit: BusinessUnit) -> Response:
    """Return ``{"summaries": [{"sku", "starsAverage", "numberOfReviews"}]}`` of the SKUs that are sold."""
    given = _asked_object().get("skus")
    if not isinstance(given, list) or not given:
        raise BadRequest("skus takes a list of SKUs")
    if not all(isinstance(sku, str) for sku in given):
        raise BadRequest("each of skus takes text")
    if len(given) > state.lists.batch_skus:
        raise BadRequest(f"skus takes at most {state.lists.batch_skus} SKUs")
    asked = [sku for sku in dict.fromkeys(given) if sku in unit.products]
    return json_answer({"summaries": [{"sku": sku} | unit.products.summary_of(sku) for sku in asked]})


def _business_unit(state: State, unit: BusinessUnit) -> Response:
    [identifier] = [each for each, known in state.units.items() if known is unit]
    return json_answer({"id": identifier} | unit.profile())


def _service_reviews(_: State, unit: BusinessUnit) -> Response:
    """Return ``{"reviews", "links"}``: one page of the reviews of the shop itself."""
    found = newest_first(matching(unit.service_reviews, _asked_stars(), _asked_once("language")))
    order = _asked_once("orderBy") or "createdat.desc"
    if order not in ("createdat.desc", "createdat.asc"):
        raise BadRequest("orderBy takes createdat.desc or createdat.asc")
    shown, links = _asked_page(found if order.endswith("desc") else found[::-1])
    return json_answer({"reviews": shown, "links": links})


def _deletions(name: str, members: str) -> Callable[[State], Response]:
    """Return the call that lists deletions: ``{members: [{name, "deletedAt"}], "nextToken"}``, oldest first."""

    def process(state: State) -> Response:
        start, end = _asked_moment("startDate"), _asked_moment("endDate")
        listed = [
            deleted
            for deleted in state.deletions[name]
            if (start is None or datetime.fromisoformat(deleted["deletedAt"]) >= start)
            and (end is None or datetime.fromisoformat(deleted["deletedAt"]) <= end)
        ]
        limit = _whole("limit", request.args.get("limit", str(_USUAL_PER_PAGE)), 1, _MOST_DELETIONS)
        begin = _whole("nextToken", request.args.get("nextToken", "0"), 0, 10**8)
        more = len(listed) > begin + limit
        return json_answer(
            {members: listed[begin : begin + limit], "nextToken": str(begin + limit) if more else None}
        )

    return process


def _asked_moment(name: str) -> datetime | None:
    given = _asked_once(name)
    try:
        moment = datetime.fromisoformat(given) if given else None
    except ValueError as error:
        raise BadRequest(f"{name} takes a moment such as 2024-10-14T17:42:40Z") from error
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


def _star_images(_: State, stars: str) -> Response:
    """Return the addresses of the pictures of a rating; one of them without its scheme, as Trustpilot has them."""
    shown = _asked_half_stars(stars)
    sizes = (("128", "24", "https:"), ("256", "48", "https:"), ("512", "96", ""))
    pictures = {}
    for width, height, scheme in sizes:
        name = f"star{width}x{height}"
        url = f"{scheme}//images.trustpilot.example/{name}/stars-{shown}.png"
        pictures[name] = {"url": url, "width": width, "height": height}
    return json_answer(pictures)


def _star_string(_: State, stars: str) -> Response:
    language = (_asked_once("locale") or "en").replace("_", "-").partition("-")[0]
    words = STAR_WORDS.get(language, STAR_WORDS["en"])
    return json_answer({"string": words[max(0, int(float(_asked_half_stars(stars)) + 0.5) - 1)]})


def _asked_half_stars(given: str) -> str:
    if given not in ("0", *(f"{half / 2:g}" for half in range(2, 11))):
        raise NotFound("there are stars 0, 1, 1.5 … 5")
    return given


def _token(state: State) -> Response:
    if request.form.get("grant_type") != "client_credentials":
        raise BadRequest("grant_type takes client_credentials")
    return json_answer(state.tokens.issue())


def _asked_stars() -> set[int]:
    return {_whole("stars", given, 1, 5) for given in request.args.getlist("stars")}


def _asked_page(
    found: Sequence[T], usual: int = _USUAL_PER_PAGE, most: int = _MOST_PER_PAGE
) -> tuple[Sequence[T], list[dict[str, str]]]:
    """Return the page of a list that was asked for, and a link to the next where there is one."""
    page, per_page = _asked_place(usual, most)
    query = request.args.copy()
    query["page"] = str(page + 1)
    href = f"{request.base_url}?{urlencode(list(query.items(multi=True)))}"
    links = [{"href": href, "method": "GET", "rel": "next-page"}] if len(found) > page * per_page else []
    return found[(page - 1) * per_page : page * per_page], links


def _asked_place(usual: int = _USUAL_PER_PAGE, most: int = _MOST_PER_PAGE) -> tuple[int, int]:
    page = _whole("page", request.args.get("page", "1"), 1, 10**6)
    return page, _whole("perPage", request.args.get("perPage", str(usual)), 1, most)


def _asked_object() -> dict[str, object]:
    given = request.get_json()
    if not isinstance(given, dict):
        raise BadRequest("the body takes a JSON object")
    return given


def _asked_once(name: str) -> str | None:
    """Return a parameter that may be there once, and then says something."""
    given = request.args.getlist(name)
    if len(given) > 1 or "" in given:
        raise BadRequest(f"{name} takes exactly one value")
    return given[0] if given else None


def _asked_skus(unit: BusinessUnit) -> list[str]:
    given, url = _asked_once("sku"), _asked_once("productUrl")
    if given is None and url is not None:
        # Nobody sells what has no name; so an unknown address has no reviews.
        return unit.skus_at(url) or [""]
    skus = (given or "").split(",")
    if "" in skus:
        raise BadRequest("sku takes one SKU, or several comma-separated; or productUrl takes its place")
    return skus


def _whole(name: str, given: str, least: int, most: int) -> int:
    if not (given.isascii() and given.isdigit() and len(given) < 10 and least <= int(given) <= most):
        raise BadRequest(f"{name} takes a whole number from {least} to {most}")
    return int(given)


def _same(shown: str, expected: str) -> bool:
    return hmac.compare_digest(shown.encode(), expected.encode())


_STATES = ("published", "unpublished", "underModeration", "archived")


def _with_token(state: State) -> None:
    shown = request.authorization
    if shown is None or shown.type != "bearer" or not state.tokens.holds(shown.token or ""):
        raise Unauthorized("Invalid access token")


def _feed(state: State, unit: BusinessUnit) -> Response:
    """Return ``{"productReviews", "links"}``: one page of the reviews of the whole shop, or of one SKU."""
    page, per_page = _asked_place()
    language, sku, lists = _asked_once("language"), _asked_once("sku"), state.lists
    if (wanted := request.args.get("state", "published")) not in _STATES:
        raise BadRequest(f"state takes one of {', '.join(_STATES)}")
    if page > 1:
        unit.arrive(lists.arrivals, state.now)
    start = (page - 1) * per_page + (per_page if page >= lists.lost_page else 0)
    # The sandbox knows of published reviews only.
    found = unit.products.all_reviews(language, sku, lists.feed_order, start, start + per_page)
    shown = [_private(unit, sku, review) for sku, review in (found if wanted == "published" else [])]
    return json_answer({"productReviews": _named(shown), "links": []})


def _private(unit: BusinessUnit, sku: str, review: object) -> object:
    """Return a review as its shop sees it: with its product, the consumer's address and the number of the order."""
    if not isinstance(review, dict):
        return review
    consumer = review.get("consumer")
    if isinstance(consumer, dict):
        consumer = consumer | {"email": f"{consumer.get('id')}@customers.example"}
    more = {"consumer": consumer, "referenceId": f"order-{review.get('id')}", "state": "published"}
    return review | more | {"product": unit.product(sku)}


def _shop_summaries(_state: State, unit: BusinessUnit) -> Response:
    """Return ``{"summaries": [{"sku", "starsAverage", "numberOfReviews"}]}``: a page of all products."""
    skus, _links = _asked_page(list(unit.products), most=1000)
    return json_answer({"summaries": [{"sku": sku} | unit.products.summary_of(sku) for sku in skus]})


def _products(_state: State, unit: BusinessUnit) -> Response:
    """Return ``{"products": [{"id", "sku", "title", "link", "imageLink"}], "isLastPage"}``: a catalogue's page."""
    named = _asked_once("skus")
    skus = [sku for sku in named.split(",") if sku in unit.products] if named else list(unit.products)
    page, _links = _asked_page(skus, 10_000, 10_000)
    listed = [
        {"id": product["id"], "sku": sku, "title": product["name"], "link": product["productUrl"]}
        | {"imageLink": f"{product['productUrl']}.jpg"}
        for sku in page
        for product in [unit.product(sku)]
    ]
    return json_answer({"products": listed, "isLastPage": not page or page[-1] == skus[-1]})


def _invitation(state: State, unit: BusinessUnit) -> Response:
    """Store what arrived; Trustpilot answers 202 with nothing in it."""
    # "Should be provided when access token is obtained using client_credentials grant type."
    if not (user := request.headers.get("x-business-user-id")):
        raise BadRequest("x-business-user-id is missing")
    state.invitations.append(_stored(_asked_object()) | {"business_user_id": user})
    return Response(status=202)


def _service_link(state: State, unit: BusinessUnit) -> Response:
    """Return ``{"id", "url"}``: a link to review the shop."""
    body = _asked_object()
    _require(body, "email", "name")
    link = secrets.token_hex(8)
    state.links.append(_stored(body))
    return json_answer({"id": link, "url": f"https://www.trustpilot.example/evaluate/{unit.domain}?ref={link}"})


def _product_link(state: State, unit: BusinessUnit) -> Response:
    """Return ``{"reviewLinkId", "reviewUrl"}``: a link to review products."""
    body = _asked_object()
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


_PRODUCTS = "/product-reviews/business-units/<unit>"
_UNIT = "/business-units/<unit>"
_TOKEN_RULE = "/oauth/oauth-business-users-for-applications/accesstoken"  # noqa: S105  # an address
CALLS = (
    Call("reviews", f"{_PRODUCTS}/reviews", lambda state, unit: _page_of_reviews(state, unit, unit.products)),
    Call("summary", _PRODUCTS, lambda _, unit: _summary(unit, unit.products)),
    Call("batch_summaries", f"{_PRODUCTS}/batch-summaries", _batch_summaries, method="POST"),
    Call("token", _TOKEN_RULE, _token, _with_secret, "POST"),
    Call("invitations", f"/private{_UNIT}/email-invitations", _invitation, _with_token, "POST"),
    Call(
        "imported_reviews",
        f"{_PRODUCTS}/imported-reviews",
        lambda state, unit: _page_of_reviews(state, unit, unit.imported),
    ),
    Call(
        "imported_summary", f"{_PRODUCTS}/imported-reviews-summaries", lambda _, unit: _summary(unit, unit.imported)
    ),
    Call("business_unit", _UNIT, _business_unit),
    Call("service_reviews", f"{_UNIT}/reviews", _service_reviews),
    Call("deleted_reviews", "/reviews/deletions", _deletions("reviewId", "reviews")),
    Call("deleted_consumers", "/consumers/deletions", _deletions("consumerId", "consumers")),
    Call("star_images", "/resources/images/stars/<stars>", _star_images),
    Call("star_string", "/resources/strings/stars/<stars>", _star_string),
    Call("feed", f"/private{_PRODUCTS}/reviews", _feed, _with_token),
    Call("shop_summaries", f"/private{_PRODUCTS}/summaries", _shop_summaries, _with_token),
    Call("products", f"/private{_UNIT}/products", _products, _with_token),
    Call("product_links", f"/private{_PRODUCTS}/invitation-links", _product_link, _with_token, "POST"),
    Call("service_links", f"/private{_UNIT}/invitation-links", _service_link, _with_token, "POST"),
)
