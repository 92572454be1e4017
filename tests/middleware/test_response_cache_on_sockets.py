"""The response cache in the running proxy, over real sockets."""

from __future__ import annotations

import time
from collections import Counter

import pytest
import requests

from tests.load import Callers
from tests.running import SECRET, UNIT, RunningProxy, RunningRedis, RunningSandbox

REVIEW = {"stars": 5, "content": "First", "createdAt": "2024-01-01T00:00:00Z", "id": "r1"}


def contents(answer: requests.Response) -> list[str]:
    return [review["content"] for review in answer.json()["reviews"]]


def posted(proxy: RunningProxy, path: str, json: object = None) -> None:
    requests.post(proxy.url + path, json=json, headers={"X-Api-Key": SECRET}, timeout=20).raise_for_status()


@pytest.mark.parametrize("shared", [False, True])
def test_a_purge_and_a_webhook_reach_every_repeat(
    sandbox: RunningSandbox, request: pytest.FixtureRequest, *, shared: bool
) -> None:
    url = "memory://"
    if shared:
        redis_server: RunningRedis = request.getfixturevalue("redis_server")
        url = redis_server.url
    sandbox.put_product("A", [REVIEW])
    with (
        RunningProxy(sandbox, CACHE_URL=url, WEB_CONCURRENCY="1") as proxy,
        RunningProxy(sandbox, CACHE_URL=url, WEB_CONCURRENCY="1") as other,
    ):
        paths = ["/v1/reviews?sku=A", "/v1/products?skus=B,A", "/v1/summary?sku=A"]
        for path in paths * 2:
            proxy.get(path)
            other.get(path)
        assert [proxy.get(path).headers["X-Cache"] for path in paths] == ["hit"] * 3
        sandbox.put_product("A", [{**REVIEW, "content": "Second"}])
        posted(proxy, "/v1/cache/purge?sku=A")
        assert contents(proxy.get(paths[0])) == ["Second"]
        assert proxy.get(paths[1]).json()["products"][1]["reviews"][0]["content"] == "Second"
        # As at Trustpilot, where what the event leaves out is fetched from.
        sandbox.put_product("A", [{**REVIEW, "content": "Third"}])
        event = {**REVIEW, "content": "Third", "product": {"sku": "A"}, "consumer": {"displayName": "x"}}
        posted(
            proxy,
            "/hooks/trustpilot",
            {"events": [{"eventName": "product-review-updated", "version": "1", "eventData": event}]},
        )
        assert contents(proxy.get(paths[0])) == ["Third"]
        if shared:
            # Heard from the other process, within its promise; not when the freshness ends in 15 minutes.
            until = time.monotonic() + 6
            while contents(other.get(paths[0])) != ["Third"]:
                assert time.monotonic() < until
                time.sleep(0.05)


def test_a_repeat_is_a_hit_until_its_freshness_ends_and_says_so(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, CACHE_FRESH_SECONDS="3") as proxy:
        answers: list[tuple[float, requests.Response]] = []
        began = time.monotonic()
        # Until the freshness has ended, however long a busy machine takes for the first answer.
        while not answers or (answers[-1][1].headers["X-Cache"] != "stale" and time.monotonic() - began < 20):
            answers.append((time.monotonic() - began, proxy.get("/v1/reviews?sku=MUG-01")))
            time.sleep(0.2)
    hits = [(at, answer.headers) for at, answer in answers[1:] if answer.headers["X-Cache"] == "hit"]
    first_fetch_ends = answers[1][0]
    for at, headers in hits:
        left = int(headers["Cache-Control"].removeprefix("private, max-age="))
        assert int(headers["Age"]) + left in (2, 3)
        if at <= first_fetch_ends + 2.8:
            assert int(headers["Age"]) <= at + 1
    assert "stale" in {answer.headers["X-Cache"] for _, answer in answers}


def test_in_an_outage_identical_stale_requests_are_answered_by_the_response_cache(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, CACHE_FRESH_SECONDS="1") as proxy:
        proxy.get("/v1/reviews?sku=MUG-01")
        sandbox.behave("fail")
        time.sleep(1.1)
        answers = [proxy.get("/v1/reviews?sku=MUG-01") for _ in range(20)]
        assert {answer.headers["X-Cache"] for answer in answers} == {"stale"}
        assert {answer.headers["Cache-Control"] for answer in answers} == {"private, max-age=0"}
        assert all(1 <= int(answer.headers["Age"]) <= 30 for answer in answers)
        posted(proxy, "/v1/cache/purge?sku=MUG-01")
        assert proxy.get("/v1/reviews?sku=MUG-01").status_code == 503


