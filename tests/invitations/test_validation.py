"""What is found in an invitation before it costs a call, by its whole sentence, and what a refusal may say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.invitations import BadInvitation, read_invitation, without_address
from proxy.invitations.idempotency import Verdict

SERVICE: dict[str, Any] = {"preferredSendTime": "2026-01-01T09:00:00"}
TAKES = "takes an e-mail address"
EMPTY = "the Liquid variable rendered to nothing"
NUMBER = "takes text, such as an order number"
PRODUCTS = "productReviewInvitation.products"
SKUS = "productReviewInvitation.productSkus"
TIME = "preferredSendTime: takes a time in UTC such as 2026-01-31T09:00:00"
ORDER = (
    "productReviewInvitation.preferredSendTime: earlier than serviceReviewInvitation.preferredSendTime; "
    "the service invitation comes first"
)


def invitation(**changed: Any) -> dict[str, Any]:
    return {
        "consumerEmail": "jane@shop.example",
        "referenceNumber": "1",
        "serviceReviewInvitation": SERVICE,
    } | changed


def product(**section: Any) -> dict[str, Any]:
    return {"productReviewInvitation": section}


NO_ADDRESSES = [
    "jane",
    "jane@",
    "@shop.example",
    "jane@shop",
    "jane@@shop.example",
    "jane@a@shop.example",
    "jane doe@shop.example",
    "jane@shop..example",
    "jane@.shop.example",
    "jane@shop.example ",
    "jane@shop.example\n",
    "jane@shop.example,bob@shop.example",
    "Jane <jane@shop.example>",
    f"{'j' * 65}@shop.example",
    f"jane@{'a' * 247}.io",
]
NO_ADDRESS = f"consumerEmail: not an e-mail address; {TAKES} such as name@example.com"
NEITHER = "serviceReviewInvitation or productReviewInvitation: required; an invitation takes at least one of them"
MISTAKES: dict[str, list[dict[str, Any]]] = {
    f"consumerEmail: required; {TAKES}": [{"consumerEmail": None}],
    f"consumerEmail: not text; {TAKES}": [{"consumerEmail": 5}, {"consumerEmail": ["jane@shop.example"]}],
    f"consumerEmail: empty; {EMPTY}; {TAKES}": [{"consumerEmail": ""}, {"consumerEmail": " "}],
    f"consumerEmail: unrendered Liquid; {TAKES}": [{"consumerEmail": "{{${email_address}}}"}],
    NO_ADDRESS: [{"consumerEmail": wrong} for wrong in NO_ADDRESSES],
    f"referenceNumber: {NUMBER}": [{"referenceNumber": True}, {"referenceNumber": 1.5}, {"referenceNumber": {}}],
    f"referenceNumber: unrendered Liquid; {NUMBER}": [{"referenceNumber": "${id}"}, {"referenceNumber": "{{id}}"}],
    NEITHER: [{"serviceReviewInvitation": None}],
    "serviceReviewInvitation: takes a JSON object": [{"serviceReviewInvitation": []}],
    "productReviewInvitation: takes a JSON object": [{"productReviewInvitation": "yes"}],
    f"{PRODUCTS}, {SKUS}: neither is given; takes one of them": [product(), product(products=None, productSkus=None)],
    f"{PRODUCTS}, {SKUS}: both are given; takes one of them": [
        product(products=[{}], productSkus=["A"]),
        product(products=[], productSkus=["A"]),
    ],
    f"{PRODUCTS}: takes a list of objects, at least one": [
        product(products=[]),
        product(products={}),
        product(products=["A"]),
        product(products=[{}, "A"]),
    ],
    f"{SKUS}: takes a list of SKUs as text, at least one": [
        product(productSkus=[]),
        product(productSkus="A"),
        product(productSkus=["A", 1]),
    ],
    f"{SKUS}: an empty SKU; {EMPTY}": [product(productSkus=["A", " "])],
    f"{SKUS}: unrendered Liquid; takes a list of SKUs": [
        product(productSkus=["A", "{{sku}}"]),
        product(productSkus=["${sku}"]),
    ],
    f"serviceReviewInvitation.{TIME}": [
        {"serviceReviewInvitation": {"preferredSendTime": 5}},
        {"serviceReviewInvitation": {"preferredSendTime": ""}},
    ],
    f"productReviewInvitation.{TIME}": [
        product(productSkus=["A"], preferredSendTime=7),
        product(productSkus=["A"], preferredSendTime=""),
    ],
    ORDER: [
        product(productSkus=["A"], preferredSendTime="2026-01-01T08:59:59"),
        product(productSkus=["A"], preferredSendTime="2026-01-01T08:59:59Z"),
        product(productSkus=["A"], preferredSendTime="2026-01-01T09:30:00+01:00"),
        product(productSkus=["A"], preferredSendTime="01/01/2026 08:00:00"),
    ],
}


@pytest.mark.parametrize(("said", "changed"), [(said, each) for said, all_ in MISTAKES.items() for each in all_])
def test_a_mistake_is_told_with_its_field_and_what_it_takes(said: str, changed: dict[str, Any]) -> None:
    with pytest.raises(BadInvitation) as error:
        read_invitation(json.dumps(invitation(**changed)).encode())
    assert str(error.value) == said


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"referenceNumber": None},
        {"referenceNumber": 7},
        {"consumerEmail": "jane+braze.o'hara@mail.shop.co.uk"},
        {"consumerEmail": "åsa@exämple.se"},
        {"consumerEmail": f"{'j' * 64}@a.{'b' * 187}"},
        {"productReviewInvitation": None},
        product(products=[{}]),
        product(products=[{"sku": "A", "name": "Toy"}], preferredSendTime=None),
        product(productSkus=["A"], products=None),
        product(productSkus=["A", "B"], preferredSendTime="2026-01-01T09:00:00"),
        product(productSkus=["A"], preferredSendTime="2026-01-02T09:00:00"),
        product(productSkus=["A"], preferredSendTime="01/01/2026 09:00:01"),
        product(productSkus=["A"], preferredSendTime="soon"),
        {"serviceReviewInvitation": {}, **product(productSkus=["A"], preferredSendTime="2020-01-01")},
    ],
)
def test_what_might_be_right_is_passed_on(changed: dict[str, Any]) -> None:
    given = invitation(**changed)
    assert read_invitation(json.dumps(given).encode()) == given


NOT_JSON = (
    "the body is not JSON, from line {}, column {}: look for a missing quote or comma, or a Liquid value without"
)
BEYOND = "the body is not JSON: a number or its nesting goes beyond what JSON takes"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        *(
            (body, "the body takes a JSON object")
            for body in (b"null", b"[]", b'[{"consumerEmail": "a"}]', b'"x"', b"7")
        ),
        *((body, "the body is not UTF-8; it takes a JSON object in UTF-8") for body in (b"\xff", b"\xff\xfe{}")),
        (b"", NOT_JSON.format(1, 1) + " | json_escape"),
        (b"{", NOT_JSON.format(1, 2) + " | json_escape"),
        (b'{"consumerEmail": ada@example.com}', NOT_JSON.format(1, 19) + " | json_escape"),
        (b'{"a": 1\n"b": 2}', NOT_JSON.format(2, 1) + " | json_escape"),
        *((body, BEYOND) for body in (b'{"a": NaN}', b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}")),
        (b'{"a": 1, "a": 2}', "a name is given twice in one object; each takes one value"),
    ],
    ids=lambda given: str(given)[:60],
)
def test_what_is_no_invitation_is_told_where_it_ends_to_be_one(body: bytes, said: str) -> None:
    with pytest.raises(BadInvitation) as error:
        read_invitation(body)
    assert str(error.value) == said


def test_a_refusal_keeps_all_but_the_address() -> None:
    refusal = {"Jane@shop.example": ["no jane@SHOP.example, ü", 5, None], "code": 1}
    kept = without_address("jane@shop.example", Verdict(422, json.dumps(refusal).encode()))
    expected = {"(consumerEmail)": ["no (consumerEmail), ü", 5, None], "code": 1}
    assert kept == Verdict(422, json.dumps(expected, ensure_ascii=False).encode())
    for body in (b"", b" \n", b'{"a":  1}'):
        assert without_address("jane@shop.example", Verdict(400, body)) == Verdict(400, body)
    dot = Verdict(400, b'["janeXshop.example"]')
    assert without_address("jane.shop.example", dot) == dot
