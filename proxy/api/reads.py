"""The reading endpoints: validate, look up, answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Request, Response, abort, request
from msgspec import Raw, Struct

from proxy.api import parameters
from proxy.api.parameters import BadParameter, Query, check_sku
from proxy.api.responses import Sources, answer, deadline
from proxy.cache import Freshness
from proxy.clock import Deadline, Now
from proxy.reviews import Answer, ProductReviews, Selection, Unavailable, View
from proxy.reviews.business import service_review_in_trustpilots_shape
from proxy.reviews.fragment import fragment
from proxy.reviews.models import SHOP, Source
from proxy.reviews.page_loader import product_name
from proxy.settings import Settings

MOST_IN_BATCH = 100


class _Batch(Struct):
    skus: list[str]


def reading(reviews: ProductReviews, settings: Settings, now: Now) -> Blueprint:
    """Return the endpoints under ``/v1`` that read."""
    endpoints = Blueprint("reading", __name__, url_prefix="/v1")
    units, imported = settings.business_units, settings.imported_reviews

    def answered(
        query: Query,
        selection: Selection,
        read: Callable[[Deadline], Answer],
        empty: Callable[[str], dict[str, Any]],
    ) -> Response:
        empty_instead = parameters.on_error_empty(query)
        try:
            found = read(deadline(settings.deadline_seconds))
        except Unavailable as error:
            if not empty_instead:
                raise
            return answer(empty(str(error)), None, now, query.ignored)
        products = (*selection.products, product_name(selection.business_unit, SHOP))
        return answer(found.body, Sources(products, found.freshness), now, query.ignored)

    @endpoints.get("/reviews")
    def product() -> Response:
        """One product block."""
        query = Query.parse(request.query_string)
        selection, view = parameters.selection(query, units, imported=imported), parameters.view(query, now)
        empty = parameters.on_error_empty(query)
        return answered(
            query,
            selection,
            lambda deadline: reviews.block(selection, view, deadline, empty_on_error=empty),
            lambda error: reviews.empty_block(selection, error),
        )

    @endpoints.get("/products")
    def products() -> Response:
        """One block per SKU."""
        query = Query.parse(request.query_string)
        selection, view = parameters.selection(query, units, "skus", imported=imported), parameters.view(query, now)
        empty = parameters.on_error_empty(query)
        return answered(
            query,
            selection,
            lambda deadline: reviews.blocks(selection, view, deadline, empty_on_error=empty),
            lambda error: reviews.empty_blocks(selection, error),
        )

    @endpoints.get("/summary")
    def summary() -> Response:
        """Stars only."""
        query = Query.parse(request.query_string)
        selection, display = parameters.selection(query, units, imported=imported), parameters.display(query)
        return answered(
            query,
            selection,
            lambda deadline: reviews.summary(selection, display, deadline),
            lambda error: reviews.empty_summary(selection, display, error),
        )

    @endpoints.get("/fragment")
    def ready_fragment() -> Response:
        """Return the block, to be inserted in place of the tag."""
        query = Query.parse(request.query_string)
        selection = parameters.selection(query, units, imported=imported)
        view = parameters.view(query, now, html=False)
        style, as_text = query.one(parameters.STYLE), query.one(parameters.CHANNEL)
        parameters.on_error_empty(query)
        kind = f"text/{'plain' if as_text else 'html'}; charset=utf-8"
        try:
            until = deadline(settings.deadline_seconds)
            found = reviews.block(selection, view, until, empty_on_error=True)
        except Unavailable:
            return answer("", None, now, query.ignored, content_type=kind)
        shown = fragment(found.body, view, style, as_text=as_text)
        products = (*selection.products, product_name(selection.business_unit, SHOP))
        sources = Sources(products, found.freshness)
        return answer(shown, sources, now, query.ignored, content_type=kind)

    @endpoints.get("/business")
    def business() -> Response:
        """Answer with the shop itself."""
        query = Query.parse(request.query_string)
        unit, view = parameters.business_unit(query, units), parameters.business_view(query, now)
        return answered(
            query,
            Selection(unit, ()),
            lambda deadline: reviews.business(unit, view, deadline),
            lambda error: reviews.empty_business(unit, view, error),
        )

    @endpoints.get("/business-units/<unit>")
    def drop_in_business_unit(unit: str) -> Response:
        """Trustpilot's own call for a business unit."""
        query = Query.parse(request.query_string)
        known = parameters.configured_unit(unit, units)
        found = reviews.trustpilot_business_unit(known, deadline(settings.deadline_seconds))
        return answer(found.body, Sources((product_name(known, SHOP),), found.freshness), now, query.ignored)

    @endpoints.get("/business-units/<unit>/reviews")
    def drop_in_service_reviews(unit: str) -> Response:
        """Trustpilot's own call for the reviews of a business unit."""
        query = Query.parse(request.query_string)
        selection = Selection(parameters.configured_unit(unit, units), (SHOP,))
        shown, more, page, freshness = read_page(query, selection)
        body = {
            "reviews": list(map(service_review_in_trustpilots_shape, shown)),
            "links": _next_page(query, page) if more else [],
        }
        return answer(body, Sources(selection.products, freshness), now, query.ignored)

    @endpoints.post("/product-reviews/business-units/<unit>/batch-summaries")
    def drop_in_batch_summaries(unit: str) -> Response:
        """Trustpilot's own call for the summaries of several products."""
        known = parameters.configured_unit(unit, units)
        skus = _batch(request)
        summaries, freshness = reviews.trustpilot_summaries(known, skus, deadline(settings.deadline_seconds))
        sources = Sources(Selection(known, skus).products, freshness)
        return answer({"summaries": summaries}, sources, now)

    @endpoints.get("/product-reviews/business-units/<unit>/reviews")
    def drop_in_reviews(unit: str) -> Response:
        """Trustpilot's own reviews call."""
        return trustpilot_reviews(unit, "trustpilot")

    @endpoints.get("/product-reviews/business-units/<unit>/imported-reviews")
    def drop_in_imported_reviews(unit: str) -> Response:
        """Trustpilot's own call for imported reviews."""
        return trustpilot_reviews(unit, "imported")

    def trustpilot_reviews(unit: str, source: Source) -> Response:
        query = Query.parse(request.query_string)
        selection = parameters.selection_in(unit, query, units, source)
        shown, more, page, freshness = read_page(query, selection)
        body = {"productReviews": [Raw(review) for review in shown], "links": _next_page(query, page) if more else []}
        return answer(body, Sources(selection.products, freshness), now, query.ignored)

    def read_page(query: Query, selection: Selection) -> tuple[list[bytes], bool, int, Freshness]:
        """Return the page that is asked for, whether more follow, its number, and how fresh it is."""
        stars, languages = parameters.filters(query)
        page, per_page = parameters.paging(query)
        view = View(stars=stars, languages=languages, min_chars=0)
        until = deadline(settings.deadline_seconds)
        shown, more, freshness = reviews.trustpilot_reviews(selection, view, page, per_page, until)
        return shown, more, page, freshness

    @endpoints.get("/product-reviews/business-units/<unit>")
    def drop_in_summary(unit: str) -> Response:
        """Trustpilot's own summary call."""
        return trustpilot_summary(unit, "trustpilot")

    @endpoints.get("/product-reviews/business-units/<unit>/imported-reviews-summaries")
    def drop_in_imported_summary(unit: str) -> Response:
        """Trustpilot's own call for the summary of imported reviews."""
        return trustpilot_summary(unit, "imported")

    def trustpilot_summary(unit: str, source: Source) -> Response:
        query = Query.parse(request.query_string)
        selection = parameters.selection_in(unit, query, units, source)
        found = reviews.trustpilot_summary(selection, deadline(settings.deadline_seconds))
        return answer(found.body, Sources(selection.products, found.freshness), now, query.ignored)

    return endpoints


def _next_page(query: Query, page: int) -> list[dict[str, str]]:
    again = [(k, v) for k, values in query.given.items() if k != "page" for v in values]
    # Relative: the Host header is the caller's word and has no place in an answer.
    href = f"{request.path}?{urlencode([*again, ('page', page + 1)])}"
    return [{"href": href, "method": "GET", "rel": "next-page"}]


def _batch(asked: Request) -> tuple[str, ...]:
    """Read the SKUs of a batch from its body."""
    if not asked.is_json:
        abort(415)
    try:
        body = msgspec.json.decode(asked.get_data(), type=_Batch)
    except (msgspec.DecodeError, RecursionError):
        raise BadParameter("skus", None, f"takes a list of SKUs, up to {MOST_IN_BATCH}") from None
    skus = tuple(dict.fromkeys(sku.strip() for sku in body.skus))
    if not 1 <= len(skus) <= MOST_IN_BATCH:
        raise BadParameter("skus", None, f"takes a list of SKUs, up to {MOST_IN_BATCH}")
    for sku in skus:
        check_sku("skus", sku)
        if "," in sku:
            raise BadParameter("skus", sku, "holds a comma; takes a SKU such as TRUCK-01")
    return skus