@pytest.mark.parametrize("shared", [False, True])
def test_a_refresh_that_lands_replaces_the_stale_answer_at_once_in_every_process(
    sandbox: RunningSandbox, request: pytest.FixtureRequest, *, shared: bool
) -> None:
    url = request.getfixturevalue("redis_server").url if shared else "memory://"
    sandbox.put_product("A", [REVIEW])
    with (
        RunningProxy(sandbox, CACHE_FRESH_SECONDS="2", CACHE_URL=url, WEB_CONCURRENCY="1") as proxy,
        RunningProxy(sandbox, CACHE_FRESH_SECONDS="2", CACHE_URL=url, WEB_CONCURRENCY="1") as other,
    ):
        path = "/v1/reviews?sku=A"
        for each in (proxy, other):
            each.get(path)
        sandbox.put_product("A", [{**REVIEW, "content": "Second"}])
        time.sleep(2.1)
        assert {contents(each.get(path))[0] for each in (proxy, other)} <= {"First", "Second"}
        until = time.monotonic() + 10
        for each in (proxy, other):
            while contents(each.get(path)) != ["Second"]:
                assert time.monotonic() < until
                time.sleep(0.02)
            assert each.get(path).headers["X-Cache"] in {"hit", "stale"}


def test_different_credentials_never_share(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox) as proxy:
        url = f"{proxy.url}/v1/reviews?sku=MUG-01"
        for _ in range(2):
            assert requests.get(url, headers={"X-Api-Key": SECRET}, timeout=20).status_code == 200
        wrong = [{}, {"X-Api-Key": "wrong"}, {"apikey": "wrong"}, {"Authorization": f"Basic {SECRET}"}]
        assert [requests.get(url, headers=shown, timeout=20).status_code for shown in wrong * 2] == [401] * 8
        right = [{"apikey": SECRET}, {"Authorization": f"Bearer {SECRET}"}]
        assert [requests.get(url, headers=shown, timeout=20).status_code for shown in right * 2] == [200] * 4


def test_an_unknown_parameter_is_named_on_every_repeat_and_costs_no_call(
    sandbox: RunningSandbox, proxy: RunningProxy
) -> None:
    for number in (1, 1, 2):
        answer = proxy.get(f"/v1/reviews?sku=MUG-01&cache_id={number}")
        assert answer.headers["X-Ignored-Parameters"] == "cache_id"
    assert sandbox.calls() == {"reviews": 1}


def test_gzip_is_for_those_who_take_it_and_bodies_worth_it(proxy: RunningProxy) -> None:
    def got(path: str, accepts: str) -> requests.Response:
        headers = {"X-Api-Key": SECRET, "Accept-Encoding": accepts}
        return requests.get(proxy.url + path, headers=headers, timeout=20)

    large, small = "/v1/reviews?sku=TRUCK-01&limit=20", "/v1/summary?sku=TRUCK-01"
    for _ in range(2):
        plain, packed = got(large, "gzip;q=0"), got(large, "gzip")
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 2
        assert packed.json() == plain.json()
        assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
        assert "Content-Encoding" not in got(small, "gzip").headers


def test_a_head_request_has_the_headers_and_no_body(proxy: RunningProxy) -> None:
    path = f"{proxy.url}/v1/reviews?sku=MUG-01"
    for _ in range(2):
        proxy.get("/v1/reviews?sku=MUG-01")
        answer = requests.head(path, headers={"X-Api-Key": SECRET}, timeout=20)
        assert (answer.status_code, answer.content, answer.headers["X-Cache"]) == (200, b"", "hit")


def test_300_first_requests_share_one_call_and_one_making(sandbox: RunningSandbox) -> None:
    # Long enough for all to be read while the one call is under way, on a machine whose other core is busy too.
    upstream = 3.0
    with RunningProxy(sandbox, keep_alive=30, DEADLINE_SECONDS="8") as proxy, Callers(300) as callers:
        callers.all_at_once([proxy], ["/healthz"] * 300)
        sandbox.behave("slow", seconds=upstream)
        path = f"/v1/product-reviews/business-units/{UNIT}/reviews?sku=TRUCK-01&perPage=100"
        answers = callers.all_at_once([proxy], [path] * 300)
        assert Counter((answer.status, answer.cache) for answer in answers)[200, "miss"] >= 290
        assert sandbox.calls() == {"reviews": 1}
        sandbox.behave("fail", times=1, kinds=["reviews"])
        failed = callers.all_at_once([proxy], ["/v1/reviews?sku=LAMP-01"] * 300)
        assert Counter(answer.status for answer in failed)[503] >= 1
        assert sandbox.calls()["reviews"] <= 3
