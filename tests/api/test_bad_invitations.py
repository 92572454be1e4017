"""Bodies that Trustpilot would certainly refuse: each is told what is wrong, quotes no value, and costs no call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.api.inviting import invite, order
from tests.running import SECRET, RunningSandbox, ServedHere, served_here

E = "consumerEmail"
PRODUCTS = "productReviewInvitation.products"
SKUS = "productReviewInvitation.productSkus"
TAKES = "takes an e-mail address"


def product(**section: Any) -> dict[str, Any]:
    return order(productReviewInvitation=section)


def at(service: object, product: object) -> dict[str, Any]:
    return order(
        serviceReviewInvitation={"preferredSendTime": service},
        productReviewInvitation={"preferredSendTime": product, "productSkus": ["A"]},
    )


BAD: list[tuple[Any, str]] = [
    (None, "the body takes a JSON object"),
    ([], "the body takes a JSON object"),
    ([order()], "the body takes a JSON object"),
    ("text", "the body takes a JSON object"),
    (7, "the body takes a JSON object"),
    (order(consumerEmail=None), f"{E}: required; {TAKES}"),
    (order(consumerEmail=7), f"{E}: not text; {TAKES}"),
    (order(consumerEmail=["ada@example.com"]), f"{E}: not text; {TAKES}"),
    (order(consumerEmail=""), f"{E}: empty; the Liquid variable rendered to nothing; {TAKES}"),
    (order(consumerEmail="  "), f"{E}: empty; the Liquid variable rendered to nothing; {TAKES}"),
    (order(consumerEmail="{{${email_address}}}"), f"{E}: unrendered Liquid; {TAKES}"),
    *[
        (order(consumerEmail=wrong), f"{E}: not an e-mail address; {TAKES} such as name@example.com")
        for wrong in (
            "ada",
            "ada@",
            "@example.com",
            "ada@example",
            "ada@@example.com",
            "ada@a@example.com",
            "ada lovelace@example.com",
            "ada@example..com",
            "ada@.example.com",
            "ada@example.com ",
            "ada@example.com\n",
            "ada@example.com,bob@example.com",
            "Ada <ada@example.com>",
            f"{'a' * 65}@example.com",
            f"ada@{'a' * 250}.com",
        )
    ],
    (order(referenceNumber=True), "referenceNumber: takes text, such as an order number"),
    (order(referenceNumber=1.5), "referenceNumber: takes text, such as an order number"),
    (order(referenceNumber={}), "referenceNumber: takes text, such as an order number"),
    (order(referenceNumber="{{order}}"), "referenceNumber: unrendered Liquid; takes text, such as an order number"),
    (
        order(productReviewInvitation=None),
        "serviceReviewInvitation or productReviewInvitation: required; an invitation takes at least one of them",
    ),
    (order(productReviewInvitation="yes"), "productReviewInvitation: takes a JSON object"),
    (order(serviceReviewInvitation=[]), "serviceReviewInvitation: takes a JSON object"),
    (product(), f"{PRODUCTS}, {SKUS}: neither is given; takes one of them"),
    (product(products=None, productSkus=None), f"{PRODUCTS}, {SKUS}: neither is given; takes one of them"),
    (product(products=[{"sku": "A"}], productSkus=["A"]), f"{PRODUCTS}, {SKUS}: both are given; takes one of them"),
    (product(products=[], productSkus=["A"]), f"{PRODUCTS}, {SKUS}: both are given; takes one of them"),
    (product(products=[]), f"{PRODUCTS}: takes a list of objects, at least one"),
    (product(products={"sku": "A"}), f"{PRODUCTS}: takes a list of objects, at least one"),
    (product(products=["A"]), f"{PRODUCTS}: takes a list of objects, at least one"),
    (product(productSkus=[]), f"{SKUS}: takes a list of SKUs as text, at least one"),
    (product(productSkus="A"), f"{SKUS}: takes a list of SKUs as text, at least one"),
    (product(productSkus=["A", 7]), f"{SKUS}: takes a list of SKUs as text, at least one"),
    (product(productSkus=["A", " "]), f"{SKUS}: an empty SKU; the Liquid variable rendered to nothing"),
    (product(productSkus=["${sku}"]), f"{SKUS}: unrendered Liquid; takes a list of SKUs"),
    (at("2026-01-02T09:00:00", "2026-01-01T09:00:00"), "the service invitation comes first"),
    (at("2026-01-02T09:00:00Z", "2026-01-02T09:30:00+01:00"), "the service invitation comes first"),
    (at("01/02/2026 09:00:00", "2026-01-01T09:00:00"), "the service invitation comes first"),
    (at(7, None), "serviceReviewInvitation.preferredSendTime: takes a time in UTC such as 2026-01-31T09:00:00"),
    (at(None, ""), "productReviewInvitation.preferredSendTime: takes a time in UTC such as 2026-01-31T09:00:00"),
]

NOT_JSON: list[tuple[bytes, str]] = [
    (b"", "the body is not JSON, from line 1, column 1"),
    (b"{", "the body is not JSON, from line 1, column 2"),
    (b'{"consumerEmail": ada@example.com}', "the body is not JSON, from line 1, column 19"),
    (b'{"a": 1,}', "the body is not JSON"),
    (b"\xff\xfe{}", "the body is not UTF-8; it takes a JSON object in UTF-8"),
    (b'{"a": NaN}', "the body is not JSON: a number or its nesting goes beyond what JSON takes"),
    (b"[" * 100_000, "the body is not JSON: a number or its nesting goes beyond what JSON takes"),
    (b'{"a": ' + b"1" * 5000 + b"}", "the body is not JSON: a number or its nesting goes beyond what JSON takes"),
    (
        b'{"consumerEmail": "ada@example.com", "consumerEmail": "bob@example.com"}',
        "a name is given twice in one object; each takes one value",
    ),
]

GOOD: list[Any] = [
    order(consumerEmail="ada+braze.o'hara@mail.example.co.uk"),
    order(consumerEmail="åsa@exämple.se"),
    order(referenceNumber=123),
    order(serviceReviewInvitation={}, productReviewInvitation=None),
    product(productSkus=["A"], products=None),
    product(products=[{"sku": "A", "name": "Toy"}], preferredSendTime=None),
    at("2026-01-01T09:00:00", "2026-01-01T09:00:00"),
    at("2026-01-01T09:00:00", "2026-01-02T09:00:00"),
    at("2 January", "1 January"),
]


@pytest.fixture(scope="module")
def started_here(started_sandbox: RunningSandbox) -> Iterator[ServedHere]:
    with served_here(started_sandbox) as proxy:
        yield proxy


def _is_refused(answer: requests.Response, detail: str) -> None:
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert detail in answer.json()["detail"]
    assert answer.json()["found"] is False
    assert "ada" not in answer.text


@pytest.mark.parametrize(("body", "detail"), BAD)
def test_a_body_that_would_be_refused_is_told_what_is_wrong(
    sandbox: RunningSandbox, started_here: ServedHere, body: Any, detail: str
) -> None:
    # Not requests' json=, which sends nothing for null.
    headers = {"X-Api-Key": SECRET, "Content-Type": "application/json"}
    answer = requests.post(f"{started_here.url}/v1/invitations", data=json.dumps(body), headers=headers, timeout=20)
    _is_refused(answer, detail)
    assert sandbox.calls() == {}


@pytest.mark.parametrize(("body", "detail"), NOT_JSON, ids=[each[1] for each in NOT_JSON])
def test_a_body_that_is_not_json_is_told_where(
    sandbox: RunningSandbox, started_here: ServedHere, body: bytes, detail: str
) -> None:
    headers = {"X-Api-Key": SECRET, "Content-Type": "application/json"}
    _is_refused(requests.post(f"{started_here.url}/v1/invitations", data=body, headers=headers, timeout=20), detail)
    assert sandbox.calls() == {}


@pytest.mark.parametrize("body", GOOD)
def test_what_might_be_right_is_passed_on(sandbox: RunningSandbox, started_here: ServedHere, body: Any) -> None:
    assert invite(started_here, body).status_code == 202
    assert sandbox.invitations()[-1]["body"] == body
