"""What a link is asked for with, by the whole sentence of each mistake; and that it is asked for once."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from proxy.cache import BackendDown, Group
from proxy.cache.backend import Backend
from proxy.cache.memory import MemoryBackend
from proxy.clock import Deadline, spawn
from proxy.invitations import (
    BadInvitation,
    Idempotency,
    Invitations,
    LinkLate,
    LinkRequest,
    Outcome,
    RecordsDown,
    read_link_request,
)
from proxy.invitations.idempotency import Verdict
from proxy.trustpilot import Failing, TimedOut

GIVEN: dict[str, Any] = {"email": "ada@example.com", "name": "Ada", "reference": "o-1"}
ADA = LinkRequest("ada@example.com", "Ada", "o-1")
LINK = Verdict(200, b"https://trustpilot.example/1")
EMPTY = "the Liquid variable rendered to nothing"
NAME = "takes the customer's name"
NUMBER = "takes an order number"
SKUS = "sku: takes one SKU, or up to 20 as a list or comma-separated, each of at most 200 characters"
LOCALE = "locale: takes a locale such as en-US"
ADDRESS = "redirect_url: takes an http or https address"


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, ADA),
        ({"email": " ada@example.com ", "name": " Ada ", "reference": " o-1 "}, ADA),
        ({"reference": 7}, LinkRequest("ada@example.com", "Ada", "7")),
        ({"name": "x" * 500}, LinkRequest("ada@example.com", "x" * 500, "o-1")),
        ({"sku": "A, B,A"}, LinkRequest("ada@example.com", "Ada", "o-1", ("A", "B"))),
        ({"sku": ["A", "B,C"]}, LinkRequest("ada@example.com", "Ada", "o-1", ("A", "B", "C"))),
        ({"sku": "x" * 200}, LinkRequest("ada@example.com", "Ada", "o-1", ("x" * 200,))),
        (
            {"sku": ",".join(map(str, range(20)))},
            LinkRequest("ada@example.com", "Ada", "o-1", tuple(map(str, range(20)))),
        ),
        ({"locale": " EN_us "}, LinkRequest("ada@example.com", "Ada", "o-1", (), "en-US")),
        ({"locale": "DA"}, LinkRequest("ada@example.com", "Ada", "o-1", (), "da")),
        (
            {"redirect_url": " https://shop.example/a?b=c "},
            LinkRequest("ada@example.com", "Ada", "o-1", (), None, "https://shop.example/a?b=c"),
        ),
        ({"sku": None, "locale": None, "redirect_url": None}, ADA),
    ],
)
def test_what_is_given_is_read(changed: dict[str, Any], wanted: LinkRequest) -> None:
    assert read_link_request(GIVEN | changed) == wanted


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"email": None}, "email: required; takes an e-mail address"),
        ({"email": 5}, "email: not text; takes an e-mail address"),
        *(({"email": empty}, f"email: empty; {EMPTY}; takes an e-mail address") for empty in ("", " ")),
        ({"email": "{{${email_address}}}"}, "email: unrendered Liquid; takes an e-mail address"),
        (
            {"email": "ada news@example.com"},
            "email: not an e-mail address; takes an e-mail address such as name@example.com",
        ),
        ({"name": None}, f"name: required; {NAME}"),
        ({"name": 5}, f"name: not text; {NAME}"),
        ({"name": " \x00"}, f"name: empty; {EMPTY}; {NAME}"),
        ({"name": "{{name}}"}, f"name: unrendered Liquid; {NAME}"),
        ({"name": "x" * 501}, f"name: too long; {NAME} of at most 500 characters"),
        ({"reference": None}, f"reference: required; {NUMBER}"),
        ({"reference": True}, f"reference: not text; {NUMBER}"),
        ({"reference": 1.5}, f"reference: not text; {NUMBER}"),
        ({"reference": "${order}"}, f"reference: unrendered Liquid; {NUMBER}"),
        ({"reference": "x" * 501}, f"reference: too long; {NUMBER} of at most 500 characters"),
        ({"sku": 5}, "sku: not text; takes one SKU, or up to 20 as a list or comma-separated"),
        ({"sku": []}, "sku: not text; takes one SKU, or up to 20 as a list or comma-separated"),
        ({"sku": ["A", None]}, "sku: not text; takes one SKU, or up to 20 as a list or comma-separated"),
        *(
            ({"sku": empty}, f"sku: an empty SKU; {EMPTY}; leave it out for a link to review the shop")
            for empty in ("", "A,", "A,,B")
        ),
        ({"sku": "A,{{b}}"}, "sku: unrendered Liquid; takes one SKU, or up to 20 as a list or comma-separated"),
        ({"sku": ",".join(map(str, range(21)))}, SKUS),
        ({"sku": ["A", "x" * 201]}, SKUS),
        ({"sku": "a\x01b"}, SKUS),
        ({"locale": "english"}, LOCALE),
        ({"locale": "en-US-x"}, LOCALE),
        ({"locale": 5}, LOCALE),
        *(({"redirect_url": odd}, ADDRESS) for odd in ("ftp://shop.example/", "javascript:alert(1)", "https://a b")),
        ({"redirect_url": ["https://shop.example/"]}, ADDRESS),
    ],
)
def test_a_mistake_is_told_with_its_field_and_what_it_takes(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInvitation) as error:
        read_link_request(GIVEN | changed)
    assert str(error.value) == said


def test_trustpilot_is_told_about_products_and_the_shop_in_its_own_words() -> None:
    shop = LinkRequest("ada@example.com", "Ada", "o-1", (), "en-US", "https://shop.example/")
    more = {"locale": "en-US", "redirectUri": "https://shop.example/"}
    assert shop.body == {"email": "ada@example.com", "name": "Ada", "referenceNumber": "o-1", **more}
    assert ADA.body == {"email": "ada@example.com", "name": "Ada", "referenceNumber": "o-1"}
    products = LinkRequest("ada@example.com", "Ada", "o-1", ("A", "B"), "en-US")
    assert products.body == {
        "consumer": {"email": "ada@example.com", "name": "Ada"},
        "referenceId": "o-1",
        "products": [{"sku": "A"}, {"sku": "B"}],
        "locale": "en-US",
    }
    assert "ada" not in repr(ADA).lower()


class Asking:
    """Trustpilot's call: notes what it is asked, and answers with what it is to."""

    def __init__(self, answer: Verdict | Exception = LINK) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, Any], bool]] = []
        self.seconds = 0.0
        self.may_end = threading.Event()
        self.may_end.set()

    def invite(self, business_unit: str, body: bytes, deadline: Deadline) -> Verdict:
        raise NotImplementedError

    def link(self, business_unit: str, body: dict[str, Any], deadline: Deadline, *, of_products: bool) -> Verdict:
        self.asked.append((business_unit, body, of_products))
        self.seconds = deadline.remaining()
        assert self.may_end.wait(10)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def links(call: Asking, backend: Backend | None = None, *, seconds: float = 5, secret: str = "s") -> Invitations:
    idempotency = Idempotency(backend or MemoryBackend(), time.sleep, claim_seconds=seconds + 5)
    return Invitations(call, idempotency, Group(spawn), secret=secret, seconds=seconds)


