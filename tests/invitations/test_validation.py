"""What is found in an invitation before it costs a call, by its whole sentence, and what a refusal may say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.invitations import BadInvitation
from proxy.invitations.idempotency import Verdict
from proxy.invitations.service import without_address
from proxy.invitations.validation import read_invitation

SERVICE: dict[str, Any] = {"preferredSendTime": "2026-01-01T09:00:00"}
TAKES = "takes an e-mail address"
EMPTY = "the Liquid variable rendered to nothing"
PRODUCTS = "productReviewInvitation.products"
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


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"consumerEmail": None}, f"consumerEmail: required; {TAKES}"),
        ({"consumerEmail": 5}, f"consumerEmail: not text; {TAKES}"),
        ({"consumerEmail": " "}, f"consumerEmail: empty; {EMPTY}; {TAKES}"),
        ({"consumerEmail": "{{email}}"}, f"consumerEmail: unrendered Liquid; {TAKES}"),
        ({"consumerEmail": "jane"}, f"consumerEmail: not an e-mail address; {TAKES} such as name@example.com"),
        (
            {"consumerEmail": f"jane@{'a' * 247}.io"},
            f"consumerEmail: not an e-mail address; {TAKES} such as name@example.com",
        ),
        ({"referenceNumber": True}, "referenceNumber: takes text, such as an order number"),
        ({"referenceNumber": 1.5}, "referenceNumber: takes text, such as an order number"),
        ({"referenceNumber": "${id}"}, "referenceNumber: unrendered Liquid; takes text, such as an order number"),
        (
            {"serviceReviewInvitation": None},
            "serviceReviewInvitation or productReviewInvitation: required; an invitation takes at least one of them",
        ),
        ({"serviceReviewInvitation": []}, "serviceReviewInvitation: takes a JSON object"),
        (product(), f"{PRODUCTS}, productReviewInvitation.productSkus: neither is given; takes one of them"),
        (
            product(products=[{}], productSkus=["A"]),
            f"{PRODUCTS}, productReviewInvitation.productSkus: both are given; takes one of them",
        ),
        (product(products=[]), f"{PRODUCTS}: takes a list of objects, at least one"),
        (product(products={}), f"{PRODUCTS}: takes a list of objects, at least one"),
        (product(products=[{}, "A"]), f"{PRODUCTS}: takes a list of objects, at least one"),
        (
            product(productSkus=["A", 1]),
            "productReviewInvitation.productSkus: takes a list of SKUs as text, at least one",
        ),
        (product(productSkus=["A", " "]), f"productReviewInvitation.productSkus: an empty SKU; {EMPTY}"),
        (
            product(productSkus=["A", "{{sku}}"]),
            "productReviewInvitation.productSkus: unrendered Liquid; takes a list of SKUs",
        ),
        (
            {"serviceReviewInvitation": {"preferredSendTime": 5}},
            "serviceReviewInvitation.preferredSendTime: takes a time in UTC such as 2026-01-31T09:00:00",
        ),
        (
            {"serviceReviewInvitation": {"preferredSendTime": ""}},
            "serviceReviewInvitation.preferredSendTime: takes a time in UTC such as 2026-01-31T09:00:00",
        ),
        (product(productSkus=["A"], preferredSendTime="2026-01-01T08:59:59"), ORDER),
        (product(productSkus=["A"], preferredSendTime="2026-01-01T09:30:00+01:00"), ORDER),
        (product(productSkus=["A"], preferredSendTime="01/01/2026 08:00:00"), ORDER),
    ],
)
def test_a_mistake_is_told_with_its_field_and_what_it_takes(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInvitation) as error:
        read_invitation(json.dumps(invitation(**changed)).encode())
    assert str(error.value) == said


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"referenceNumber": None},
        {"referenceNumber": 7},
        {"consumerEmail": f"{'j' * 64}@a.{'b' * 187}"},
        product(products=[{}]),
        product(productSkus=["A", "B"], preferredSendTime="2026-01-01T09:00:00"),
        product(productSkus=["A"], preferredSendTime="01/01/2026 09:00:01"),
        product(productSkus=["A"], preferredSendTime="soon"),
        {"serviceReviewInvitation": {}, **product(productSkus=["A"], preferredSendTime="2020-01-01")},
    ],
)
def test_what_might_be_right_is_passed_on(changed: dict[str, Any]) -> None:
    given = invitation(**changed)
    assert read_invitation(json.dumps(given).encode()) == given


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[]", "the body takes a JSON object"),
        (b"\xff", "the body is not UTF-8; it takes a JSON object in UTF-8"),
        (
            b'{"a": 1\n"b": 2}',
            "the body is not JSON, from line 2, column 1: look for a missing quote or comma, or a Liquid value "
            "without | json_escape",
        ),
        (b'{"a": NaN}', "the body is not JSON: a number or its nesting goes beyond what JSON takes"),
        (b'{"a": 1, "a": 2}', "a name is given twice in one object; each takes one value"),
    ],
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
