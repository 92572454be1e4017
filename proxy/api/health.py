"""``/healthz``: the process answers. ``/readyz``: it is configured and its store can be reached."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, jsonify

from proxy.api.errors import problem
from proxy.cache import Store
from proxy.trustpilot.breaker import Breaker
from proxy.trustpilot.budget import Budget


def health(store: Store, budget: Budget, breaker: Breaker, is_draining: Callable[[], bool]) -> Blueprint:
    """Return the two endpoints that are open to everyone. ``is_draining``: the proxy was told to stop."""
    endpoints = Blueprint("health", __name__)

    @endpoints.get("/healthz")
    def alive() -> Response:
        return jsonify(status="alive")

    @endpoints.get("/readyz")
    def ready() -> Response:
        if is_draining():
            return problem(503, "the proxy is stopping; it finishes what is under way")
        if not store.is_reachable():
            return problem(503, "the store can't be reached; answers come from this worker's memory meanwhile")
        calls = {use.window.name: {"used": use.used, "limit": use.window.calls} for use in budget.uses()}
        return jsonify(status="ready", trustpilot="paused" if breaker.is_open else "calling", calls=calls)

    return endpoints
