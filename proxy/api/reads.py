"""The reading endpoints: validate, look up, answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Request, Response, abort, request
from msgspec import Raw, Struct

from proxy.api import (
    DROP_IN_BATCH_SUMMARIES,
    DROP_IN_BUSINESS_UNIT,
    DROP_IN_IMPORTED,
    DROP_IN_IMPORTED_SUMMARY,
    DROP_IN_REVIEWS,
    DROP_IN_SERVICE_REVIEWS,
    DROP_IN_SUMMARY,
    NO_SNIFFING,
    SOURCES,
    STARTED,
    Sources,
    parameters,
    problem_of,
    route_of,
)
from proxy.api.parameters import BadParameter, Query, check_sku
from proxy.cache import Freshness, State
from proxy.clock import Deadline, Now
from proxy.reviews import Answer, ProductReviews, Selection, Unavailable, View
from proxy.reviews.business import service_review_in_trustpilots_shape
from proxy.reviews.fragment import fragment
from proxy.reviews.models import SHOP, Source
from proxy.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MOST_IN_BATCH = 100

Body = TypeVar("Body", bound=Mapping[str, Any])


class _Batch(Struct):
    skus: list[str]


class Read(NamedTuple):
    """One read: the path and the business unit in it, the parameters, and until when it has to be answered."""

    path: str
    unit: str
    query: Query
    deadline: Deadline


class Reply(Struct, frozen=True):
    """A 200, as a small WSGI application: what Flask too takes for an answer."""

    headers: list[tuple[str, str]]
    body: bytes
    sources: Sources | None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self.sources is not None:
            environ[SOURCES] = self.sources
        start_response("200 OK", self.headers)
        return (self.body,)


def answer(
    body: Mapping[str, Any] | str,
    sources: Sources | None,
    now: Now,
    ignored: str = "",
    *,
    content_type: str = "application/json",
) -> Reply:
    """Return ``body``, an object as JSON. Made of nothing (empty in place of an error) it is not fresh either."""
    written = body.encode("utf-8", "replace") if isinstance(body, str) else msgspec.json.encode(body)
    moment = now()
    freshness = Freshness(State.MISS, moment, moment) if sources is None else sources.freshness
    headers = [("Content-Type", content_type), ("Content-Length", str(len(written)))]
    headers += freshness.headers(moment)
    if ignored:
        headers.append(("X-Ignored-Parameters", ignored))
    return Reply([*headers, NO_SNIFFING], written, sources)


Endpoint = Callable[[Read], Reply]
"""Raises what :func:`~proxy.api.problem_of` has an answer to."""


@dataclass(frozen=True)
class Reads:
    """The WSGI layer that answers ``GET`` reads by their ``endpoints``, past what Flask does for any request.

    All else is Flask's: by :meth:`for_flask` it knows which methods are wrong. Refusals and problems are the same
    either way; ``refusal`` is asked first, as Flask asks it.
    """

    flask: WSGIApplication
    endpoints: Mapping[str, Endpoint]
    """By route."""
    refusal: Callable[[WSGIEnvironment], Response | None]
    deadline_seconds: float

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        endpoint = self.endpoints.get(route_of(environ["PATH_INFO"]))
        if endpoint is None or environ["REQUEST_METHOD"] != "GET":
            return self.flask(environ, start_response)
        try:
            refused = self.refusal(environ)
            if refused is None:
                return endpoint(self._asked(environ))(environ, start_response)
        except Exception as error:  # noqa: BLE001  # as Flask does; a bug has its answer too, and is logged
            refused = problem_of(error)
        refused.headers.update([NO_SNIFFING])
        return refused(environ, start_response)

    def for_flask(self) -> Blueprint:
        """Return the addresses, for what is asked of them by other methods."""
        blueprint = Blueprint("reading", __name__)
        for route in self.endpoints:
            blueprint.add_url_rule(route.replace("{bu}", "<unit>"), route, methods=["GET"])
        return blueprint

    def _asked(self, environ: WSGIEnvironment) -> Read:
        # As Flask reads them.
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
        query = Query.parse(environ.get("QUERY_STRING", "").encode("latin-1"))
        unit = _UNIT.search(path)
        return Read(path, unit[1] if unit else "", query, Deadline.since(environ.get(STARTED), self.deadline_seconds))


def read_endpoints(reviews: ProductReviews, settings: Settings, now: Now) -> dict[str, Endpoint]:
    """Return the endpoints under ``/v1`` that read, by route."""
    units, imported = settings.business_units, settings.imported_reviews

    def answered(
        asked: Read,
        selection: Selection,
        read: Callable[[bool], Answer[Body]],
        empty: Callable[[str], Body],
    ) -> Reply:
        """Answer with what ``read`` returns, which is given whether ``on_error=empty`` is asked for."""
        empty_on_error = asked.query.one(parameters.ON_ERROR)
        try:
            found = read(empty_on_error)
        except Unavailable as error:
            if not empty_on_error:
                raise
            return answer(empty(str(error)), None, now, asked.query.ignored)
        return answer(found.body, Sources(selection.surrogate_keys, found.freshness), now, asked.query.ignored)

    def product(asked: Read) -> Reply:
        selection = parameters.selection(asked.query, units, imported=imported)
        view = parameters.view(asked.query, now)
        return answered(
            asked,
            selection,
            lambda empty: reviews.block(selection, view, asked.deadline, empty_on_error=empty),
            lambda error: reviews.empty_block(selection, error),
        )

    def products(asked: Read) -> Reply:
        selection = parameters.selection(asked.query, units, "skus", imported=imported)
        view = parameters.view(asked.query, now)
        return answered(
            asked,
            selection,
            lambda empty: reviews.blocks(selection, view, asked.deadline, empty_on_error=empty),
            lambda error: reviews.empty_blocks(selection, error),
        )

    def summary(asked: Read) -> Reply:
        """Stars only."""
        selection = parameters.selection(asked.query, units, imported=imported)
        display = asked.query.one(parameters.DISPLAY_LOCALE)
        return answered(
            asked,
            selection,
            lambda _empty: reviews.summary(selection, display, asked.deadline),
            lambda error: reviews.empty_summary(selection, display, error),
        )

    def ready_fragment(asked: Read) -> Reply:
        """Return the block, to be inserted in place of the tag."""
        query = asked.query
        selection = parameters.selection(query, units, imported=imported)
        view = parameters.fragment_view(query, now)
        style, as_text = query.one(parameters.STYLE), query.one(parameters.CHANNEL)
        query.one(parameters.ON_ERROR)
        kind = f"text/{'plain' if as_text else 'html'}; charset=utf-8"
        try:
            found = reviews.block(selection, view, asked.deadline, empty_on_error=True)
        except Unavailable:
            return answer("", None, now, query.ignored, content_type=kind)
        shown = fragment(found.body, view, style, as_text=as_text)
        sources = Sources(selection.surrogate_keys, found.freshness)
        return answer(shown, sources, now, query.ignored, content_type=kind)

    def business(asked: Read) -> Reply:
        unit, view = parameters.business_unit(asked.query, units), parameters.business_view(asked.query, now)
        return answered(
            asked,
            Selection(unit, ()),
            lambda _empty: reviews.business(unit, view, asked.deadline),
            lambda error: reviews.empty_business(unit, view, error),
        )

    def drop_in(asked: Read, selection: Selection, body: Mapping[str, Any], freshness: Freshness) -> Reply:
        return answer(body, Sources(selection.products, freshness), now, asked.query.ignored)

    def drop_in_business_unit(asked: Read) -> Reply:
        shop = Selection(parameters.configured_unit(asked.unit, units), (SHOP,))
        found = reviews.trustpilot_business_unit(shop.business_unit, asked.deadline)
        return drop_in(asked, shop, found.body, found.freshness)

    def drop_in_service_reviews(asked: Read) -> Reply:
        shop = Selection(parameters.configured_unit(asked.unit, units), (SHOP,))
        return page_of_reviews(asked, shop, "reviews", service_review_in_trustpilots_shape)

    def trustpilot_reviews(asked: Read, source: Source) -> Reply:
        selection = parameters.selection_in(asked.unit, asked.query, units, source)
        return page_of_reviews(asked, selection, "productReviews", Raw)

    def page_of_reviews(asked: Read, selection: Selection, name: str, shape: Callable[[bytes], Any]) -> Reply:
        stars, languages = parameters.filters(asked.query)
        page, per_page = parameters.paging(asked.query)
        view = View(stars=stars, languages=languages, min_chars=0)
        shown, more, freshness = reviews.trustpilot_reviews(selection, view, page, per_page, asked.deadline)
        links = _next_page(asked, page) if more and page * per_page < parameters.FURTHEST else []
        return drop_in(asked, selection, {name: list(map(shape, shown)), "links": links}, freshness)

    def trustpilot_summary(asked: Read, source: Source) -> Reply:
        selection = parameters.selection_in(asked.unit, asked.query, units, source)
        found = reviews.trustpilot_summary(selection, asked.deadline)
        return drop_in(asked, selection, found.body, found.freshness)

    return {
        "/v1/reviews": product,
        "/v1/products": products,
        "/v1/summary": summary,
        "/v1/fragment": ready_fragment,
        "/v1/business": business,
        DROP_IN_REVIEWS: lambda asked: trustpilot_reviews(asked, "trustpilot"),
        DROP_IN_SUMMARY: lambda asked: trustpilot_summary(asked, "trustpilot"),
        DROP_IN_IMPORTED: lambda asked: trustpilot_reviews(asked, "imported"),
        DROP_IN_IMPORTED_SUMMARY: lambda asked: trustpilot_summary(asked, "imported"),
        DROP_IN_BUSINESS_UNIT: drop_in_business_unit,
        DROP_IN_SERVICE_REVIEWS: drop_in_service_reviews,
    }


def batch_reading(reviews: ProductReviews, settings: Settings, now: Now) -> Blueprint:
    """Return the one read that is a ``POST``."""
    endpoints = Blueprint("batch reading", __name__)

    @endpoints.post(DROP_IN_BATCH_SUMMARIES.replace("{bu}", "<unit>"))
    def drop_in_batch_summaries(unit: str) -> Reply:
        known = parameters.configured_unit(unit, settings.business_units)
        skus = _batch(request)
        summaries, freshness = reviews.trustpilot_summaries(
            known, skus, Deadline.since(request.environ.get(STARTED), settings.deadline_seconds)
        )
        sources = Sources(Selection(known, skus).products, freshness)
        return answer({"summaries": summaries}, sources, now)

    return endpoints


_UNIT = re.compile("/business-units/([^/]+)")


def _next_page(asked: Read, page: int) -> list[dict[str, str]]:
    again = [(k, v) for k, values in asked.query.given.items() if k != "page" for v in values]
    # Relative: the Host header is the caller's word and has no place in an answer.
    href = f"{asked.path}?{urlencode([*again, ('page', page + 1)])}"
    return [{"href": href, "method": "GET", "rel": "next-page"}]


def _batch(asked: Request) -> tuple[str, ...]:
    if not asked.is_json:
        abort(415)
    try:
        body = msgspec.json.decode(asked.get_data(), type=_Batch)
    except (msgspec.DecodeError, RecursionError):
        raise BadParameter("skus", None, f"takes a list of SKUs, up to {MOST_IN_BATCH}") from None
    # Counted as sent, before duplicates collapse: what a schema can say.
    if not 1 <= len(body.skus) <= MOST_IN_BATCH:
        raise BadParameter("skus", None, f"takes a list of SKUs, up to {MOST_IN_BATCH}")
    skus = tuple(dict.fromkeys(sku.strip() for sku in body.skus))
    for sku in skus:
        check_sku("skus", sku)
        if "," in sku:
            raise BadParameter("skus", sku, "holds a comma; takes a SKU such as TRUCK-01")
    return skus
