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
NUMBER = "takes text, such as an order number"
PRODUCTS = "productReviewInvitation.products"
SKUS = "productReviewInvitation.productSkus"
NEITHER = {"products": None, "productSkus": None}
LIQUID = ("{{sku}}", "${sku}")
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
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"consumerEmail": None}, f"consumerEmail: required; {TAKES}"),
    *(({"consumerEmail": odd}, f"consumerEmail: not text; {TAKES}") for odd in (5, ["jane@shop.example"])),
    *(({"consumerEmail": empty}, f"consumerEmail: empty; {EMPTY}; {TAKES}") for empty in ("", " ")),
    ({"consumerEmail": "{{${email_address}}}"}, f"consumerEmail: unrendered Liquid; {TAKES}"),
    *(
        ({"consumerEmail": wrong}, f"consumerEmail: not an e-mail address; {TAKES} such as name@example.com")
        for wrong in NO_ADDRESSES
    ),
    *(({"referenceNumber": odd}, f"referenceNumber: {NUMBER}") for odd in (True, 1.5, {})),
    *(
        ({"referenceNumber": liquid}, f"referenceNumber: unrendered Liquid; {NUMBER}")
        for liquid in ("${id}", "{{order}}")
    ),
    (
        {"serviceReviewInvitation": None},
        "serviceReviewInvitation or productReviewInvitation: required; an invitation takes at least one of them",
    ),
    ({"serviceReviewInvitation": []}, "serviceReviewInvitation: takes a JSON object"),
    ({"productReviewInvitation": "yes"}, "productReviewInvitation: takes a JSON object"),
    *((product(**none), f"{PRODUCTS}, {SKUS}: neither is given; takes one of them") for none in ({}, NEITHER)),
    *(
        (product(products=some, productSkus=["A"]), f"{PRODUCTS}, {SKUS}: both are given; takes one of them")
        for some in ([{}], [])
    ),
    *(
        (product(products=odd), f"{PRODUCTS}: takes a list of objects, at least one")
        for odd in ([], {}, ["A"], [{}, "A"])
    ),
    *(
        (product(productSkus=odd), f"{SKUS}: takes a list of SKUs as text, at least one")
        for odd in ([], "A", ["A", 1])
    ),
    (product(productSkus=["A", " "]), f"{SKUS}: an empty SKU; {EMPTY}"),
    *((product(productSkus=["A", liquid]), f"{SKUS}: unrendered Liquid; takes a list of SKUs") for liquid in LIQUID),
    *(
        ({"serviceReviewInvitation": {"preferredSendTime": odd}}, f"serviceReviewInvitation.{TIME}")
        for odd in (5, "")
    ),
    *((product(productSkus=["A"], preferredSendTime=odd), f"productReviewInvitation.{TIME}") for odd in (7, "")),
    *(
        (product(productSkus=["A"], preferredSendTime=earlier), ORDER)
        for earlier in (
            "2026-01-01T08:59:59",
            "2026-01-01T08:59:59Z",
            "2026-01-01T09:30:00+01:00",
            "01/01/2026 08:00:00",
        )
    ),
]


@pytest.mark.parametrize(("changed", "said"), MISTAKES, ids=str)
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
