"""Puts the rooms together; nothing is decided here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

from flask import Flask, Response, request
from gevent.monkey import is_module_patched
from gevent.threadpool import ThreadPool

from proxy import telemetry
from proxy.api import NO_SNIFFING, Application, register_problems
from proxy.api.openapi import describing
from proxy.api.pages import health, home_page, metrics_text, status_page
from proxy.api.reads import Reads, batch_reading, read_endpoints
from proxy.api.writes import handing_out, inviting, updating
from proxy.cache import Backend, Cache, Group, Lifetimes, MemoryBackend, Tiered
from proxy.cache.backend import Window
from proxy.cache.sqlite import Offload, SqliteBackend, inline
from proxy.clock import Every, spawn
from proxy.events import Events, Report, unheard
from proxy.invitations import Idempotency, Invitations
from proxy.middleware import AccessLog, AllowedNetworks, SecretFromQuery, refusing
from proxy.middleware.response_cache import ResponseCache, ResponseStore
from proxy.reviews import ProductReviews, Updates
from proxy.server import is_draining
from proxy.settings import Settings
from proxy.sync import PACE_SECONDS, Deletions, Demand, Planner, Sync
from proxy.sync.feed import FeedReader, Shops
from proxy.sync.validator import Validator
from proxy.sync.whole_shop import Backfill, Comparison
from proxy.telemetry.logging import write_lines
from proxy.telemetry.metrics import GAUGE_SECONDS, SNAPSHOT_SECONDS, Metrics, Recent, Workers
from proxy.trustpilot import NotFound, Rejected
from proxy.trustpilot.brand_assets import EVERY_SECONDS as ASSETS_SECONDS
from proxy.trustpilot.brand_assets import AssetCalls, KeptAssets
from proxy.trustpilot.changes import DeletionCalls, ShopCalls
from proxy.trustpilot.circuit_breaker import INTERVAL_SECONDS, Bulkhead, CircuitBreaker
from proxy.trustpilot.client import Calls, Trustpilot, probe
from proxy.trustpilot.private import Grant, InvitationApi, Tokens
from proxy.trustpilot.quota import Plan, Quota
from proxy.trustpilot.transport import Transport

MEBIBYTE = 1024 * 1024

_INVITING_PATIENCE_SECONDS = 2.0
_LONGEST_INVITING_SECONDS = 25.0
"""The server ends a request after 30, and nobody would know then whether its invitation was sent."""

RESPONSE_CACHE_SHARE = 1 / 8
"""Of ``CACHE_MAX_MB``, for finished responses; the rest is for the copies they are made from."""


@dataclass(frozen=True)
class Proxy:
    """The rooms behind the HTTP edge, for the app and for the commands."""

    settings: Settings
    backend: Backend
    store: Tiered
    cache: Cache
    quota: Quota
    breaker: CircuitBreaker
    reviews: ProductReviews
    assets: KeptAssets
    inviting: Inviting | None
    sync: Sync | None
    services: list[Service] = field(default_factory=list)
    """What works beside the requests."""

    def start(self) -> None:
        """Start what works beside the requests; called in the process that serves, after gunicorn's fork."""
        for service in self.services:
            service.start()

    def stop(self) -> None:
        for service in reversed(self.services):
            service.stop()
        self.backend.close()


class Service(Protocol):
    """Something that works beside the requests."""

    def start(self) -> None:
        """Begin; called once."""

    def stop(self) -> None:
        """End soon."""


@dataclass(frozen=True)
class Inviting:
    """What there is with an API secret only."""

    tokens: Tokens
    invitations: Invitations