def test_a_link_is_asked_for_with_the_time_that_a_call_may_take_and_once() -> None:
    call = Asking()
    here = links(call)
    assert here.link("u", ADA, Deadline.after(10)) == Outcome(LINK, replayed=False)
    assert here.link("u", LinkRequest("ADA@example.com", "Augusta", "o-1"), Deadline.after(10)) == Outcome(
        LINK, replayed=True
    )
    assert call.asked == [("u", ADA.body, False)]
    assert 4 < call.seconds <= 5


def test_another_shop_order_product_language_or_page_is_another_link() -> None:
    call = Asking()
    here = links(call)
    others = [
        LinkRequest("ada@example.com", "Ada", "o-2"),
        LinkRequest("bob@example.com", "Ada", "o-1"),
        LinkRequest("ada@example.com", "Ada", "o-1", ("A",)),
        LinkRequest("ada@example.com", "Ada", "o-1", ("B",)),
        LinkRequest("ada@example.com", "Ada", "o-1", (), "da"),
        LinkRequest("ada@example.com", "Ada", "o-1", (), None, "https://shop.example/"),
    ]
    outcomes = [here.link("u", one, Deadline.after(10)) for one in (ADA, *others)]
    outcomes.append(here.link("v", ADA, Deadline.after(10)))
    assert not any(outcome.replayed for outcome in outcomes)
    assert [of_products for _, _, of_products in call.asked] == [False, False, False, True, True, False, False, False]


