"""The pages for people, in a real browser: what they say, by which words, and that axe finds nothing in them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page

from proxy.api.pages import EXAMPLES, warnings_of
from tests.browser import faults, visitor
from tests.exposition import value
from tests.running import SECRET, RunningProxy, RunningRedis, RunningSandbox
from tools.examples import recorded

KEY = {"X-Api-Key": SECRET}
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on a phone at night; what it does wrong fails the test."""
    with visitor(browser, viewport={"width": 390, "height": 844}, color_scheme="dark") as page:
        yield page


def _open(page: Page, proxy: RunningProxy, path: str) -> str:
    """Open a page by an address that holds name and secret, as `make run` prints it; return its text."""
    page.goto(proxy.url.replace("//", f"//braze:{SECRET}@") + path)
    return page.inner_text("body")


def _status(proxy: RunningProxy) -> dict[str, Any]:
    told: dict[str, Any] = requests.get(f"{proxy.url}/status", headers=KEY, timeout=20).json()
    return told


def _await_notice(page: Page, words: str) -> None:
    page.locator("#now").get_by_text(words).wait_for()


def test_the_start_shows_a_live_answer_and_leads_to_everything(page: Page, shared_proxy: RunningProxy) -> None:
    _open(page, shared_proxy, "/")
    page.wait_for_selector("blockquote")
    assert faults(page, "start") == []
    assert "Such a great toy truck, my kids really enjoy it!" in page.inner_text("blockquote")
    for address in ("/preview", "/docs", "/status", "/openapi.json"):
        assert page.query_selector(f"main a[href='{address}']")
    page.fill("#sku", "NO-SUCH-SKU")
    page.click("button")
    page.get_by_text("Trustpilot has no reviews of this SKU").wait_for()


def test_the_preview_is_made_where_the_start_leads_to_it(page: Page, shared_proxy: RunningProxy) -> None:
    _open(page, shared_proxy, "/")
    page.locator("main").get_by_role("link", name="Preview a message").click()
    page.frame_locator("#message iframe").get_by_text("Such a great toy truck").wait_for()
    assert faults(page, "preview-from-the-start") == []


@pytest.mark.parametrize("accept", ["*/*", "application/json", None])
def test_who_is_no_browser_gets_the_404_of_any_other_path(shared_proxy: RunningProxy, accept: str | None) -> None:
    answer = requests.get(f"{shared_proxy.url}/", headers={**KEY, "Accept": accept}, timeout=20)
    assert (answer.status_code, answer.json()["found"]) == (404, False)
    assert requests.get(f"{shared_proxy.url}/", headers=HTML, timeout=20).status_code == 401


def test_an_address_can_be_tried_in_the_docs(page: Page, shared_proxy: RunningProxy) -> None:
    text = _open(page, shared_proxy, "/docs")
    assert "curl -u name:secret" in text
    section = page.locator("section", has=page.locator("h2", has_text="GET /v1/reviews"))
    section.get_by_text("Try it").click()
    section.get_by_role("button", name="Ask").click()
    section.get_by_text("200 in").wait_for()
    assert "Kevin Bob" in section.locator(".told pre").inner_text()
    assert faults(page, "docs-tried") == []


def test_the_answers_in_the_docs_are_those_the_proxy_gives_today() -> None:
    def shape(value: object) -> object:
        if isinstance(value, dict):
            return {key: shape(inner) for key, inner in value.items()}
        return [shape(inner) for inner in value] if isinstance(value, list) else type(value)

    assert shape(EXAMPLES) == shape(recorded()), "run: python -m tools.examples"


def test_a_quiet_proxy_is_well(page: Page, proxy: RunningProxy) -> None:
    proxy.get("/v1/reviews", sku="TRUCK-01")
    proxy.get("/v1/reviews", sku="TRUCK-01")
    text = _open(page, proxy, "/status")
    assert faults(page, "status") == []
    assert "All is well" in text
    assert "Answering" in text
    status = _status(proxy)
    assert (status["state"], status["notices"]) == ("well", [])
    assert status["last_hour"]["reads"] == {"hit": 1, "stale": 0, "miss": 1, "failed": 0}
    assert status["last_hour"]["calls"] == {"200": 2}
    copies = status["cache"]
    assert (copies["entries"], copies["fresh"], copies["stale"], copies["gone"]) == (2, 2, 0, 0)
    assert 0 <= copies["average_age_seconds"] <= copies["oldest_age_seconds"] < 60
    assert "age of the oldest" in text
    assert value(proxy, "ccproxy_cache_copies", state="fresh") == 2
    assert value(proxy, "ccproxy_cache_age_seconds_sum") > 0
    assert value(proxy, "ccproxy_cache_oldest_seconds") > 0
    assert status["store"] == {"kind": "memory", "reachable": True}
    assert [window["window"] for window in status["calls"]][:2] == ["5 minutes", "hour"]
    assert status["plan"] == {
        "limit": 200_000,
        "used": 2,
        "today": 2,
        "share_of_today": 547,
        "days_until_used_up": None,
    }
    assert status["sync"] == {"mode": "off", "fresh_seconds": 900, "fresh_seconds_now": 900, "feeds": []}
    assert "2 of 200,000; today 2 of a share of 547" in text
    assert "15 minutes (SYNC is off)" in text
    assert status["settings"]["TRUSTPILOT_API_KEY"] == "set"
    assert SECRET not in str(status) + text