def wire(settings: Settings) -> Flask:
    """Return the proxy as a WSGI application; its rooms are in ``extensions["proxy"]``."""
    logging.getLogger("proxy").setLevel(settings.log_level.upper())
    metrics = Metrics(shared_quota=settings.shared_store)
    recent = Recent(time.time)
    events = Events(write_lines, metrics.on_events, recent.on_events)
    proxy = build(settings, events.report, metrics.evicted)
    app = Flask(__name__)
    app.extensions["events"] = events
    app.extensions["proxy"] = proxy
    app.config["MAX_CONTENT_LENGTH"] = MEBIBYTE
    # Braze follows no redirects: an address with a slash too many is told to be none.
    app.url_map.merge_slashes = False
    app.after_request(_without_sniffing)
    refusal = refusing(settings)
    app.before_request(lambda: refusal(request.environ))
    register_problems(app)
    app.register_blueprint(health(proxy.store, proxy.quota, proxy.breaker, proxy.sync, is_draining))
    app.register_blueprint(home_page(settings))
    app.register_blueprint(describing(settings))
    endpoints = read_endpoints(proxy.reviews, settings, time.time)
    reads = Reads(app.wsgi_app, endpoints, refusal, settings.deadline_seconds)
    app.register_blueprint(reads.for_flask())
    app.register_blueprint(batch_reading(proxy.reviews, settings, time.time))
    app.register_blueprint(updating(Updates(proxy.cache), settings))
    if settings.preview:
        # These need the extra `preview`, which settings has checked.
        from proxy.preview.page import known_products, preview_page

        known = known_products(proxy.store, proxy.reviews, settings.business_units[0], time.time, spawn)
        app.register_blueprint(preview_page(app, settings, spawn, known))
    sends = proxy.inviting
    app.register_blueprint(inviting(sends.invitations if sends else None, settings))
    if proxy.inviting and settings.token_endpoint:
        app.register_blueprint(handing_out(proxy.inviting.tokens, settings, time.time))
    _watch(app, reads, proxy, metrics, events)
    _show_status(app, proxy, recent, events)
    return app


def _without_sniffing(response: Response) -> Response:
    response.headers.update([NO_SNIFFING])
    return response


def _show_status(app: Flask, proxy: Proxy, recent: Recent, events: Events) -> None:
    def levels() -> dict[str, Any]:
        events.tell()
        store, pauses = proxy.store, proxy.breaker.pauses()
        copies = {"bytes": store.l1_bytes, **store.ages()._asdict()}
        return {"copies": copies, "pauses": [asdict(pause) for pause in pauses]}

    workers = Workers(recent, levels, telemetry.folder(), time.time)
    proxy.services.append(Every(SNAPSHOT_SECONDS, workers.write, spawn))
    app.register_blueprint(status_page(proxy.settings, workers, proxy.quota, proxy.store, proxy.sync, is_draining))


def _watch(app: Flask, reads: Reads, proxy: Proxy, metrics: Metrics, events: Events) -> None:
    """Put the outermost layers around ``app``; to be called last, as what is put around it later sees less."""

    def set_gauges() -> None:
        events.tell()
        shops = proxy.sync.counts() if proxy.sync and proxy.sync.feed else {}
        metrics.set_gauges(proxy.store, proxy.quota, shops)

    proxy.services.append(Every(GAUGE_SECONDS, set_gauges, spawn))
    app.register_blueprint(metrics_text(metrics.text, set_gauges))
    settings = proxy.settings
    # The response cache sits behind what refuses callers for anything but their credential, and in front of Flask.
    layers: Application = SecretFromQuery(_response_cache(app, reads, proxy))
    if settings.allowed_networks:
        layers = AllowedNetworks(layers, settings.allowed_networks, settings.trusted_hops)
    app.wsgi_app = AccessLog(layers, events.report)  # type: ignore[assignment]  # Flask's documented place for layers


def _response_cache(app: Flask, reads: Reads, proxy: Proxy) -> ResponseCache:
    settings, store = proxy.settings, proxy.store
    max_bytes = int(settings.cache_max_mb * MEBIBYTE * RESPONSE_CACHE_SHARE)
    responses = ResponseStore(max_bytes, time.time, store.backend.l1_ttl)
    response_cache = ResponseCache(
        reads, responses, time.time, settings.deadline_seconds, hear_changes=store.feed.drain
    )
    store.when_changed.append(response_cache.invalidate)
    store.when_refreshed.append(response_cache.drop_stale)
    store.when_missed.append(response_cache.clear)
    proxy.assets.when_found(response_cache.clear)
    app.extensions["response_cache"] = response_cache
    return response_cache


