"""``/metrics``: what Prometheus collects. Behind a credential, as everything but health is."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def measuring(text: Callable[[], bytes], sample: Callable[[], None]) -> Blueprint:
    """Return the endpoint; ``text`` makes its body, once ``sample`` has taken levels down."""
    endpoints = Blueprint("measuring", __name__)

    @endpoints.get("/metrics")
    def metrics() -> Response:
        sample()
        return Response(text(), content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    return endpoints
