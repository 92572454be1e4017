"""A preview leaves the live proxy as it was: its breaker, its quota but for the one real render, and its cache."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.running import SECRET, RunningProxy, RunningSandbox

from .conftest import Previewing

KEY = {"X-Api-Key": SECRET}
SKUS = [f"FAIL-{number}" for number in range(12)]
ONE = "{% connected_content https://reviews.example.com/v1/reviews?sku=FAIL-0 :basic_auth a :save r :retry %}x"
CART = (
    f"{{% connected_content https://reviews.example.com/v1/products?skus={','.join(SKUS)} "
    ":basic_auth a :save cart :retry %}{{cart.count}}"
)


def trustpilot_of(proxy: RunningProxy) -> Any:
    return requests.get(f"{proxy.url}/status", headers=KEY, timeout=20).json()["trustpilot"]


@pytest.mark.parametrize(("template", "most"), [(ONE, 2), (CART, len(SKUS) + 1)])
def test_a_failing_preview_leaves_breaker_quota_and_cache_alone(
    sandbox: RunningSandbox, template: str, most: int
) -> None:
    with Previewing(sandbox, PREVIEW="true") as proxy:
        sandbox.behave("fail", status=500)
        for _ in range(3):
            before = sandbox.ledger().total
            result = proxy.render(template)
            assert result["verdict"] == "red"
            assert result["calls"][0]["attempts"] == 6
            # The one real render, and none for the retries and the five people.
            assert 0 < sandbox.ledger().total - before <= most
        assert trustpilot_of(proxy)["state"] != "paused"
        sandbox.behave("ok")
        for sku in ("TRUCK-01", *SKUS[:2]):
            answer = proxy.get("/v1/reviews", sku=sku)
            assert (answer.status_code, answer.headers["X-Cache"]) == (200, "miss"), sku
        before = sandbox.ledger().total
        assert proxy.render(ONE.replace("FAIL-0", "TRUCK-01"))["state"] == "ready"
        assert sandbox.ledger().total == before


def test_the_same_calls_from_braze_open_the_breaker(sandbox: RunningSandbox) -> None:
    with Previewing(sandbox, PREVIEW="true") as proxy:
        sandbox.behave("fail", status=500)
        proxy.get("/v1/products", skus=",".join(SKUS))
        assert trustpilot_of(proxy)["state"] == "paused"
        sandbox.behave("ok")
