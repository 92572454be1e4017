"""Puts the rooms together; nothing is decided here."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from flask import Flask

from proxy.cache import Cache, Flights, Lifetimes, MemoryStore
from proxy.http.answers import register_headers
from proxy.http.credentials import register_credentials
from proxy.http.health import health
from proxy.http.problems import register_problems
from proxy.http.reads import reading
from proxy.reviews import ProductReviews
from proxy.settings import Settings
from proxy.trustpilot.client import Trustpilot
from proxy.trustpilot.transport import Transport

MEBIBYTE = 1024 * 1024


def wire(settings: Settings) -> Flask:
    """Return the proxy as a WSGI application."""
    app = Flask(__name__)
    logging.getLogger("proxy").setLevel(settings.log_level.upper())
    store = MemoryStore(int(settings.cache_max_mb * MEBIBYTE))
    cache = Cache(
        store,
        Flights(spawn),
        Lifetimes(settings.fresh_seconds, settings.stale_seconds, settings.missing_seconds),
        time.time,
    )
    transport = Transport(timeout=settings.upstream_timeout_seconds, concurrency=settings.upstream_concurrency)
    trustpilot = Trustpilot(transport, api_url=settings.api_url, api_key=settings.api_key)
    register_headers(app)
    register_credentials(app, settings)
    register_problems(app)
    app.register_blueprint(health(store))
    app.register_blueprint(reading(ProductReviews(cache, trustpilot, time.time), settings, time.time))
    return app


def spawn(job: Callable[[], None]) -> None:
    """Run ``job`` beside the caller: a thread, or a greenlet where gunicorn's gevent worker patched threads."""
    threading.Thread(target=job, daemon=True).start()
