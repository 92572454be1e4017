"""One product, one business unit or one odd request that fails, and what becomes of the others. Real processes."""

from __future__ import annotations

import time

import pytest

from tests.load import Callers
from tests.running import UNIT, RunningProxy, RunningSandbox
from tests.trustpilot.upstream import Asked, Upstream

OTHER_UNIT = "5c0a1b2c3d4e5f6a7b8c9d0e"


def test_one_failing_product_keeps_none_of_the_others_from_being_served(sandbox: RunningSandbox) -> None:
    good, bad = sandbox.generate(49, 3), "BAD-APPLE"
    sandbox.behave("fail", skus=[bad])
    settings = {"CACHE_FRESH_SECONDS": "1", "CACHE_STALE_SECONDS": "1", "TRUSTPILOT_CALLS_PER_5_MINUTES": "9999"}
    # Nine times for the one that fails, then for another without a copy.
    skus = [bad if number % 10 < 9 else good[number // 10 % len(good)] for number in range(80)]
    with RunningProxy(sandbox, keep_alive=30, **settings) as proxy, Callers(20) as callers:
        answers = callers.steadily(20, 4, lambda number: f"{proxy.url}/v1/reviews?sku={skus[number]}")
    assert {answer.status for answer, sku in zip(answers, skus, strict=True) if sku != bad} == {200}
    assert {answer.status for answer, sku in zip(answers, skus, strict=True) if sku == bad} == {503}
    # After 0, 1 and 3 seconds, and those that share a call with others.
    assert sum(bad in call.skus for call in sandbox.ledger().calls) < 20


REVIEW = {
    "id": "670d5810ba62e6b31de97de9",
    "stars": 5,
    "content": "Such a great toy truck",
    "createdAt": "2024-10-14T17:42:40.286Z",
    "consumer": {"displayName": "Kevin Bob"},
    "language": "en",
}


def good(asked: Asked) -> tuple[int, object]:
    """Answer as Trustpilot does for a product with one review."""
    if asked.path.endswith("/batch-summaries"):
        return 200, {"summaries": []}
    return 200, {"productReviews": [REVIEW], "links": []}


FAULT = {"fault": {"faultstring": "Forbidden", "detail": {"errorcode": "oauth.v2.InvalidApiKey"}}}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_business_unit_does_not_pause_another(
    sandbox: RunningSandbox, upstream: Upstream, status: int
) -> None:
    upstream.answer = lambda asked: (status, FAULT) if OTHER_UNIT in asked.path else good(asked)
    units = f"{UNIT},{OTHER_UNIT}"
    with RunningProxy(sandbox, TRUSTPILOT_API_URL=upstream.url, TRUSTPILOT_BUSINESS_UNIT_ID=units) as proxy:
        for number in range(12):
            refused = proxy.get("/v1/reviews", sku=f"A-{number}", business_unit=OTHER_UNIT)
            assert refused.status_code == 503
        assert sum(OTHER_UNIT in asked.path for asked in upstream.asked) < 12, "the refused unit pauses"
        assert proxy.get("/v1/reviews", sku="B").status_code == 200


def test_a_firewall_is_told_apart_from_a_wrong_key(sandbox: RunningSandbox, upstream: Upstream) -> None:
    upstream.answers = [(403, b"<html><h1>Access denied</h1></html>")]
    with RunningProxy(sandbox, TRUSTPILOT_API_URL=upstream.url) as proxy:
        answer = proxy.get("/v1/reviews", sku="A")
    assert answer.status_code == 503
    assert "Trustpilot's firewall turns this proxy away" in answer.json()["detail"]
    assert "API key" not in answer.json()["detail"]


def test_a_rejected_request_is_remembered_and_costs_no_further_call(
    sandbox: RunningSandbox, upstream: Upstream
) -> None:
    upstream.answer = lambda asked: (400, {"message": "locale"}) if "locale" in dict(asked.query) else good(asked)
    with RunningProxy(sandbox, TRUSTPILOT_API_URL=upstream.url) as proxy:
        answers = [proxy.get("/v1/reviews", sku="A", locale="xx-XX") for _ in range(20)]
        assert {answer.status_code for answer in answers} == {503}
        assert len(upstream.asked) == 1
        assert proxy.get("/v1/reviews", sku="A").status_code == 200


def test_a_404_keeps_the_copy_that_has_reviews(sandbox: RunningSandbox, upstream: Upstream) -> None:
    upstream.answer = good
    with RunningProxy(sandbox, TRUSTPILOT_API_URL=upstream.url, CACHE_FRESH_SECONDS="0.2") as proxy:
        assert proxy.get("/v1/reviews", sku="A").json()["count"] == 1
        upstream.answer = lambda _asked: (404, {"message": "not found"})
        time.sleep(0.3)
        proxy.get("/v1/reviews", sku="A")
        while len(upstream.asked) < 2:
            time.sleep(0.01)
        time.sleep(0.3)
        kept = proxy.get("/v1/reviews", sku="A")
        assert (kept.json()["count"], kept.headers["X-Cache"]) == (1, "stale")
        assert proxy.get("/v1/reviews", sku="B").json()["found"] is False
