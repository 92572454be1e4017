"""Any body of an invitation: taken as it is, or refused without a word of what is in it."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from proxy.invitations import (
    ADDRESS,
    LONGEST_ADDRESS,
    BadInvitation,
    invitation_fingerprint,
    read_invitation,
    without_address,
)
from proxy.invitations.idempotency import Verdict
from tests.fuzz.effort import fuzzed
from tests.fuzz.outside import ANY_JSON, MOMENTS, TEXT, damaged, mostly, written

MARK = "Zq7Zq7"
"""In every text below, and so in no message."""

ADDRESSES = st.one_of(
    st.emails(), st.from_regex(ADDRESS, fullmatch=True).filter(lambda address: len(address) <= LONGEST_ADDRESS)
)
WORDS = st.one_of(TEXT.map(lambda text: MARK + text), st.sampled_from(["", "{{x}}", "${x}", MARK]))
TIMES = mostly(st.one_of(MOMENTS, st.sampled_from(["01/31/2026 09:00:00", " 2026-01-31T09:00:00 ", "soon"])))
PRODUCTS = st.fixed_dictionaries(
    {},
    optional={
        "products": mostly(st.lists(st.dictionaries(WORDS, WORDS, max_size=2), max_size=2)),
        "productSkus": mostly(st.lists(mostly(WORDS), max_size=2)),
        "preferredSendTime": TIMES,
    },
)
INVITATIONS = st.fixed_dictionaries(
    {"consumerEmail": mostly(st.one_of(ADDRESSES, WORDS))},
    optional={
        "referenceNumber": mostly(st.one_of(WORDS, st.integers())),
        "serviceReviewInvitation": mostly(st.fixed_dictionaries({}, optional={"preferredSendTime": TIMES})),
        "productReviewInvitation": mostly(PRODUCTS),
        "consumerName": WORDS,
    },
)
TAKEN = st.fixed_dictionaries(
    {"consumerEmail": ADDRESSES, "serviceReviewInvitation": st.just({})},
    optional={
        "referenceNumber": st.one_of(TEXT.map(lambda text: MARK + text), st.integers()),
        "productReviewInvitation": mostly(PRODUCTS),
        "consumerName": WORDS,
    },
)
BODIES = st.one_of(
    INVITATIONS.map(written), damaged(INVITATIONS.map(written)), ANY_JSON.map(written), st.binary(max_size=40)
)
FIELDS = [
    "consumerEmail",
    "referenceNumber",
    "serviceReviewInvitation",
    "productReviewInvitation",
    "serviceReviewInvitation.preferredSendTime",
    "productReviewInvitation.preferredSendTime",
    "productReviewInvitation.products",
    "productReviewInvitation.productSkus",
]


def _sent_at(section: str, moment: str) -> bytes:
    other = {
        "serviceReviewInvitation": "productReviewInvitation",
        "productReviewInvitation": "serviceReviewInvitation",
    }
    at = {"preferredSendTime": moment, "productSkus": ["A"]}
    return written({"consumerEmail": "a@b.example", section: at, other[section]: {"productSkus": ["A"]}})


@fuzzed
@given(BODIES)
@example(_sent_at("serviceReviewInvitation", "0001-01-01T00:00:00+23:59"))
@example(_sent_at("productReviewInvitation", "9999-12-31T23:59:59-23:59"))
@example(b'{"consumerEmail": "a@b.example", "referenceNumber": ' + b"9" * 5000 + b"}")
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 100_000)
def test_any_body_is_an_invitation_or_refused_without_quoting_it(body: bytes) -> None:
    try:
        invitation = read_invitation(body)
    except BadInvitation as refusal:
        message = str(refusal)
        assert MARK not in message
        assert message.isprintable()
        named = message.partition(": ")[0].split(", ")
        assert message.startswith(("the body ", "a name is given twice", "serviceReviewInvitation or ")) or (
            set(named) <= set(FIELDS)
        ), message
        return
    assert invitation == json.loads(body)
    assert re.fullmatch(ADDRESS, invitation["consumerEmail"])
    assert any(
        isinstance(invitation.get(name), dict) for name in ("serviceReviewInvitation", "productReviewInvitation")
    )


@fuzzed
@given(TAKEN, st.one_of(st.none(), st.text(max_size=8)))
def test_a_taken_invitation_is_told_by_names_that_hold_nothing_of_it(
    invitation: dict[str, Any], key: str | None
) -> None:
    try:
        taken = read_invitation(written(invitation))
    except BadInvitation:
        assume(False)
        raise
    found = invitation_fingerprint("unit-1", taken, key, b"secret")
    assert re.fullmatch(r"[0-9a-f]{64}", found.identity)
    assert found.key is None or re.fullmatch(r"[0-9a-f]{64}", found.key)
    assert found == invitation_fingerprint("unit-1", {**taken, "consumerName": "another"}, key, b"secret")
    assert found.identity != invitation_fingerprint("unit-1", taken, key, b"another secret").identity
    assert (
        found.identity
        != invitation_fingerprint(
            "unit-1", {**taken, "consumerEmail": "x" + taken["consumerEmail"]}, key, b"secret"
        ).identity
    )


@fuzzed
@given(ADDRESSES, st.text(max_size=9), st.booleans(), st.booleans())
@example("ada+braze@example.com", "", False, True)
@example("é@example.com", "", True, False)
def test_a_refusal_never_says_the_address_however_trustpilot_writes_it(
    address: str, around: str, ascii_only: bool, all_escaped: bool
) -> None:
    told = {"message": f"{around} {_in_capitals(address)} is refused", "details": [{address: [address]}]}
    text = json.dumps(told, ensure_ascii=ascii_only)
    if all_escaped:
        text = re.sub("[+@]", lambda found: f"\\u{ord(found[0]):04X}", text)
    body = without_address(address, Verdict(400, text.encode("utf-8", "replace"))).body
    left = json.dumps(json.loads(body), ensure_ascii=False)
    assert address not in left
    assert _in_capitals(address) not in left
    assert set(json.loads(body)) == {"message", "details"}


def _in_capitals(address: str) -> str:
    return "".join(c.upper() if c.isascii() else c for c in address)
