"""The response cache in the running proxy, over real sockets."""

from __future__ import annotations

import time

import pytest
import requests

from proxy.middleware import response_cache
from tests.running import SECRET, RunningProxy, RunningRedis, RunningSandbox, Served, served_here

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


@pytest.mark.parametrize("shared", [False, True])
def test_a_refresh_that_lands_replaces_the_stale_answer_at_once_in_every_process(
    sandbox: RunningSandbox, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, *, shared: bool
) -> None:
    url = request.getfixturevalue("redis_server").url if shared else "memory://"
    # So that nothing but the refresh ends it.
    monkeypatch.setattr(response_cache, "STALE_SECONDS", 1000)
    sandbox.put_product("A", [REVIEW])
    settings = {"CACHE_FRESH_SECONDS": "1", "CACHE_URL": url}
    with served_here(sandbox, **settings) as one, served_here(sandbox, **settings) as other:
        for each in (one, other):
            assert contents(read(each)) == ["First"]
        sandbox.put_product("A", [{**REVIEW, "content": "Second"}])
        time.sleep(1.1)
        sandbox.behave("slow", seconds=0.5, kinds=["reviews"])
        states = [read(each).headers["X-Cache"] for each in (one, other)]
        # A busy machine may ask the other after the refresh.
        assert states[0] == "stale"
        until = time.monotonic() + 20
        for each in (one, other):
            while contents(read(each)) != ["Second"]:
                assert time.monotonic() < until
                time.sleep(0.02)


def read(proxy: Served) -> requests.Response:
    return requests.get(f"{proxy.url}/v1/reviews?sku=A", headers={"X-Api-Key": SECRET}, timeout=20)


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
