"""Who may call what: browsers sent by another site, anonymous readers, a secret in the query, odd addresses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from proxy.api import DROP_IN_REVIEWS, DROP_IN_SUMMARY
from proxy.middleware.response_cache import RequestKey
from tests.exposition import value
from tests.running import SECRET, UNIT, RunningProxy, RunningSandbox

DROP_IN = f"/v1/product-reviews/business-units/{UNIT}"
TOKEN = "/v1/oauth/oauth-business-users-for-applications/accesstoken"
INVITATIONS = f"/v1/private/business-units/{UNIT}/email-invitations"
WRITING = ["/v1/cache/purge?sku=A", "/hooks/trustpilot", "/v1/invitations", INVITATIONS, TOKEN, "/preview/tag"]


@pytest.fixture(scope="module")
def anonymous(started_sandbox: RunningSandbox) -> Iterator[RunningProxy]:
    started_sandbox.reset()
    with RunningProxy(started_sandbox, PROXY_ALLOW_ANONYMOUS="true", PREVIEW="true") as proxy:
        yield proxy


@pytest.mark.parametrize("path", WRITING)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://OWN.evil.test"},
        {"Origin": "http://evil.test/OWN"},
        {"Origin": "https://OWN@evil.test"},
        {"Origin": "evil"},
        {"Origin": "http://OWN", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_browser_sent_by_another_site_changes_nothing(
    shared_proxy: RunningProxy, path: str, headers: dict[str, str]
) -> None:
    own = shared_proxy.url.removeprefix("http://")
    sent = {name: value.replace("OWN", own) for name, value in headers.items()}
    answer = requests.post(shared_proxy.url + path, headers=sent, auth=("braze", SECRET), timeout=20)
    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "another site" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://OWN"},
        {"Origin": "https://shop.example", "Host": "shop.example"},
        {"Origin": "https://shop.example", "Host": "shop.example:443"},
        {"Origin": "https://Shop.Example", "Host": "shop.example"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_servers_and_the_proxys_own_page_are_let_through(shared_proxy: RunningProxy, headers: dict[str, str]) -> None:
    own = shared_proxy.url.removeprefix("http://")
    sent = {name: value.replace("OWN", own) for name, value in headers.items()}
    answer = requests.post(
        f"{shared_proxy.url}/v1/cache/purge?sku=A", headers=sent, auth=("braze", SECRET), timeout=5
    )
    assert answer.status_code == 200


def test_reading_from_another_site_is_reading(shared_proxy: RunningProxy, sandbox: RunningSandbox) -> None:
    headers = {"X-Api-Key": SECRET, "Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}
    assert requests.get(f"{shared_proxy.url}/v1/reviews?sku=MUG-01", headers=headers, timeout=20).status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        "//metrics",
        "///metrics",
        "//x/metrics",
        "//healthz",
        "//v1/reviews?sku=MUG-01",
        "//preview",
        "//openapi.json",
        "http://x//metrics",
        "metrics",
    ],
)
def test_an_address_with_slashes_too_many_in_front_is_none(shared_proxy: RunningProxy, target: str) -> None:
    sent = f"GET {target} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {SECRET}\r\nConnection: close\r\n\r\n"
    head, _, body = shared_proxy.raw(sent.encode()).partition(b"\r\n\r\n")
    assert head.split(b" ")[1] in (b"404", b"400"), target
    assert b"application/problem+json" in head
    assert b"ccproxy_" not in body


@pytest.mark.parametrize("path", ["/metrics", "/preview", "/preview/ready", "/preview/static/preview.js", "/nowhere"])
def test_anonymous_callers_read_reviews_and_nothing_else(anonymous: RunningProxy, path: str) -> None:
    answer = requests.get(anonymous.url + path, timeout=20)
    assert answer.status_code == 401
    assert "needs a credential" in answer.json()["detail"]
    assert requests.get(anonymous.url + path, headers={"X-Api-Key": SECRET}, timeout=20).status_code in (200, 404)
    for open_path in (f"{DROP_IN}?sku=MUG-01", "/v1/reviews?sku=MUG-01", "/openapi.json", "/docs"):
        assert requests.get(anonymous.url + open_path, timeout=20).status_code == 200


def test_anonymous_callers_read_summaries_by_post_too(anonymous: RunningProxy) -> None:
    answer = requests.post(f"{anonymous.url}{DROP_IN}/batch-summaries", json={"skus": ["MUG-01"]}, timeout=20)
    assert [summary["sku"] for summary in answer.json()["summaries"]] == ["MUG-01"]


def test_without_any_credential_the_metrics_say_what_they_want(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, PROXY_ALLOW_ANONYMOUS="true", PROXY_CREDENTIALS="") as proxy:
        answer = requests.get(f"{proxy.url}/metrics", timeout=20)
        assert requests.get(f"{proxy.url}/v1/reviews?sku=MUG-01", timeout=20).status_code == 200
    assert answer.status_code == 401
    assert "PROXY_CREDENTIALS holds none" in answer.json()["detail"]


@pytest.mark.parametrize("path", [f"{DROP_IN}/reviews", DROP_IN])
def test_on_the_drop_in_urls_the_secret_may_stand_in_the_query(
    sandbox: RunningSandbox, proxy: RunningProxy, path: str
) -> None:
    asked = f"{proxy.url}{path}?sku=TRUCK-01"
    in_header = requests.get(asked, headers={"apikey": SECRET}, timeout=20)
    in_query = [
        requests.get(f"{proxy.url}{path}?{query}", timeout=20)
        for query in (
            f"apikey={SECRET}&sku=TRUCK-01",
            f"sku=TRUCK-01&apikey={SECRET}",
            f"sku=TRUCK-01&%61pikey={SECRET}",
        )
    ]
    assert [answer.status_code for answer in (in_header, *in_query)] == [200] * 4
    assert [answer.json() for answer in in_query] == [in_header.json()] * 3
    assert [answer.headers["X-Cache"] for answer in in_query] == ["hit"] * 3
    assert all("X-Ignored-Parameters" not in answer.headers for answer in in_query)
    assert not [answer for answer in in_query if SECRET in answer.text + str(answer.headers)]
    assert sum(sandbox.calls().values()) == 1
    assert requests.get(f"{asked}&apikey=wrong-secret", timeout=20).status_code == 401
    assert requests.get(f"{asked}&apikey=", timeout=20).status_code == 401
    mistaken = requests.get(f"{proxy.url}{path}?sku=&apikey={SECRET}", timeout=20)
    assert mistaken.status_code == 400
    assert SECRET not in mistaken.text
    for route in (DROP_IN_REVIEWS, DROP_IN_SUMMARY):
        assert value(proxy, "ccproxy_requests_total", route=route, status="200", cache=SECRET) == 0
    assert SECRET not in proxy.get("/metrics").text
    assert not [line for line in proxy.log if SECRET in line or "wrong-secret" in line]


def test_the_summaries_of_a_batch_take_the_secret_in_the_query_too(shared_proxy: RunningProxy) -> None:
    address, asked = f"{shared_proxy.url}{DROP_IN}/batch-summaries", {"skus": ["TRUCK-01"]}
    answer = requests.post(f"{address}?apikey={SECRET}", json=asked, timeout=20)
    assert answer.status_code == 200
    assert [summary["sku"] for summary in answer.json()["summaries"]] == ["TRUCK-01"]
    assert requests.post(f"{address}?apikey=wrong-secret", json=asked, timeout=20).status_code == 401
    assert not [line for line in shared_proxy.log if SECRET in line]


def test_the_next_page_is_linked_without_the_secret(proxy: RunningProxy, sandbox: RunningSandbox) -> None:
    answer = requests.get(f"{proxy.url}{DROP_IN}/reviews?apikey={SECRET}&sku=TRUCK-01&perPage=2", timeout=20)
    [link] = answer.json()["links"]
    assert link["href"] == f"{DROP_IN}/reviews?sku=TRUCK-01&perPage=2&page=2"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/reviews?sku=A",
        "/v1/products?skus=A",
        "/v1/summary?sku=A",
        "/metrics?x",
        "/openapi.json?x",
        f"{DROP_IN}/?sku=A",
        f"{DROP_IN}/x?sku=A",
        f"/{DROP_IN}?sku=A",
    ],
)
def test_elsewhere_a_secret_in_the_query_counts_for_nothing(shared_proxy: RunningProxy, path: str) -> None:
    # Not by requests, of which older ones take one slash of two away.
    answer = shared_proxy.raw(f"GET {path}&apikey={SECRET} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert SECRET.encode() not in answer


@pytest.mark.parametrize("path", ["/v1/cache/purge?sku=A", INVITATIONS + "?x", TOKEN + "?x", "/hooks/trustpilot?x"])
def test_nothing_is_changed_by_a_secret_in_the_query(shared_proxy: RunningProxy, path: str) -> None:
    answer = requests.post(f"{shared_proxy.url}{path}&apikey={SECRET}", timeout=20)
    assert answer.status_code == 401


def test_a_cached_answers_request_shows_no_credential() -> None:
    environ = {"PATH_INFO": DROP_IN, "QUERY_STRING": "sku=A", "HTTP_APIKEY": SECRET}
    assert SECRET not in repr(RequestKey.of(environ))
