"""Trustpilot's documented calls, under ``/v1``.

Sources: Trustpilot's "Product Reviews API", "Invitation API" and "Authentication" pages. Where they leave something
open, the stand-in is strict (400), so that nobody comes to rely on what Trustpilot never promised.
"""

import hmac
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from urllib.parse import urlencode

from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, HTTPException, NotFound, Unauthorized

from proxy.sandbox import API_KEY, API_SECRET
from proxy.sandbox.faults import Kind, Wire, json_answer, misbehave, refusal
from proxy.sandbox.shop import named_for
from proxy.sandbox.state import Products, State, matching, summary_of

_MOST_PER_PAGE = 100
_USUAL_PER_PAGE = 20


def documented_calls(state: State) -> Blueprint:
    """Return the calls as a blueprint, with everything that can happen to them."""
    calls = Blueprint("trustpilot", __name__, url_prefix="/v1")

    def answer(kind: Kind, skus: Collection[str], process: Callable[[], Response]) -> Response:
        # Whatever happens next, it happens to a request that has been read to its end.
        request.get_data()
        wire = Wire(request.environ["sandbox.connection"], state.held)
        ledger = state.ledger
        ledger.begin(kind, skus, request.args.to_dict(flat=False))
        with ExitStack() as on_failure:
            on_failure.callback(ledger.end, kind)
            response = _limited(state) or misbehave(
                state.behaviours.take(kind, skus), lambda: _processed(process), wire
            )
            response.call_on_close(on_failure.pop_all().close)
        return response

    @calls.get("/product-reviews/business-units/<unit>/reviews")
    def reviews(unit: str) -> Response:
        return answer(Kind.REVIEWS, request.args.getlist("sku"), lambda: _page(_products(state, unit)))

    @calls.get("/product-reviews/business-units/<unit>")
    def summary(unit: str) -> Response:
        return answer(
            Kind.SUMMARY,
            request.args.getlist("sku"),
            lambda: json_answer(summary_of(_products(state, unit).reviews_of(_one("sku")))),
        )

    @calls.post("/product-reviews/business-units/<unit>/batch-summaries")
    def batch_summaries(unit: str) -> Response:
        return answer(Kind.BATCH_SUMMARIES, _asked_skus(), lambda: _batch(_products(state, unit)))

    @calls.post("/oauth/oauth-business-users-for-applications/accesstoken")
    def token() -> Response:
        return answer(Kind.TOKEN, (), lambda: _token(state))

    @calls.post("/private/business-units/<unit>/email-invitations")
    def invitations(unit: str) -> Response:
        return answer(Kind.INVITATIONS, (), lambda: _invitation(state, unit))

    return calls


def _limited(state: State) -> Response | None:
    wait = state.limit.refuse(time.monotonic()) if state.limit else None
    return None if wait is None else json_answer({"message": "Too Many Requests"}, 429, {"Retry-After": str(wait)})


def _processed(process: Callable[[], Response]) -> Response:
    try:
        return process()
    except HTTPException as error:
        return refusal(error)


def _products(state: State, unit: str) -> Products:
    """Return a business unit's products for a call that shows the API key."""
    if not _same(request.headers.get("apikey", ""), API_KEY):
        raise Unauthorized("Invalid API key")
    if unit not in state.units:
        raise NotFound("Business unit not found")
    return state.units[unit]


def _page(products: Products) -> Response:
    """Return ``{"productReviews", "links"}``: one page of a SKU's reviews, newest first."""
    stars = {_whole("stars", given, 1, 5) for given in request.args.getlist("stars")}
    language = _one("language") if "language" in request.args else None
    page = _whole("page", request.args.get("page", "1"), 1, 10**6)
    per_page = _whole("perPage", request.args.get("perPage", str(_USUAL_PER_PAGE)), 1, _MOST_PER_PAGE)
    found = matching(products.reviews_of(_one("sku")), stars, language)
    shown = found[(page - 1) * per_page : page * per_page]
    if locale := request.args.get("locale"):
        shown = [named_for(locale, review) for review in shown]
    links = [_next_page(page)] if len(found) > page * per_page else []
    return json_answer({"productReviews": shown, "links": links})


def _next_page(page: int) -> dict[str, str]:
    query = request.args.copy()
    query["page"] = str(page + 1)
    return {
        "href": f"{request.base_url}?{urlencode(list(query.items(multi=True)))}",
        "method": "GET",
        "rel": "next-page",
    }


def _batch(products: Products) -> Response:
    """Return ``{"summaries": [{"sku", "starsAverage", "numberOfReviews"}]}`` of the SKUs that are sold."""
    given = request.get_json()
    if not isinstance(given, dict) or not isinstance(given.get("skus"), list) or not given["skus"]:
        raise BadRequest("skus takes a list of SKUs")
    if not all(isinstance(sku, str) for sku in given["skus"]):
        raise BadRequest("each of skus takes text")
    asked = [sku for sku in dict.fromkeys(given["skus"]) if sku in products]
    return json_answer({"summaries": [{"sku": sku} | summary_of(products.reviews_of(sku)) for sku in asked]})


def _asked_skus() -> list[str]:
    """Return the SKUs a batch call names, as far as its body makes sense."""
    given = request.get_json(silent=True)
    skus = given.get("skus") if isinstance(given, dict) else None
    return [sku for sku in skus if isinstance(sku, str)] if isinstance(skus, list) else []


def _token(state: State) -> Response:
    shown = request.authorization
    if (
        shown is None
        or shown.type != "basic"
        or not _same(shown.username or "", API_KEY)
        or not _same(shown.password or "", API_SECRET)
    ):
        raise Unauthorized("Invalid client credentials")
    if request.form.get("grant_type") != "client_credentials":
        raise BadRequest("grant_type takes client_credentials")
    return json_answer(state.tokens.issue())


def _invitation(state: State, unit: str) -> Response:
    """Store what arrived; Trustpilot answers 202 with nothing in it."""
    shown = request.authorization
    if shown is None or shown.type != "bearer" or not state.tokens.holds(shown.token or ""):
        raise Unauthorized("Invalid access token")
    if unit not in state.units:
        raise NotFound("Business unit not found")
    # "Should be provided when access token is obtained using client_credentials grant type."
    if not (user := request.headers.get("x-business-user-id")):
        raise BadRequest("x-business-user-id is missing")
    body = request.get_json()
    if not isinstance(body, dict):
        raise BadRequest("an invitation takes a JSON object")
    state.invitations.append({"at": time.time(), "business_unit": unit, "business_user_id": user, "body": body})
    return Response(status=202)


def _one(name: str) -> str:
    """Return a parameter that has to be there once."""
    given = request.args.getlist(name)
    if len(given) != 1 or not given[0]:
        raise BadRequest(f"{name} takes exactly one value")
    return given[0]


def _whole(name: str, given: str, least: int, most: int) -> int:
    if not (given.isascii() and given.isdigit() and len(given) < 10 and least <= int(given) <= most):
        raise BadRequest(f"{name} takes a whole number from {least} to {most}")
    return int(given)


def _same(shown: str, expected: str) -> bool:
    return hmac.compare_digest(shown.encode(), expected.encode())