def test_where_addresses_are_kept_as_hashes_another_secret_makes_others() -> None:
    call, backend = Asking(), MemoryBackend()
    for secret, replayed in (("s", False), ("s", True), ("t", False)):
        outcome = links(call, backend, secret=secret).link("u", ADA, Deadline.after(10))
        assert outcome.replayed is replayed


def test_those_who_ask_at_the_same_moment_share_a_call() -> None:
    call = Asking()
    call.may_end.clear()
    here = links(call)
    outcomes: list[Outcome] = []
    callers = [
        threading.Thread(target=lambda: outcomes.append(here.link("u", ADA, Deadline.after(10)))) for _ in range(5)
    ]
    for caller in callers:
        caller.start()
    time.sleep(0.1)
    call.may_end.set()
    for caller in callers:
        caller.join()
    assert [outcome.verdict for outcome in outcomes] == [LINK] * 5
    assert len(call.asked) == 1


def test_a_refusal_is_told_without_the_address_and_not_remembered() -> None:
    call = Asking(Verdict(422, b'{"message": "no ada@example.com"}'))
    here = links(call)
    for _ in range(2):
        outcome = here.link("u", ADA, Deadline.after(10))
        assert outcome.verdict == Verdict(422, b'{"message": "no (consumerEmail)"}')
    assert len(call.asked) == 2


LATE = "Trustpilot did not make the link within the deadline; ask again for it"


def test_a_link_that_takes_longer_than_the_message_waits_is_for_the_next_who_asks() -> None:
    call = Asking()
    call.may_end.clear()
    here = links(call)
    with pytest.raises(LinkLate) as late:
        here.link("u", ADA, Deadline.after(0.05))
    assert str(late.value) == LATE
    call.may_end.set()
    assert here.link("u", ADA, Deadline.after(10)).verdict == LINK
    assert len(call.asked) == 1


@pytest.mark.parametrize(("error", "raised"), [(TimedOut("slow"), LinkLate), (Failing("down"), Failing)])
def test_what_trustpilot_fails_with_is_raised_and_asked_for_again(error: Exception, raised: type[Exception]) -> None:
    call = Asking(error)
    here = links(call)
    with pytest.raises(raised):
        here.link("u", ADA, Deadline.after(10))
    call.answer = LINK
    assert here.link("u", ADA, Deadline.after(10)).verdict == LINK


def test_a_link_that_another_process_asks_for_is_waited_for_a_second_longer_than_a_call_takes() -> None:
    backend, call = MemoryBackend(), Asking()
    call.may_end.clear()
    first = threading.Thread(target=lambda: links(call, backend, seconds=60).link("u", ADA, Deadline.after(60)))
    first.start()
    while not call.asked:
        time.sleep(0.01)
    began = time.monotonic()
    with pytest.raises(LinkLate):
        links(Asking(), backend, seconds=0.2).link("u", ADA, Deadline.after(30))
    assert time.monotonic() - began >= 1.2
    call.may_end.set()
    first.join()
    assert links(Asking(), backend).link("u", ADA, Deadline.after(10)) == Outcome(LINK, replayed=True)


def test_a_link_that_a_process_asked_for_when_it_died_is_asked_for_anew() -> None:
    backend, dead, call = MemoryBackend(), Asking(), Asking()
    dead.may_end.clear()
    here = Invitations(dead, Idempotency(backend, time.sleep, claim_seconds=0.1), Group(spawn), secret="s", seconds=5)
    with pytest.raises(LinkLate):
        here.link("u", ADA, Deadline.after(0.15))
    assert links(call, backend).link("u", ADA, Deadline.after(10)).verdict == LINK
    assert len(call.asked) == 1
    dead.may_end.set()


class _Down(MemoryBackend):
    def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        raise BackendDown("gone")


def test_without_the_store_none_is_asked_for() -> None:
    call = Asking()
    with pytest.raises(RecordsDown) as down:
        links(call, _Down()).link("u", ADA, Deadline.after(10))
    assert str(down.value) == "the store that remembers links can't be reached; no link was asked for"
    assert call.asked == []