def build(settings: Settings, report: Report = unheard, evicted: Callable[[], None] = lambda: None) -> Proxy:
    """Return the rooms behind the HTTP edge. ``report`` hears what they tell.

    ``evicted`` is called for each copy that had to leave memory.
    """
    backend = _backend(settings, report)
    lifetimes = Lifetimes(
        settings.fresh_seconds, settings.stale_seconds, settings.missing_seconds, confirms=settings.sync != "off"
    )
    store = Tiered(
        backend,
        lifetimes,
        time.time,
        spawn,
        l1_bytes=int(settings.cache_max_mb * MEBIBYTE * (1 - RESPONSE_CACHE_SHARE)),
        fetch_seconds=settings.upstream_timeout_seconds + 2,
        report_eviction=evicted,
    )
    cache = Cache(store, Group(spawn), time.time, lasting=(Rejected, NotFound))
    windows = (Window("5 minutes", settings.calls_per_5_minutes, 300), Window("hour", settings.calls_per_hour, 3600))
    plan = None if settings.calls_per_year is None else Plan(backend, settings.calls_per_year, time.time)
    quota = Quota(backend, windows, plan=plan, workers=settings.workers if settings.shared_store else 1)
    breaker = CircuitBreaker(time.monotonic, report=report)
    transport = Transport(
        timeout=settings.upstream_timeout_seconds, concurrency=settings.upstream_concurrency, report=report
    )
    calls = Calls(transport, Bulkhead(settings.upstream_concurrency), breaker, quota, report)
    trustpilot = Trustpilot(calls, api_url=settings.api_url, api_key=settings.api_key, report=report)

    def fresh_seconds() -> float:
        return lifetimes.fresh * lifetimes.pace.fresh

    shops = Shops(backend, settings.business_units, time.time, fresh_seconds)
    inviting = _inviting(settings, backend, calls, report)
    has_feed = inviting is not None and settings.sync in ("auto", "feed")
    asset_calls = AssetCalls(calls, api_url=settings.api_url, api_key=settings.api_key)
    assets = KeptAssets(asset_calls, backend, settings.api_url, settings.business_units, time.time)
    reviews = ProductReviews(
        cache,
        trustpilot,
        assets.known,
        time.time,
        batch_skus=settings.batch_skus,
        without_reviews=shops.without_reviews_at if has_feed else None,
    )
    asked: Callable[[], int]
    if settings.sync == "off":
        products = Demand(time.time, fresh_seconds)
        cache.validate_with(products.note)
        asked, skus_per_call = products.count, 1
    else:
        validator = Validator(
            cache,
            trustpilot,
            spawn,
            time.time,
            most_skus=settings.batch_skus,
            fresh_seconds=fresh_seconds,
            report=report,
        )
        asked, skus_per_call = (lambda: validator.known), settings.batch_skus
    planner = Planner(quota.plan_use, lifetimes, backend, asked=asked, skus_per_call=skus_per_call, has_feed=has_feed)
    sync = None
    if settings.sync != "off":
        cache.validate_with(validator.want)
        updates = Updates(cache)
        lists = DeletionCalls(calls, api_url=settings.api_url, api_key=settings.api_key)
        deletions = Deletions(
            lists.reviews, lists.consumers, updates, backend, settings.business_units, time.time, report
        )
        feed = comparison = backfill = None
        if inviting is not None and has_feed:
            store.confirm_with(shops.confirmed)
            cache.validate_with(
                lambda key, as_of, fetch: shops.covers(key, as_of) or validator.want(key, as_of, fetch)
            )
            shop_calls = ShopCalls(calls, inviting.tokens, api_url=settings.api_url)
            spans, refetch = validator.spans, reviews.refetch
            comparison = Comparison(shop_calls.summaries, cache, backend, shops, time.time, spans, refetch, report)
            backfill = Backfill(
                shop_calls.feed, shop_calls.summaries, cache, backend, shops, spans, refetch, time.time, report
            )
            fetch_seconds = settings.upstream_timeout_seconds + 2
            touch, add_skus = comparison.touch, shops.add_skus
            feed = FeedReader(shop_calls.feed, updates, time.time, touch, add_skus, report, fetch_seconds)
        sync = Sync(
            backend,
            shops,
            deletions,
            spawn,
            time.time,
            fresh_seconds,
            feed=feed,
            comparison=comparison,
            backfill=backfill,
            compare_seconds=planner.compare_seconds,
            report=report,
        )
    prober = Every(
        INTERVAL_SECONDS, partial(probe, trustpilot, breaker, settings.business_units), spawn, at_once=False
    )
    return Proxy(
        settings,
        backend,
        store,
        cache,
        quota,
        breaker,
        reviews,
        assets,
        inviting,
        sync,
        [
            Every(ASSETS_SECONDS, assets.tick, spawn),
            prober,
            Every(PACE_SECONDS, planner.tick, spawn),
            *([sync] if sync else []),
        ],
    )


