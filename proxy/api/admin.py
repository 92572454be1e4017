"""What is around the reads: health, metrics, and the endpoints that bring the cache up to date."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, abort, jsonify, request

from proxy.api import parameters
from proxy.api.errors import problem
from proxy.api.parameters import Query
from proxy.api.schemas import Alive, Applied, Plan, Purged, Readiness
from proxy.cache import Tiered
from proxy.reviews import Updates
from proxy.reviews.models import products_query
from proxy.settings import Settings
from proxy.sync.service import Sync
from proxy.trustpilot.changes import read_events
from proxy.trustpilot.circuit_breaker import CircuitBreaker
from proxy.trustpilot.errors import Malformed
from proxy.trustpilot.quota import PlanUse, Quota

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def health(
    store: Tiered, quota: Quota, breaker: CircuitBreaker, sync: Sync | None, is_draining: Callable[[], bool]
) -> Blueprint:
    """Return the two endpoints that are open to everyone. ``is_draining``: the proxy was told to stop.

    ``/healthz``: the process answers. ``/readyz``: it is configured and its store can be reached.
    """
    endpoints = Blueprint("health", __name__)

    @endpoints.get("/healthz")
    def alive() -> Response:
        return jsonify(Alive(status="alive"))

    @endpoints.get("/readyz")
    def ready() -> Response:
        if is_draining():
            return problem(503, "the proxy is stopping; it finishes what is under way")
        if not store.backend.is_reachable():
            return problem(503, "the store can't be reached; answers come from this worker's memory meanwhile")
        found: Readiness = {
            "status": "ready",
            "trustpilot": "paused" if breaker.is_open else "calling",
            "calls": {use.window.name: {"used": use.used, "limit": use.window.calls} for use in quota.uses()},
            "plan": plan_shown(quota.plan_use()),
            "fresh_seconds": round(store.lifetimes.fresh_now),
            "sync": sync.counts() if sync else None,
        }
        return jsonify(found)

    return endpoints


def plan_shown(use: PlanUse | None) -> Plan | None:
    """Return how much of the year's calls is used, ``None`` where they are unlimited."""
    return (
        None
        if use is None
        else Plan(
            limit=use.limit,
            used=use.used,
            today=use.today,
            share_of_today=use.share,
            days_until_used_up=use.days_until_used_up,
        )
    )


def metrics(text: Callable[[], bytes], sample: Callable[[], None]) -> Blueprint:
    """Return what Prometheus collects; ``text`` makes its body, once ``sample`` has set the gauges."""
    endpoints = Blueprint("metrics", __name__)

    @endpoints.get("/metrics")
    def text_of_metrics() -> Response:
        sample()
        return Response(text(), content_type=METRICS_TYPE, headers={"Cache-Control": "no-store"})

    return endpoints


def updates(changes: Updates, settings: Settings) -> Blueprint:
    """Return the endpoints. Both need a credential: Trustpilot's webhook shows one in its URL or a header."""
    endpoints = Blueprint("updates", __name__)
    units = settings.business_units

    @endpoints.post("/v1/cache/purge")
    def purge() -> Response:
        selection = parameters.selection(Query.parse(request.query_string), units)
        request.get_data()  # empty as a rule; a malformed one is refused before anything is forgotten
        changes.purge(selection.business_unit, selection.skus)
        return jsonify(Purged(purged=[products_query(sku)[1] for sku in selection.skus]))

    @endpoints.post("/hooks/trustpilot")
    def hook() -> Response:
        unit = parameters.business_unit(Query.parse(request.query_string), units)
        if not request.is_json:
            abort(415)
        try:
            events, ignored = read_events(request.get_data())
        except Malformed as error:
            return problem(400, f"{error}; takes Trustpilot's webhook, an object with a list of events")
        changes.apply(unit, events)
        return jsonify(Applied(applied=len(events), ignored=ignored))

    return endpoints