def test_an_outage_is_told_in_words_while_the_page_is_open(
    page: Page, sandbox: RunningSandbox, proxy: RunningProxy
) -> None:
    _open(page, proxy, "/status")
    sandbox.behave("fail", status=500)
    answers = [proxy.get("/v1/reviews", sku=f"SKU-{number}") for number in range(8)]
    _await_notice(page, "Calls to Trustpilot are paused for")
    assert faults(page, "status-in-an-outage") == []
    text = page.inner_text("body")
    assert "This needs attention" in text
    assert "answers were errors of status 5xx" in text
    assert answers[0].headers["X-Request-Id"] in text
    assert "Paused since" in text
    status = _status(proxy)
    assert status["trustpilot"]["state"] == "paused"
    assert "500" in status["trustpilot"]["reason"]
    errors = {error["request_id"]: error["status"] for error in status["errors"]}
    assert {errors[answer.headers["X-Request-Id"]] for answer in answers} == {503}


def test_a_quota_that_is_used_up_is_told(page: Page, sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, TRUSTPILOT_CALLS_PER_5_MINUTES="4") as proxy:
        for number in range(4):
            proxy.get("/v1/summary", sku=f"SKU-{number}")
        text = _open(page, proxy, "/status")
        assert faults(page, "status-quota") == []
        assert "The quota is used up: 4 of 4 calls of the 5 minutes. There is room again in" in text


def test_a_redis_that_is_gone_and_who_answers_are_told(
    page: Page, sandbox: RunningSandbox, redis_server: RunningRedis
) -> None:
    with RunningProxy(sandbox, CACHE_URL=redis_server.url, WEB_CONCURRENCY="2") as proxy:
        while len(_status(proxy)["workers"]["running"]) < 2:
            time.sleep(0.2)
        _open(page, proxy, "/status")
        redis_server.kill()
        _await_notice(page, "The store can't be reached.")
        assert faults(page, "status-redis-gone") == []
        assert "redis, not reachable" in page.inner_text("body")
        assert redis_server.url not in str(_status(proxy))


def test_any_worker_tells_of_all(sandbox: RunningSandbox, redis_server: RunningRedis) -> None:
    with RunningProxy(sandbox, CACHE_URL=redis_server.url, WEB_CONCURRENCY="2") as proxy:
        for number in range(40):
            requests.get(f"{proxy.url}/v1/reviews?sku=", headers={**KEY, "X-Request-Id": f"id-{number}"}, timeout=20)
        deadline = time.monotonic() + 30
        newest: set[str] = set()
        while time.monotonic() < deadline and newest != {f"id-{number}" for number in range(20, 40)}:
            newest = {error["request_id"] for error in _status(proxy)["errors"]}
        assert newest == {f"id-{number}" for number in range(20, 40)}


def test_a_page_whose_proxy_ended_says_so(page: Page, proxy: RunningProxy) -> None:
    _open(page, proxy, "/status")
    proxy.end()
    page.get_by_text("The proxy has not answered this page since").wait_for()


def test_a_plan_that_is_too_small_is_told_and_how_long_copies_are_fresh_now(proxy: RunningProxy) -> None:
    report = _status(proxy)
    assert warnings_of(report, 0) == []
    report["sync"]["fresh_seconds_now"] = 7200
    [warning] = warnings_of(report, 0)
    assert "copies are fresh for 2 hours in place of 15 minutes" in warning
    report["plan"]["used"] = report["plan"]["limit"]
    assert "200,000 calls of the year are used up" in warnings_of(report, 0)[0]


def test_a_feed_that_is_refused_is_told_with_what_takes_its_place(page: Page, sandbox: RunningSandbox) -> None:
    sandbox.behave("fail", status=403, kinds=["feed"])
    with RunningProxy(sandbox, SYNC="auto") as proxy:
        _open(page, proxy, "/status")
        _await_notice(page, "The feed of business unit")
        assert faults(page, "status-feed-refused") == []
        [feed] = _status(proxy)["sync"]["feeds"]
        assert (feed["read_at"], feed["has_all_reviews"], feed["reviews_read"]) == (None, False, 0)
