"""Trustpilot's quota and bad days under load: real gunicorns, a real Redis, the sandbox as Trustpilot."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from proxy.trustpilot.circuit_breaker import INTERVAL_SECONDS, REFRESHES_AT_ONCE
from tests.load import Callers
from tests.running import PATIENT, RunningProxy, RunningRedis, RunningSandbox

SECONDS_EACH = 6


def _reviews(sku: str) -> str:
    return f"/v1/reviews?sku={sku}"


def test_500_first_requests_for_one_sku_make_one_call_over_two_masters_with_two_workers_each(
    sandbox: RunningSandbox, redis_server: RunningRedis
) -> None:
    [sku] = sandbox.generate(1, 100)
    with ExitStack() as started:
        proxies = [
            started.enter_context(
                RunningProxy(
                    sandbox,
                    keep_alive=30,
                    CACHE_URL=redis_server.patient_url,
                    WEB_CONCURRENCY="2",
                    **PATIENT,
                )
            )
            for _ in range(2)
        ]
        many = started.enter_context(Callers(500))
        # Connected before, so that all ask while the one call is under way.
        many.all_at_once(proxies, ["/healthz"] * 500)
        sandbox.behave("slow", seconds=0.5, kinds=["reviews"])
        answers = many.all_at_once(proxies, [_reviews(sku)] * 500)
    assert Counter(answer.status for answer in answers) == {200: 500}
    assert sandbox.calls() == {"reviews": 1}


def test_300_skus_against_a_limit_of_250_make_250_calls(sandbox: RunningSandbox, redis_server: RunningRedis) -> None:
    skus = sandbox.generate(300, 2)
    limit = {"TRUSTPILOT_CALLS_PER_5_MINUTES": "250"}
    settings = {"CACHE_URL": redis_server.patient_url, "WEB_CONCURRENCY": "2", **limit, **PATIENT}
    with RunningProxy(sandbox, keep_alive=30, **settings) as proxy, Callers(100) as callers:
        first = callers.all_at_once([proxy], [_reviews(sku) for sku in skus])
        assert sandbox.calls() == {"reviews": 250}
        assert Counter(answer.status for answer in first) == {200: 250, 503: 50}
        # True: when the oldest call leaves the window of 300 s, not sooner and not much later.
        assert {270 <= answer.retry_after <= 300 for answer in first if answer.status == 503} == {True}
        assert proxy.get("/readyz").json()["calls"]["5 minutes"] == {"used": 250, "limit": 250}


def test_with_copies_held_a_spent_budget_is_answered_stale(
    sandbox: RunningSandbox, redis_server: RunningRedis
) -> None:
    skus = sandbox.generate(100, 2)
    settings = {
        "CACHE_URL": redis_server.patient_url,
        "WEB_CONCURRENCY": "2",
        "CACHE_FRESH_SECONDS": "1",
        "TRUSTPILOT_CALLS_PER_5_MINUTES": "110",
        **PATIENT,
    }
    with RunningProxy(sandbox, keep_alive=30, **settings) as proxy, Callers(100) as callers:
        assert {a.status for a in callers.all_at_once([proxy], [_reviews(sku) for sku in skus])} == {200}
        time.sleep(1.1)
        again = callers.all_at_once([proxy], [_reviews(sku) for sku in skus] * 3)
        assert Counter((answer.status, answer.cache) for answer in again) == {(200, "stale"): 300}
        # 80 % of the window were used by the first round, so nothing was refreshed; the rest serves what has no copy.
        assert sandbox.calls() == {"reviews": 100}
        rest = callers.all_at_once([proxy], [_reviews(f"OTHER-{n}") for n in range(20)])
        assert Counter(answer.status for answer in rest) == {200: 10, 503: 10}
        assert sandbox.calls() == {"reviews": 110}


def test_an_outage_under_load_costs_a_handful_of_calls_and_no_answer(sandbox: RunningSandbox) -> None:
    skus = sandbox.generate(50, 5)
    made: list[tuple[int, float]] = []

    def outage() -> None:
        time.sleep(2)
        sandbox.behave("fail", status=503)
        until = time.monotonic() + 30
        while proxy.get("/readyz").json()["trustpilot"] == "calling":
            assert time.monotonic() < until
            time.sleep(0.05)
        began = time.time()
        time.sleep(INTERVAL_SECONDS + 1)
        made.append((sum(call.at > began for call in sandbox.ledger().calls), time.time() - began))
        sandbox.behave("ok")
        until = time.monotonic() + 30
        while proxy.get(_reviews(skus[0])).headers["X-Cache"] != "hit":
            assert time.monotonic() < until
            time.sleep(0.1)

    with (
        RunningProxy(sandbox, keep_alive=30, CACHE_FRESH_SECONDS="2", TRUSTPILOT_CALLS_PER_5_MINUTES="9999") as proxy,
        Callers(50) as callers,
    ):
        callers.all_at_once([proxy], [_reviews(sku) for sku in skus])
        answers = callers.during(outage, 50, lambda number: proxy.url + _reviews(skus[number % len(skus)]))
    assert Counter(answer.status for answer in answers) == {200: len(answers)}
    # Those that were under way together when the breaker opened, then one per interval.
    [(calls, lasted)] = made
    assert calls <= REFRESHES_AT_ONCE + lasted / INTERVAL_SECONDS


def test_stale_stars_wait_for_no_trustpilot_that_hangs_and_take_few_of_its_calls(sandbox: RunningSandbox) -> None:
    skus = sandbox.generate(40, 5)
    with RunningProxy(sandbox, CACHE_FRESH_SECONDS="1", SYNC="off") as proxy, Callers(40) as callers:
        callers.all_at_once([proxy], [_reviews(sku) for sku in skus])
        time.sleep(1.1)
        sandbox.behave("hang", seconds=3)
        before, began = sandbox.calls().total(), time.monotonic()
        # One after the other, or a few calls would bring all of them.
        answers = [proxy.get("/v1/summary", sku=sku) for sku in skus]
        states = Counter((answer.status_code, answer.headers["X-Cache"]) for answer in answers)
        assert states == {(200, "stale"): len(skus)}
        probes = (time.monotonic() - began) // INTERVAL_SECONDS
        assert 0 < sandbox.calls().total() - before <= REFRESHES_AT_ONCE + probes


@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_a_redis_that_goes_away_under_load_is_not_noticed_by_callers(
    sandbox: RunningSandbox, redis_server: RunningRedis, harm: str
) -> None:
    skus = sandbox.generate(50, 5)
    settings = {"CACHE_URL": redis_server.url, "WEB_CONCURRENCY": "2"}
    with (
        RunningProxy(sandbox, keep_alive=30, **settings) as proxy,
        Callers(100) as callers,
        ThreadPoolExecutor(1) as beside,
    ):
        for _ in range(4):
            callers.all_at_once([proxy], [_reviews(sku) for sku in skus])
        load = beside.submit(callers.steadily, 50, 5, lambda number: proxy.url + _reviews(skus[number % len(skus)]))
        time.sleep(0.5)
        if harm == "kill":
            redis_server.kill()
            time.sleep(2)
            redis_server.start()
        else:
            redis_server.freeze()
            time.sleep(2)
            redis_server.thaw()
        answers = load.result()
        assert Counter(answer.status for answer in answers) == {200: len(answers)}
        # One flight over both workers again.
        sandbox.behave("slow", seconds=0.5)
        before = sandbox.calls()["reviews"]
        callers.all_at_once([proxy], [_reviews("LAMP-01")] * 100)
        assert sandbox.calls()["reviews"] - before == 1
