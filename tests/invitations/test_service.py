"""Sending an invitation: what reaches Trustpilot, with how much time, and what comes back."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from proxy.cache import Group
from proxy.cache.memory import MemoryBackend
from proxy.clock import Deadline, spawn
from proxy.invitations import BadInvitation, Idempotency, Invitations, InvitationUnderWay, KeyReused, Outcome
from proxy.invitations.idempotency import Verdict

BODY = {"consumerEmail": "ada@example.com", "referenceNumber": " 7 ", "serviceReviewInvitation": {}}
SENT = Verdict(202, b'{"to": "ada@example.com"}')


class Relay:
    """Notes what it is given, and answers with what it is to."""

    def __init__(self, verdict: Verdict = SENT) -> None:
        self.verdict = verdict
        self.sent: list[tuple[str, bytes]] = []
        self.seconds = 0.0

    def invite(self, business_unit: str, body: bytes, deadline: Deadline) -> Verdict:
        self.sent.append((business_unit, body))
        self.seconds = deadline.remaining()
        return self.verdict

    def link(self, business_unit: str, body: dict[str, Any], deadline: Deadline, *, of_products: bool) -> Verdict:
        raise NotImplementedError


def invitations(
    relay: Relay, backend: MemoryBackend | None = None, *, secret: str = "s", seconds: float = 5
) -> Invitations:
    idempotency = Idempotency(backend or MemoryBackend(), time.sleep, claim_seconds=10)
    return Invitations(relay, idempotency, Group(spawn), secret=secret, seconds=seconds)


def body(**changed: object) -> bytes:
    return json.dumps(BODY | changed).encode()


def test_an_invitation_is_sent_as_it_is_once_and_answered_in_trustpilots_words() -> None:
    relay = Relay()
    here = invitations(relay)
    assert here.send("u", body(), None) == Outcome(SENT, replayed=False)
    assert here.send("u", body(consumerEmail="ADA@example.com", referenceNumber=7), None) == Outcome(
        SENT, replayed=True
    )
    assert relay.sent == [("u", body())]
    assert 4 < relay.seconds <= 5


def test_another_shop_customer_order_or_secret_is_another_invitation() -> None:
    relay, backend = Relay(), MemoryBackend()
    here = invitations(relay, backend)
    here.send("u", body(), None)
    others = [
        here.send("v", body(), None),
        here.send("u", body(consumerEmail="bob@example.com"), None),
        here.send("u", body(referenceNumber="8"), None),
        invitations(relay, backend, secret="t").send("u", body(), None),
        here.send("u", body(), "a key"),
        *(here.send("u", body(referenceNumber=nothing), None) for nothing in ("", "", " ", None)),
    ]
    assert not any(outcome.replayed for outcome in others)
    with pytest.raises(KeyReused):
        here.send("v", body(), "a key")


def test_a_refusal_is_told_without_the_address_and_not_remembered() -> None:
    relay = Relay(Verdict(422, b'{"message": "no Ada@example.com"}'))
    here = invitations(relay)
    for _ in range(2):
        assert here.send("u", body(), None) == Outcome(
            Verdict(422, b'{"message": "no (consumerEmail)"}'), replayed=False
        )
    assert len(relay.sent) == 2


def test_what_trustpilot_would_refuse_is_not_sent() -> None:
    relay = Relay()
    with pytest.raises(BadInvitation):
        invitations(relay).send("u", b"{}", None)
    assert relay.sent == []


def test_one_that_another_process_sends_is_waited_for_a_second_longer_than_a_sending_takes() -> None:
    backend = MemoryBackend()
    inside: list[float] = []

    class Slow(Relay):
        def invite(self, business_unit: str, sent: bytes, deadline: Deadline) -> Verdict:
            began = time.monotonic()
            with pytest.raises(InvitationUnderWay):
                invitations(Relay(), backend, seconds=0.2).send("u", body(), None)
            inside.append(time.monotonic() - began)
            return SENT

    invitations(Slow(), backend).send("u", body(), None)
    assert inside[0] >= 1.2
