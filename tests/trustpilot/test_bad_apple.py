"""One product, one business unit or one odd request that fails, and what becomes of the others. Real processes."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.load import Callers
from tests.running import UNIT, RunningProxy, RunningSandbox

OTHER_UNIT = "5c0a1b2c3d4e5f6a7b8c9d0e"


def bad_apple(sandbox: RunningSandbox, seconds: float) -> tuple[Counter[int], Counter[int], int]:
    """Ask 20 times a second, nine times for one failing SKU and then for another of 49 without a copy.

    Return the statuses of the others, those of the failing one, and how many calls the failing one cost.
    """
    good = sandbox.generate(49, 3)
    bad = "BAD-APPLE"
    sandbox.behave("fail", skus=[bad])
    settings = {"CACHE_FRESH_SECONDS": "1", "CACHE_STALE_SECONDS": "1", "TRUSTPILOT_CALLS_PER_5_MINUTES": "9999"}

    def sku(number: int) -> str:
        return bad if number % 10 < 9 else good[number // 10 % len(good)]

    with RunningProxy(sandbox, keep_alive=30, **settings) as proxy, Callers(20) as callers:
        answers = callers.steadily(20, seconds, lambda number: f"{proxy.url}/v1/reviews?sku={sku(number)}")
    others = Counter(answer.status for number, answer in enumerate(answers) if sku(number) != bad)
    failing = Counter(answer.status for number, answer in enumerate(answers) if sku(number) == bad)
    return others, failing, sum(bad in call.skus for call in sandbox.ledger().calls)


def test_one_failing_product_keeps_none_of_the_others_from_being_served(sandbox: RunningSandbox) -> None:
    others, failing, calls = bad_apple(sandbox, 6)
    assert set(others) == {200}
    assert set(failing) == {503}
    # After 0, 1, 2 and 4 seconds, and those that share a call with others.
    assert calls < 20


Answer = Callable[[str, dict[str, list[str]]], tuple[int, str, object]]


@contextmanager
def upstream(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """Serve what ``answer`` says: status, content type, body. Yield the address, and the paths that are asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            address = urlsplit(self.path)
            status, kind, body = answer(address.path, parse_qs(address.query))
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


REVIEW = {
    "id": "670d5810ba62e6b31de97de9",
    "stars": 5,
    "content": "Such a great toy truck",
    "createdAt": "2024-10-14T17:42:40.286Z",
    "consumer": {"displayName": "Kevin Bob"},
    "language": "en",
}
COUNTS = {"total": 1, "oneStar": 0, "twoStars": 0, "threeStars": 0, "fourStars": 0, "fiveStars": 1}


def good(path: str) -> tuple[int, str, object]:
    """Answer as Trustpilot does for a product with one review."""
    if path.endswith("/batch-summaries"):
        return 200, "application/json", {"summaries": []}
    return 200, "application/json", {"productReviews": [REVIEW], "links": []}


FAULT = {"fault": {"faultstring": "Forbidden", "detail": {"errorcode": "oauth.v2.InvalidApiKey"}}}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_business_unit_does_not_pause_another(sandbox: RunningSandbox, status: int) -> None:
    def answer(path: str, query: dict[str, list[str]]) -> tuple[int, str, object]:
        return (status, "application/json", FAULT) if OTHER_UNIT in path else good(path)

    with upstream(answer) as (url, asked):
        units = f"{UNIT},{OTHER_UNIT}"
        with RunningProxy(sandbox, TRUSTPILOT_API_URL=url, TRUSTPILOT_BUSINESS_UNIT_ID=units) as proxy:
            for number in range(12):
                refused = proxy.get("/v1/reviews", sku=f"A-{number}", business_unit=OTHER_UNIT)
                assert refused.status_code == 503
            assert sum(OTHER_UNIT in path for path in asked) < 12, "the refused unit pauses"
            assert proxy.get("/v1/reviews", sku="B").status_code == 200


def test_a_firewall_is_told_apart_from_a_wrong_key(sandbox: RunningSandbox) -> None:
    page = "<html><h1>Access denied</h1></html>"
    with (
        upstream(lambda path, query: (403, "text/html", page)) as (url, _),
        RunningProxy(sandbox, TRUSTPILOT_API_URL=url) as proxy,
    ):
        answer = proxy.get("/v1/reviews", sku="A")
    assert answer.status_code == 503
    assert "Trustpilot's firewall turns this proxy away" in answer.json()["detail"]
    assert "API key" not in answer.json()["detail"]


def test_a_rejected_request_is_remembered_and_costs_no_further_call(sandbox: RunningSandbox) -> None:
    def answer(path: str, query: dict[str, list[str]]) -> tuple[int, str, object]:
        return (400, "application/json", {"message": "locale"}) if query.get("locale") else good(path)

    with upstream(answer) as (url, asked), RunningProxy(sandbox, TRUSTPILOT_API_URL=url) as proxy:
        answers = [proxy.get("/v1/reviews", sku="A", locale="xx-XX") for _ in range(20)]
        assert {answer.status_code for answer in answers} == {503}
        assert len(asked) == 1
        assert proxy.get("/v1/reviews", sku="A").status_code == 200


def test_a_404_keeps_the_copy_that_has_reviews(sandbox: RunningSandbox) -> None:
    gone = threading.Event()

    def answer(path: str, query: dict[str, list[str]]) -> tuple[int, str, object]:
        return (404, "application/json", {"message": "not found"}) if gone.is_set() else good(path)

    with (
        upstream(answer) as (url, asked),
        RunningProxy(sandbox, TRUSTPILOT_API_URL=url, CACHE_FRESH_SECONDS="0.2") as proxy,
    ):
        assert proxy.get("/v1/reviews", sku="A").json()["count"] == 1
        gone.set()
        time.sleep(0.3)
        proxy.get("/v1/reviews", sku="A")
        while len(asked) < 2:
            time.sleep(0.01)
        time.sleep(0.3)
        kept = proxy.get("/v1/reviews", sku="A")
        assert (kept.json()["count"], kept.headers["X-Cache"]) == (1, "stale")
        assert proxy.get("/v1/reviews", sku="B").json()["found"] is False
