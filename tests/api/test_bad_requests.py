"""Bad requests: each has its exact status, a detail that names the mistake, and never reaches Trustpilot."""

from __future__ import annotations

import pytest
import requests

from tests.running import SECRET, UNIT, RunningProxy, RunningSandbox

DROP_IN = f"/v1/product-reviews/business-units/{UNIT}"
R = "/v1/reviews"
BAD_VALUES = {
    "stars": ["0", "6", "five", "", "4.5", "-1"],
    "language": ["eng", "e", "", "e1"],
    "limit": ["0", "21", "-1", "abc", "", "1e1"],
    "sort": ["oldest", ""],
    "min_chars": ["-1", "x", "10001"],
    "max_chars": ["19", "2001"],
    "max_age_days": ["0", "3651"],
    "with_image": ["1"],
    "min_reviews": ["-1"],
    "min_average": ["0.9", "5.01", "nan", ""],
    "format": ["xml"],
    "locale": ["english", "en-USA"],
    "business_unit": ["nobody"],
    "on_error": ["ignore"],
}
EMPTY = "rendered to nothing"
LIQUID = "unrendered Liquid"
BAD = [
    *(
        (f"{R}?sku=A&{name}={value}", f"{name} is '{value}'")
        for name, values in BAD_VALUES.items()
        for value in values
    ),
    (R, "sku: required"),
    *((f"{R}?{query}", EMPTY) for query in ("sku=", "sku=%20", "sku=,", "sku=A,,B", "sku=A&sku=")),
    *((f"{R}?sku={value}", LIQUID) for value in ("%7B%7Bitem.sku%7D%7D", "$%7Bitem_sku%7D", "%7B%25if%25%7D")),
    (f"{R}?product_url=", "product_url is '': an empty address: the Liquid variable rendered to nothing"),
    (f"{R}?product_url=https%3A%2F%2Fs.example%2F%7B%7Bx%7D%7D", "unrendered Liquid: the Liquid variable"),
    (f"{R}?product_url=truck", "takes an address such as https://shop.example/truck"),
    (f"{DROP_IN}/reviews?productUrl=", "productUrl is '': an empty address"),
    *((f"{R}?sku=a%{code}b", "control character") for code in ("00", "0A", "7F")),
    (f"{R}?sku=%ff%fe", "not valid UTF-8"),
    (f"{R}?sku=a&language=%ff", "language"),
    (f"{R}?sku={'x' * 201}", "201 characters"),
    (f"{R}?sku={','.join(f's{n}' for n in range(51))}", "51 SKUs"),
    (f"{R}?skus=A", "sku: required"),
    (f"{R}?sku=A&stars=4,,5", "stars is ''"),
    (f"{R}?sku=A&stars=%D9%A3", "stars is"),
    (f"{R}?sku=A&limit={'9' * 500}", "limit is '999"),
    (f"{R}?sku=A&limit=3&limit=4", "limit: given 2 times"),
    (f"{R}?sku=A&limit=%D9%A3", "limit is"),
    (f"{R}?sku=A&sort=newest&sort=newest", "sort: given 2 times"),
    (f"{R}?sku=A&min_average=4,25", "min_average is '4,25': takes a number from 1 to 5, such as 4.25"),
    ("/v1/products", "skus: required"),
    ("/v1/products?skus=", EMPTY),
    ("/v1/products?sku=A", "skus: required"),
    ("/v1/products?skus=A&limit=0", "limit is '0'"),
    ("/v1/summary", "sku: required"),
    ("/v1/summary?sku=%20%20", EMPTY),
    (f"{DROP_IN}/reviews", "sku: required"),
    (f"{DROP_IN}/reviews?sku=A&page=0", "page is '0'"),
    (f"{DROP_IN}/reviews?sku=A&perPage=101", "perPage is '101'"),
    (f"{DROP_IN}/reviews?sku=A&page=11&perPage=100", "reaches too far"),
    (f"{DROP_IN}?sku=", EMPTY),
]
NOWHERE = ("/", "/v1", "/v1/reviews/", "/v1/reviews%00", "/v2/reviews?sku=A", "/../etc/passwd")
UNKNOWN = [
    *(
        (f"/v1/product-reviews/business-units/nobody{path}?sku=A", "business unit 'nobody' is not one of those")
        for path in ("", "/reviews")
    ),
    *((path, "nothing at this address") for path in NOWHERE),
]


def _raw(proxy: RunningProxy, method: str, path: str, *headers: str) -> tuple[int, str]:
    """Send bytes as they are, where a client library would tidy them."""
    lines = [f"{method} {path} HTTP/1.1", "Host: proxy", "Connection: close", *headers, "", ""]
    answer = proxy.raw("\r\n".join(lines).encode("latin-1")).decode()
    return int(answer.split(" ", 2)[1]), answer


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [(path, 400, told) for path, told in BAD] + [(path, 404, told) for path, told in UNKNOWN],
)
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
