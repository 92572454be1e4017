"""``/healthz``: the process answers. ``/readyz``: it is configured and its store can be reached."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from proxy.cache import Store
from proxy.http.problems import problem


def health(store: Store) -> Blueprint:
    """Return the two endpoints that are open to everyone."""
    endpoints = Blueprint("health", __name__)

    @endpoints.get("/healthz")
    def alive() -> Response:
        return jsonify(status="alive")

    @endpoints.get("/readyz")
    def ready() -> Response:
        if not store.is_reachable():
            return problem(503, "the store can't be reached")
        return jsonify(status="ready")

    return endpoints
