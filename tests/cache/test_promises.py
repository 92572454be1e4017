"""The promises about time and calls, on real sockets."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from tests.running import PATIENT, SECRET, RunningProxy, RunningSandbox

SECONDS_EACH = 1.5

# Slack for a busy machine: the promise is the deadline plus 0.2 s.
DEADLINE = 1.0


def _bad_days() -> list[tuple[str, dict[str, Any], int]]:
    return [
        ("hang", {"seconds": 3}, 504),
        ("drip", {"seconds": 0.05}, 504),
        ("fail", {"status": 500}, 503),
        ("rate_limit", {"retry_after": 17}, 503),
        ("reset", {}, 503),
        ("garbage", {}, 503),
        ("html", {}, 503),
        ("huge", {}, 503),
        ("wrong_shape", {}, 503),
        ("truncated", {}, 503),
    ]


def _milliseconds(answer: requests.Response) -> float:
    return float(answer.headers["Server-Timing"].partition("dur=")[2])


def test_300_concurrent_first_requests_with_different_filters_make_one_call(sandbox: RunningSandbox) -> None:
    sandbox.behave("slow", seconds=0.5)
    filters = [f"stars={n % 5 + 1}&limit={n % 20 + 1}&min_chars={n % 7}" for n in range(300)]
    with RunningProxy(sandbox, **PATIENT) as proxy, ExitStack() as connections:
        asked = []
        for each in filters:
            # Not by threads: on a busy machine one of hundreds may connect, and send nothing for seconds.
            asked.append(connections.enter_context(proxy.connection()))
            head = f"GET /v1/reviews?sku=CHAIR-01&{each} HTTP/1.1\r\nHost: proxy\r\nX-Api-Key: {SECRET}\r\n\r\n"
            asked[-1].sendall(head.encode())
        assert {connection.recv(12) for connection in asked} == {b"HTTP/1.1 200"}
    assert sandbox.calls() == {"reviews": 1}


@pytest.mark.parametrize(("mode", "how", "status"), _bad_days())
def test_a_bad_day_is_an_immediate_stale_200_and_without_a_copy_a_clear_problem_in_time(
    sandbox: RunningSandbox, mode: str, how: dict[str, Any], status: int
) -> None:
    with RunningProxy(sandbox, CACHE_FRESH_SECONDS="0.2", DEADLINE_SECONDS=str(DEADLINE)) as proxy:
        good = proxy.get("/v1/reviews", sku="LAMP-01")
        time.sleep(0.3)
        sandbox.behave(mode, **how)
        answer = proxy.get("/v1/reviews", sku="TRUCK-01")
        assert (answer.status_code, answer.json()["found"]) == (status, False), answer.text
        assert _milliseconds(answer) < (DEADLINE + 0.2) * 1000
        assert int(answer.headers["Retry-After"]) >= 1
        empty = proxy.get("/v1/reviews", sku="TRUCK-01", on_error="empty")
        assert (empty.status_code, empty.json()["found"]) == (200, False)
        assert empty.json()["error"]
        for _ in range(5):
            answer = proxy.get("/v1/reviews", sku="LAMP-01")
            assert (answer.status_code, answer.headers["X-Cache"]) == (200, "stale")
            # Not a wait for Trustpilot: far from the deadline.
            assert _milliseconds(answer) < DEADLINE * 1000 / 2
            assert answer.json() == good.json()
        sandbox.behave("ok")


def test_a_late_fetch_of_a_product_with_more_than_a_page_is_summed_up_too(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, DEADLINE_SECONDS="0.3") as proxy:
        sandbox.behave("slow", seconds=1, kinds=["reviews"])
        with ThreadPoolExecutor(5) as callers:
            late = list(callers.map(lambda _: proxy.get("/v1/reviews", sku="TRUCK-01").status_code, range(5)))
        assert late == [504] * 5
        until = time.monotonic() + 10
        while sandbox.calls() != {"reviews": 1, "batch_summaries": 1} and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.3)
        sandbox.behave("fail")
        answer = proxy.get("/v1/reviews", sku="TRUCK-01")
        assert (answer.headers["X-Cache"], answer.json()["summary"]["total"]) == ("hit", 153)


def test_a_product_without_reviews_is_remembered_for_its_own_time(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, CACHE_MISSING_SECONDS="0.5") as proxy:
        answers = [proxy.get("/v1/reviews", sku="NEW-00") for _ in range(3)]
        assert [answer.json()["found"] for answer in answers] == [False] * 3
        assert sandbox.calls() == {"reviews": 1}
        time.sleep(0.6)
        assert proxy.get("/v1/reviews", sku="NEW-00").headers["X-Cache"] == "miss"


def test_summaries_asked_together_share_one_call(sandbox: RunningSandbox, proxy: RunningProxy) -> None:
    skus = [f"{name}-01" for name in ("KETTLE", "LAMP", "SCARF", "MUG", "BIKE", "CHAIR")]
    answer = proxy.get("/v1/summary", sku=",".join(skus))
    assert answer.json()["found"]
    # Variants of one product: Trustpilot merges them.
    assert sandbox.calls() == {"summary": 1}


def test_reviews_come_without_a_summary_that_cannot_be_had(sandbox: RunningSandbox, proxy: RunningProxy) -> None:
    sandbox.behave("fail", kinds=["batch_summaries"])
    answer = proxy.get("/v1/reviews", sku="TRUCK-01")
    assert answer.status_code == 200
    assert (answer.json()["summary"], answer.json()["count"]) == (None, 3)
