"""Whatever fails, each falls back by itself: another shop, another worker, another way."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.trustpilot import NoAccess
from tests.exposition import totals, value
from tests.running import RunningProxy, RunningRedis, RunningSandbox
from tests.sync.shop import FRESH, Heart
from tests.sync.test_validator import wait_until

SECONDS_EACH = 3


def test_when_the_leader_is_killed_another_goes_on() -> None:
    heart = Heart(has_feed=True)
    heart.shop.add("S0")
    assert heart.backend.lock("sync", 120) is not None
    heart.sync.round()
    assert heart.shop.calls["feed"] == 0
    heart.clock.now += 121
    heart.sync.round()
    assert heart.shop.calls["feed"] == 1


def test_a_list_of_deletions_that_is_refused_is_asked_for_once_an_hour_and_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heart, asked = Heart(), []

    def refused(since: float, _token: str | None) -> tuple[list[str], str | None]:
        asked.append(since)
        raise NoAccess("Trustpilot refuses its list of deletions with 403")

    heart.sync.deletions.reviews = refused
    for _ in range(60):
        heart.sync.round()
        heart.clock.now += 59
    assert len(asked) == 1
    assert "sync of deletions is left alone for an hour: Trustpilot refuses its list of deletions with 403" in (
        caplog.messages
    )
    heart.clock.now += 61
    heart.sync.round()
    assert len(asked) == 2


def test_when_the_process_that_reads_is_killed_another_goes_on_and_nobody_frees_its_lock(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    def proxy() -> RunningProxy:
        url = f"sqlite:///{tmp_path}/shared.sqlite3"
        return RunningProxy(sandbox, SYNC="auto", CACHE_FRESH_SECONDS="2", CACHE_URL=url, WEB_CONCURRENCY="1")

    sandbox.behave("slow", kinds=["feed"], seconds=8)
    with proxy() as leader:
        assert_soon(lambda: sandbox.calls()["feed"] > 0)
        with proxy() as other:
            leader.end()
            sandbox.behave("ok")
            assert_soon(lambda: value(other, "ccproxy_sync_feed_reads_total", outcome="read") > 0)
            [change] = sandbox.change(1, 5, ["added"])
            assert_soon(lambda: change["id"] in other.get("/v1/reviews", sku=change["sku"], limit=20).text)


def test_what_two_look_at_one_reads(tmp_path: Path) -> None:
    one = Heart(has_feed=True, fills=tmp_path)
    one.shop.add("S0")
    other = Heart(has_feed=True, fills=tmp_path, before=one)
    for _ in range(3):
        one.clock.now += FRESH
        one.shop.calls.clear()
        one.sync.round()
        other.sync.round()
        assert one.shop.calls["feed"] <= 2  # with the one page of the backfill


def test_one_shops_403_and_a_401_stop_nothing_else(sandbox: RunningSandbox) -> None:
    second = sandbox.second_business_unit
    sandbox.behave("fail", kinds=["feed"], business_units=[second], status=403)
    units = f"{sandbox.business_unit},{second}"
    with RunningProxy(sandbox, SYNC="auto", CACHE_FRESH_SECONDS="0.5", TRUSTPILOT_BUSINESS_UNIT_ID=units) as proxy:

        def reads(outcome: str) -> int:
            return totals(proxy, "ccproxy_sync_feed_reads_total", "outcome")[outcome,]

        assert_soon(lambda: reads("read") >= 2)
        assert reads("failed") == 1
        for unit in (sandbox.business_unit, second):
            assert proxy.get("/v1/reviews", sku="TRUCK-01", business_unit=unit).json()["found"]
        sandbox.revoke_tokens()
        before = reads("read")
        assert_soon(lambda: reads("read") >= before + 2)
        [change] = sandbox.change(1, 5, ["added"], business_unit=second)
        proxy.get("/v1/reviews", sku=change["sku"], business_unit=second)
        # By its counts.
        assert_soon(
            lambda: change["id"] in proxy.get("/v1/reviews", sku=change["sku"], business_unit=second, limit=20).text
        )


def test_without_redis_copies_are_answered_on(sandbox: RunningSandbox, redis_server: RunningRedis) -> None:
    url = redis_server.url
    with RunningProxy(sandbox, SYNC="auto", CACHE_FRESH_SECONDS="0.5", CACHE_URL=url, WEB_CONCURRENCY="1") as proxy:
        wait_until(proxy, "KETTLE-01", "hit")
        redis_server.kill()
        for _ in range(10):
            answer = proxy.get("/v1/reviews", sku="KETTLE-01")
            assert (answer.status_code, answer.json()["found"]) == (200, True)
            time.sleep(0.1)
        redis_server.start()
        [change] = sandbox.change(1, 5, ["added"])
        proxy.get("/v1/reviews", sku=change["sku"])
        assert_soon(lambda: change["id"] in proxy.get("/v1/reviews", sku=change["sku"], limit=20).text)


def assert_soon(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 40
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.1)
