"""Bad requests: each has its exact status, a detail that names the mistake, and never reaches Trustpilot."""

from __future__ import annotations

import pytest
import requests

from tests.running import SECRET, UNIT, RunningProxy, RunningSandbox

DROP_IN = f"/v1/product-reviews/business-units/{UNIT}"
R = "/v1/reviews"
BAD = [
    (f"{R}", 400, "sku: required"),
    (f"{R}?sku=", 400, "rendered to nothing"),
    (f"{R}?sku=%20", 400, "rendered to nothing"),
    (f"{R}?sku=,", 400, "rendered to nothing"),
    (f"{R}?sku=A,,B", 400, "rendered to nothing"),
    (f"{R}?sku=A&sku=", 400, "rendered to nothing"),
    (f"{R}?sku=%7B%7Bitem.sku%7D%7D", 400, "unrendered Liquid"),
    (f"{R}?sku=$%7Bitem_sku%7D", 400, "unrendered Liquid"),
    (f"{R}?sku=%7B%25if%25%7D", 400, "unrendered Liquid"),
    (f"{R}?product_url=", 400, "product_url is '': an empty address: the Liquid variable rendered to nothing"),
    (f"{R}?product_url=https%3A%2F%2Fs.example%2F%7B%7Bx%7D%7D", 400, "unrendered Liquid: the Liquid variable"),
    (f"{R}?product_url=truck", 400, "takes an address such as https://shop.example/truck"),
    (f"{DROP_IN}/reviews?productUrl=", 400, "productUrl is '': an empty address"),
    (f"{R}?sku=a%00b", 400, "control character"),
    (f"{R}?sku=a%0Ab", 400, "control character"),
    (f"{R}?sku=a%7Fb", 400, "control character"),
    (f"{R}?sku=%ff%fe", 400, "not valid UTF-8"),
    (f"{R}?sku=a&language=%ff", 400, "language"),
    (f"{R}?sku={'x' * 201}", 400, "201 characters"),
    (f"{R}?sku={','.join(f's{n}' for n in range(51))}", 400, "51 SKUs"),
    (f"{R}?skus=A", 400, "sku: required"),
    (f"{R}?sku=A&stars=0", 400, "stars is '0'"),
    (f"{R}?sku=A&stars=6", 400, "stars is '6'"),
    (f"{R}?sku=A&stars=five", 400, "stars is 'five'"),
    (f"{R}?sku=A&stars=", 400, "stars is ''"),
    (f"{R}?sku=A&stars=4,,5", 400, "stars is ''"),
    (f"{R}?sku=A&stars=4.5", 400, "stars is '4.5'"),
    (f"{R}?sku=A&stars=-1", 400, "stars is '-1'"),
    (f"{R}?sku=A&stars=%D9%A3", 400, "stars is"),
    (f"{R}?sku=A&language=eng", 400, "language is 'eng'"),
    (f"{R}?sku=A&language=e", 400, "language is 'e'"),
    (f"{R}?sku=A&language=", 400, "language is ''"),
    (f"{R}?sku=A&language=e1", 400, "language is 'e1'"),
    (f"{R}?sku=A&limit=0", 400, "limit is '0'"),
    (f"{R}?sku=A&limit=21", 400, "limit is '21'"),
    (f"{R}?sku=A&limit=-1", 400, "limit is '-1'"),
    (f"{R}?sku=A&limit=abc", 400, "limit is 'abc'"),
    (f"{R}?sku=A&limit=", 400, "limit is ''"),
    (f"{R}?sku=A&limit=1e1", 400, "limit is '1e1'"),
    (f"{R}?sku=A&limit={'9' * 500}", 400, "limit is '999"),
    (f"{R}?sku=A&limit=3&limit=4", 400, "limit: given 2 times"),
    (f"{R}?sku=A&limit=%D9%A3", 400, "limit is"),
    (f"{R}?sku=A&sort=oldest", 400, "sort is 'oldest'"),
    (f"{R}?sku=A&sort=", 400, "sort is ''"),
    (f"{R}?sku=A&sort=newest&sort=newest", 400, "sort: given 2 times"),
    (f"{R}?sku=A&min_chars=-1", 400, "min_chars is '-1'"),
    (f"{R}?sku=A&min_chars=x", 400, "min_chars is 'x'"),
    (f"{R}?sku=A&min_chars=10001", 400, "min_chars is '10001'"),
    (f"{R}?sku=A&max_chars=19", 400, "max_chars is '19'"),
    (f"{R}?sku=A&max_chars=2001", 400, "max_chars is '2001'"),
    (f"{R}?sku=A&max_age_days=0", 400, "max_age_days is '0'"),
    (f"{R}?sku=A&max_age_days=3651", 400, "max_age_days is '3651'"),
    (f"{R}?sku=A&with_image=1", 400, "with_image is '1'"),
    (f"{R}?sku=A&min_reviews=-1", 400, "min_reviews is '-1'"),
    (f"{R}?sku=A&min_average=4,25", 400, "min_average is '4,25': takes a number from 1 to 5, such as 4.25"),
    (f"{R}?sku=A&min_average=0.9", 400, "min_average is '0.9'"),
    (f"{R}?sku=A&min_average=5.01", 400, "min_average is '5.01'"),
    (f"{R}?sku=A&min_average=nan", 400, "min_average is 'nan'"),
    (f"{R}?sku=A&min_average=", 400, "min_average is ''"),
    (f"{R}?sku=A&format=xml", 400, "format is 'xml'"),
    (f"{R}?sku=A&locale=english", 400, "locale is 'english'"),
    (f"{R}?sku=A&locale=en-USA", 400, "locale is 'en-USA'"),
    (f"{R}?sku=A&business_unit=nobody", 400, "business_unit is 'nobody'"),
    (f"{R}?sku=A&on_error=ignore", 400, "on_error is 'ignore'"),
    ("/v1/products", 400, "skus: required"),
    ("/v1/products?skus=", 400, "rendered to nothing"),
    ("/v1/products?sku=A", 400, "skus: required"),
    ("/v1/products?skus=A&limit=0", 400, "limit is '0'"),
    ("/v1/summary", 400, "sku: required"),
    ("/v1/summary?sku=%20%20", 400, "rendered to nothing"),
    (f"{DROP_IN}/reviews", 400, "sku: required"),
    (f"{DROP_IN}/reviews?sku=A&page=0", 400, "page is '0'"),
    (f"{DROP_IN}/reviews?sku=A&perPage=101", 400, "perPage is '101'"),
    (f"{DROP_IN}/reviews?sku=A&page=11&perPage=100", 400, "reaches too far"),
    (f"{DROP_IN}?sku=", 400, "rendered to nothing"),
    (
        "/v1/product-reviews/business-units/nobody/reviews?sku=A",
        404,
        "business unit 'nobody' is not one of those",
    ),
    (
        "/v1/product-reviews/business-units/nobody?sku=A",
        404,
        "business unit 'nobody' is not one of those",
    ),
    ("/", 404, "nothing at this address"),
    ("/v1", 404, "nothing at this address"),
    ("/v1/reviews/", 404, "nothing at this address"),
    ("/v1/reviews%00", 404, "nothing at this address"),
    ("/v2/reviews?sku=A", 404, "nothing at this address"),
    ("/../etc/passwd", 404, "nothing at this address"),
]


