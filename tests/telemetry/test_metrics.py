"""Metrics on real sockets: exact over workers, bounded in their labels, and moved by what they are named for."""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter

import pytest
import requests

from proxy.api import route_of
from proxy.events import CallNotMade, Happened, RedisFailed
from proxy.telemetry.metrics import Metrics
from proxy.trustpilot.circuit_breaker import RUN
from tests.exposition import totals, value, values
from tests.load import Callers
from tests.running import RunningProxy, RunningRedis, RunningSandbox


def test_two_workers_metrics_add_up_to_what_was_sent(sandbox: RunningSandbox, redis_server: RunningRedis) -> None:
    skus = sandbox.generate(5, 10)
    paths = {
        ("/v1/reviews", 200): [f"/v1/reviews?sku={sku}" for sku in skus] * 30,
        ("/v1/summary", 200): [f"/v1/summary?sku={sku}" for sku in skus] * 20,
        ("/v1/reviews", 400): ["/v1/reviews?sku="] * 40,
        ("other", 404): ["/nowhere"] * 30,
        ("/healthz", 200): ["/healthz"] * 30,
    }
    with RunningProxy(sandbox, WEB_CONCURRENCY="2", CACHE_URL=redis_server.patient_url, keep_alive=2) as proxy:
        with Callers(20) as many:
            answers = many.all_at_once([proxy], list(itertools.chain(*paths.values())))
        sent = Counter({(route, str(status)): len(asked) for (route, status), asked in paths.items()})

        def counted(name: str, *labels: str) -> Counter[tuple[str, ...]]:
            """Return what was counted of the requests, without those for metrics."""
            told = totals(proxy, name, "route", *labels)
            return Counter({key: number for key, number in told.items() if key[0] != "/metrics"})

        until = time.monotonic() + 10
        # What the worker that is not asked has to tell, it tells a little later.
        while counted("ccproxy_requests_total", "status") != sent and time.monotonic() < until:
            time.sleep(0.05)
        assert counted("ccproxy_requests_total", "status") == sent
        while counted("ccproxy_request_seconds_count").total() < len(answers) and time.monotonic() < until:
            time.sleep(0.05)
        assert counted("ccproxy_request_seconds_count").total() == len(answers)
        caches: Counter[str] = Counter()
        for (_, cache), number in counted("ccproxy_requests_total", "cache").items():
            caches[cache] += number
        assert caches == Counter(answer.cache or "none" for answer in answers)
        calls = sandbox.calls()
        assert {kind: n for (kind,), n in totals(proxy, "ccproxy_upstream_calls_total", "kind").items()} == calls
        used = totals(proxy, "ccproxy_budget_used_calls", "window")
        assert used == {("5 minutes",): calls.total(), ("hour",): calls.total()}
    assert len(set(proxy.workers())) == 2


def test_a_scrape_has_what_its_worker_answered_before_also_over_many_connections(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, keep_alive=30) as proxy, Callers(20) as many:
        many.all_at_once([proxy], ["/v1/reviews?sku="] * 20)
        for number in range(10):
            asked = {"route": "/v1/reviews", "status": "400", "cache": "none"}
            assert value(proxy, "ccproxy_requests_total", **asked) == 20 + number
            proxy.get("/v1/reviews", sku="")


def test_no_label_holds_what_a_caller_writes(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox) as proxy:
        for path in (
            "/v1/reviews?sku=SKU-9",
            "/someone/are-you@x.example",
            "/v1/product-reviews/business-units/SOMEONE/reviews",
        ):
            proxy.get(path)
        requests.request("BREW", f"{proxy.url}/v1/reviews?sku=SKU-9", headers={"X-Api-Key": "SKU-9"}, timeout=5)
        text = proxy.get("/metrics").text
    assert not re.search("SKU-9|SOMEONE|someone|BREW|/v1/reviews\\?", text)


def test_stale_answers_malformed_reviews_evictions_and_the_breaker_are_counted(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, CACHE_FRESH_SECONDS="1", CACHE_MAX_MB="0.05") as proxy:
        proxy.get("/v1/reviews", sku="SPARSE-01")
        assert value(proxy, "ccproxy_malformed_reviews_total") > 0
        for sku in sandbox.generate(20, 20):
            proxy.get("/v1/reviews", sku=sku)
        assert value(proxy, "ccproxy_cache_evictions_total") > 0
        assert 0 < value(proxy, "ccproxy_cache_bytes") <= 0.05 * 1024 * 1024
        assert value(proxy, "ccproxy_cache_entries") > 0
        proxy.get("/v1/reviews", sku="MUG-01")
        time.sleep(1.1)
        sandbox.behave("fail")
        assert proxy.get("/v1/reviews", sku="MUG-01").headers["X-Cache"] == "stale"
        for number in range(RUN):
            proxy.get("/v1/reviews", sku=f"LAMP-0{number}")
        shown = values(proxy.get("/metrics").text)
    assert shown["ccproxy_stale_age_seconds_count", frozenset()] == 1
    assert shown["ccproxy_stale_age_seconds_sum", frozenset()] == 1
    assert shown["ccproxy_breaker_open", frozenset()] == 1
    assert shown["ccproxy_breaker_openings_total", frozenset()] == 1
    assert shown["ccproxy_upstream_calls_total", frozenset({("kind", "reviews"), ("outcome", "500")})] == RUN
    assert shown["ccproxy_upstream_in_flight", frozenset()] == 0


def test_a_redis_that_is_gone_is_counted(sandbox: RunningSandbox, redis_server: RunningRedis) -> None:
    with RunningProxy(sandbox, WEB_CONCURRENCY="1", CACHE_URL=redis_server.url) as proxy:
        proxy.get("/v1/reviews", sku="MUG-01")
        assert value(proxy, "ccproxy_redis_errors_total", kind="unreachable") == 0
        redis_server.kill()
        proxy.get("/v1/reviews", sku="LAMP-01")
        assert value(proxy, "ccproxy_redis_errors_total", kind="unreachable") > 0


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (CallNotMade("budgetspent"), 'ccproxy_upstream_not_made_total{reason="budgetspent"} 1.0'),
        (RedisFailed(refused=True), 'ccproxy_redis_errors_total{kind="refused"} 1.0'),
        (object(), "ccproxy_malformed_reviews_total 0.0"),
    ],
)
def test_an_event_is_counted_under_its_name(event: object, line: str) -> None:
    metrics = Metrics(shared_quota=False)
    metrics.on_events([Happened(event, 0.0, "")])
    assert line in metrics.text().decode().splitlines()


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/product-reviews/business-units/66ea/reviews", "/v1/product-reviews/business-units/{bu}/reviews"),
        ("/v1/product-reviews/business-units/66ea", "/v1/product-reviews/business-units/{bu}"),
        (
            "/v1/private/business-units/66ea/email-invitations",
            "/v1/private/business-units/{bu}/email-invitations",
        ),
        ("/v1/product-reviews/business-units/66ea/", "other"),
        ("/preview/render", "/preview"),
        ("/previewed", "other"),
        ("", "other"),
    ],
)
def test_a_path_is_one_of_a_few_routes(path: str, route: str) -> None:
    assert route_of(path) == route