def _inviting(settings: Settings, backend: Backend, calls: Calls, report: Report) -> Inviting | None:
    if settings.api_secret is None:
        return None
    grant = Grant(
        calls, api_url=settings.api_url, api_key=settings.api_key, api_secret=settings.api_secret, now=time.time
    )
    if settings.uses_redis:
        # With a patience of its own: nobody renders a message meanwhile, so this may wait longer.
        backend = _redis(settings, report, patience=_INVITING_PATIENCE_SECONDS)
    tokens = Tokens(
        grant.fetch,
        backend,
        Group(spawn),
        time.time,
        account=f"{settings.api_url} {settings.api_key}",
        fetch_seconds=settings.upstream_timeout_seconds + 2,
    )
    api = InvitationApi(
        calls,
        tokens,
        api_url=settings.api_url,
        invitations_url=settings.invitations_url,
        business_user=settings.business_user_id,
    )
    seconds = min(settings.upstream_timeout_seconds, _LONGEST_INVITING_SECONDS)
    idempotency = Idempotency(backend, time.sleep, claim_seconds=seconds + 5)
    return Inviting(
        tokens,
        Invitations(api, idempotency, Group(spawn), secret=settings.api_secret, seconds=seconds),
    )


def _backend(settings: Settings, report: Report) -> Backend:
    if settings.uses_redis:
        return _redis(settings, report)
    if settings.cache_file is None:
        return MemoryBackend()
    max_bytes = int(settings.cache_max_disk_mb * MEBIBYTE)
    return SqliteBackend(settings.cache_file, spawn, max_bytes=max_bytes, offload=_offload(), report=report)


def _redis(settings: Settings, report: Report, *, patience: float | None = None) -> Backend:
    """Return the backend in Redis. ``patience``: seconds that one question may take."""
    # Imported here: Redis is an extra.
    from proxy.cache.redis import RedisBackend
    from proxy.redis_link import PATIENCE_SECONDS, RedisLink

    link = RedisLink(settings.cache_url, patience=patience or PATIENCE_SECONDS, report=report)
    return RedisBackend(link, settings.cache_url, spawn)


def _offload() -> Offload:
    """Return what runs a job that may wait for the disk: beside the greenlets, where there are any."""
    if not is_module_patched("threading"):
        return inline
    # One thread: the file has one writer in each process.
    pool = ThreadPool(1)

    def offload(job: Callable[[], None]) -> None:
        raised: list[BaseException] = []

        def run() -> None:
            # gevent would print what a job raises.
            try:
                job()
            except BaseException as error:  # noqa: BLE001  # raised again in the greenlet that waits
                raised.append(error)

        pool.apply(run)
        if raised:
            raise raised[0]

    return offload