def _raw(proxy: RunningProxy, method: str, path: str, *headers: str) -> tuple[int, str]:
    """Send bytes as they are, where a client library would tidy them."""
    lines = [f"{method} {path} HTTP/1.1", "Host: proxy", "Connection: close", *headers, "", ""]
    answer = proxy.raw("\r\n".join(lines).encode("latin-1")).decode()
    return int(answer.split(" ", 2)[1]), answer


@pytest.mark.parametrize(("path", "status", "detail"), BAD)
def test_a_bad_request_is_told_what_is_wrong(
    sandbox: RunningSandbox, shared_proxy: RunningProxy, path: str, status: int, detail: str
) -> None:
    got, answer = _raw(shared_proxy, "GET", path, f"X-Api-Key: {SECRET}")
    assert got == status
    assert "application/problem+json" in answer
    assert '"found": false' in answer
    assert detail in answer
    assert sandbox.calls() == {}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_wrong_method_is_a_405_that_names_the_right_one(shared_proxy: RunningProxy, method: str) -> None:
    answer = requests.request(
        method, f"{shared_proxy.url}/v1/reviews?sku=A", headers={"X-Api-Key": SECRET}, timeout=5
    )
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]
    assert f"{method} is not allowed here" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Api-Key": "wrong"},
        {"apikey": "é".encode().decode("latin-1")},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic YnJhemU6d3Jvbmc="},
        {"Authorization": "Basic b3RoZXI6dGVzdC1zZWNyZXQ="},
        {"Authorization": "Digest x"},
    ],
)
def test_no_or_a_wrong_credential_is_a_401(
    sandbox: RunningSandbox, shared_proxy: RunningProxy, headers: dict[str, str]
) -> None:
    answer = requests.get(f"{shared_proxy.url}/v1/reviews?sku=TRUCK-01", headers=headers, timeout=20)
    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers
    assert "credential" in answer.json()["detail"]
    assert sandbox.calls() == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Api-Key": SECRET},
        {"apikey": SECRET},
        {"Authorization": f"Bearer {SECRET}"},
        {"Authorization": "Basic YnJhemU6dGVzdC1zZWNyZXQ="},
    ],
)
def test_a_credential_is_taken_in_every_place(shared_proxy: RunningProxy, headers: dict[str, str]) -> None:
    answer = requests.get(f"{shared_proxy.url}/v1/reviews?sku=TRUCK-01", headers=headers, timeout=20)
    assert answer.status_code == 200


def test_unknown_parameters_are_named_and_split_no_entry(sandbox: RunningSandbox, proxy: RunningProxy) -> None:
    first = proxy.get("/v1/reviews?=x", sku="MUG-01", cache_id=1)
    second = proxy.get("/v1/reviews", sku="MUG-01", cache_id=2)
    assert first.headers["X-Ignored-Parameters"] == "cache_id"
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("miss", "hit")
    assert sandbox.calls() == {"reviews": 1}
