"""A real Prometheus with the shipped configuration, looking at a real proxy to which everything has happened."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy.trustpilot.circuit_breaker import RUN
from tests.api.inviting import invite, order
from tests.deploy.shipped import DEPLOY, alerts, dashboard_expressions, rules, selectors
from tests.running import SECRET, Process, RunningProxy, RunningRedis, RunningSandbox, free_port

EXPRESSIONS = [*(rule["expr"] for rule in rules()), *dashboard_expressions()]


class RunningPrometheus(Process):
    """Prometheus with the shipped files, looking every second at ``proxy`` instead of the two in compose.yml."""

    def __init__(self, directory: Path, proxy: RunningProxy) -> None:
        for file in (DEPLOY / "prometheus").iterdir():
            text = file.read_text().replace("proxy-a:8000", proxy.url.removeprefix("http://"))
            text = text.replace("          - proxy-b:8000\n", "").replace("_interval: 15s", "_interval: 1s")
            (directory / file.name).write_text(text)
        (directory / "metrics-secret").write_text(f"{SECRET}\n")
        address = f"127.0.0.1:{free_port()}"
        options = [f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data"]
        command = ["prometheus", *options, f"--web.listen-address={address}"]
        super().__init__(command, os.environ, r"(Server is ready to receive web requests)")
        self.url = f"http://{address}"
        self.quiet: dict[str, list[Any]] = {}
        """What each panel showed before anything happened."""

    def ask(self, path: str, **params: str) -> Any:
        """Return the data of one answer of its API."""
        answer = requests.get(f"{self.url}/api/v1/{path}", params=params, timeout=20)
        assert answer.ok, answer.text
        return answer.json()["data"]

    def series(self, expression: str) -> list[Any]:
        """Return what an expression gives now."""
        result: list[Any] = self.ask("query", query=expression)["result"]
        return result


@pytest.fixture(scope="module")
def prometheus(
    started_sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningPrometheus]:
    started_sandbox.reset()
    with (
        RunningRedis() as redis,
        RunningProxy(
            started_sandbox,
            CACHE_URL=redis.url,
            WEB_CONCURRENCY="2",
            CACHE_FRESH_SECONDS="1",
            TRUSTPILOT_CALLS_PER_HOUR="1000",
        ) as proxy,
        RunningPrometheus(tmp_path_factory.mktemp("prometheus"), proxy) as server,
    ):
        # Two scrapes, so that every rate has something to be made from.
        _await(server, "count_over_time(ccproxy_breaker_open[1m]) > 2")
        server.quiet = {expression: server.series(expression) for expression in dashboard_expressions()}
        _live_through_everything(started_sandbox, redis, proxy)
        _await(server, 'increase(ccproxy_redis_errors_total{kind="unreachable"}[1m]) > 0')
        yield server


def _await(server: RunningPrometheus, expression: str) -> None:
    until = time.monotonic() + 30
    while not server.series(expression):
        assert time.monotonic() < until, f"Prometheus does not see {expression}"
        time.sleep(0.5)


def _live_through_everything(sandbox: RunningSandbox, redis: RunningRedis, proxy: RunningProxy) -> None:
    proxy.get("/v1/reviews", sku="MUG-01")
    proxy.get("/v1/reviews", sku="MUG-01")
    proxy.get("/v1/reviews", sku="")
    requests.get(f"{proxy.url}/v1/reviews?sku=MUG-01", timeout=5)
    assert invite(proxy, order()).status_code == 202
    sandbox.behave("fail", kinds=["invitations"])
    assert invite(proxy, order()).status_code == 503
    time.sleep(1.1)
    sandbox.behave("slow", seconds=0.5)
    assert proxy.get("/v1/reviews", sku="MUG-01").headers["X-Cache"] == "stale"
    for mode, status in (("fail", 401), ("fail", 429), ("garbage", None)):
        sandbox.behave(mode, status=status)
        assert proxy.get("/v1/reviews", sku="LAMP-01").status_code == 503
    sandbox.behave("fail")
    # Each of the two workers has a breaker of its own.
    for number in range(6 * RUN):
        proxy.get("/v1/reviews", sku=f"CUP-{number}")
    redis.kill()
    for number in range(4):
        proxy.get("/v1/reviews", sku=f"LAMP-0{number}")


def test_the_target_is_up_and_scraped_with_the_credential_of_the_file(prometheus: RunningPrometheus) -> None:
    [target] = prometheus.ask("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert target["labels"]["job"] == "connected-content-proxy"


def test_all_rules_are_loaded_and_evaluate(prometheus: RunningPrometheus) -> None:
    loaded = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in loaded} >= {alert["alert"] for alert in alerts()}
    assert {(rule["health"], rule.get("lastError", "")) for rule in loaded} == {("ok", "")}


@pytest.mark.parametrize("selector", sorted({one for text in EXPRESSIONS for one in selectors(text)}))
def test_every_selector_matches_what_the_proxy_shows(prometheus: RunningPrometheus, selector: str) -> None:
    assert prometheus.series(selector), "no series has this name and these labels"


@pytest.mark.parametrize("expression", list(dashboard_expressions()))
def test_a_quiet_proxys_panel_shows_no_nan(prometheus: RunningPrometheus, expression: str) -> None:
    assert [series for series in prometheus.quiet[expression] if series["value"][1] in ("NaN", "+Inf")] == []


@pytest.mark.parametrize("expression", list(dashboard_expressions()))
def test_every_panel_has_something_to_show(prometheus: RunningPrometheus, expression: str) -> None:
    assert prometheus.series(expression)
