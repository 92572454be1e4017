"""Sending once, over both ledgers; what is sent, and when it fails, is the test's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy.clock import Deadline
from proxy.invitations.ledger import Ledger, LedgerDown, MemoryLedger
from proxy.invitations.once import InvitationUnderWay, KeyReused, Once, Outcome
from proxy.invitations.redis_ledger import RedisLedger
from proxy.invitations.sameness import sameness
from proxy.redis_link import RedisLink
from proxy.trustpilot.errors import Failing, OutcomeUnknown, TrustpilotError
from proxy.trustpilot.invitations import Verdict
from tests.running import RunningRedis

ACCEPTED = Verdict(202, b'{"id": 1}')


@pytest.fixture(params=["memory", "redis"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger(time.monotonic)
        return
    with RunningRedis() as server:
        yield RedisLedger(RedisLink(server.url, patience=2))


class Sending:
    """Counts what is sent, and waits until it may end."""

    def __init__(self, outcome: Verdict | Exception = ACCEPTED) -> None:
        self.sent = 0
        self.outcome = outcome
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def __call__(self) -> Verdict:
        self.sent += 1
        self.begun.set()
        assert self.may_end.wait(10)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def once(ledger: Ledger, claim_seconds: float = 10) -> Once:
    return Once(ledger, time.sleep, claim_seconds=claim_seconds)


def at_once(ledger: Ledger, sending: Sending, deliveries: int = 5) -> list[Outcome | Exception]:
    """Deliver one invitation several times before the first sending ends; each delivery has a process of its own."""

    def deliver(_: int) -> Outcome | Exception:
        try:
            return once(ledger).send("key", "ada", sending, Deadline.after(10))
        except TrustpilotError as error:
            return error

    with ThreadPoolExecutor(deliveries) as callers:
        delivered = [callers.submit(deliver, number) for number in range(deliveries)]
        sending.begun.wait(10)
        time.sleep(0.3)
        sending.may_end.set()
        return [each.result() for each in delivered]


def test_deliveries_at_the_same_moment_are_sent_once_and_answered_alike(ledger: Ledger) -> None:
    sending = Sending()
    outcomes = at_once(ledger, sending)
    assert sending.sent == 1
    assert [outcome.verdict for outcome in outcomes if isinstance(outcome, Outcome)] == [ACCEPTED] * 5
    assert sum(outcome.replayed for outcome in outcomes if isinstance(outcome, Outcome)) == 4


@pytest.mark.parametrize("error", [Failing("down", retry_after=7), OutcomeUnknown("lost", retry_after=7)])
def test_they_share_a_failure_and_the_next_delivery_is_sent(ledger: Ledger, error: TrustpilotError) -> None:
    sending = Sending(error)
    outcomes = at_once(ledger, sending)
    assert sending.sent == 1
    assert {type(outcome) for outcome in outcomes} == {type(error)}
    assert {outcome.retry_after for outcome in outcomes if isinstance(outcome, TrustpilotError)} == {7}
    sending.outcome = ACCEPTED
    assert once(ledger).send("key", "ada", sending, Deadline.after(10)) == Outcome(ACCEPTED, replayed=False)
    assert once(ledger).send("key", "ada", sending, Deadline.after(10)) == Outcome(ACCEPTED, replayed=True)
    assert sending.sent == 2


def test_they_share_trustpilots_refusal_and_the_next_delivery_is_sent(ledger: Ledger) -> None:
    sending = Sending(Verdict(400, b"{}"))
    outcomes = at_once(ledger, sending)
    assert sending.sent == 1
    assert {outcome.verdict.status for outcome in outcomes if isinstance(outcome, Outcome)} == {400}
    once(ledger).send("key", "ada", sending, Deadline.after(10))
    assert sending.sent == 2


def test_a_bug_while_sending_leaves_the_invitation_free(ledger: Ledger) -> None:
    sending = Sending(ZeroDivisionError())
    sending.may_end.set()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            once(ledger).send("key", "ada", sending, Deadline.after(1))


def test_who_waits_longer_than_its_deadline_is_told_that_it_is_under_way(ledger: Ledger) -> None:
    ledger.claim("key", b'{"identity": "ada", "claim": "another"}', 10)
    with pytest.raises(InvitationUnderWay):
        once(ledger).send("key", "ada", Sending(), Deadline.after(0.1))


def test_a_claim_whose_process_died_ends_by_itself(ledger: Ledger) -> None:
    ledger.claim("key", b'{"identity": "ada", "claim": "dead"}', 0.3)
    sending = Sending()
    sending.may_end.set()
    outcome = once(ledger).send("key", "ada", sending, Deadline.after(10))
    assert outcome == Outcome(ACCEPTED, replayed=False)


def test_one_key_for_two_customers_is_refused_also_while_the_first_is_under_way(ledger: Ledger) -> None:
    ledger.claim("key", b'{"identity": "ada", "claim": "another"}', 10)
    with pytest.raises(KeyReused):
        once(ledger).send("key", "bob", Sending(), Deadline.after(1))


def test_a_slow_sending_that_outlived_its_claim_does_not_take_another_ones_back(ledger: Ledger) -> None:
    ledger.claim("key", b"first", 0.05)
    time.sleep(0.1)
    assert ledger.claim("key", b"second", 10) is None
    ledger.fail("key", b"first", b"late", 10)
    assert ledger.claim("key", b"third", 10) == b"second"


def test_a_long_answer_is_remembered_without_its_body(ledger: Ledger) -> None:
    sending = Sending(Verdict(200, b'"' + b"x" * 100_000 + b'"'))
    sending.may_end.set()
    once(ledger).send("key", "ada", sending, Deadline.after(1))
    assert once(ledger).send("key", "ada", sending, Deadline.after(1)).verdict == Verdict(200, b"")


def test_memory_remembers_a_day_and_so_many() -> None:
    now = [0.0]
    ledger = MemoryLedger(lambda: now[0], most=3)
    for key in "abcd":
        ledger.keep(key, b"sent", 86_400)
    assert [ledger.claim(key, b"mine", 1) for key in "bcd"] == [b"sent"] * 3
    now[0] = 86_401
    assert ledger.claim("d", b"mine", 1) is None


def test_without_redis_nothing_is_sent(redis_server: RunningRedis) -> None:
    ledger = RedisLedger(RedisLink(redis_server.url))
    redis_server.kill()
    with pytest.raises(LedgerDown):
        once(ledger).send("key", "ada", Sending(), Deadline.after(1))


def test_redis_lost_while_sending_still_tells_that_it_was_sent(redis_server: RunningRedis) -> None:
    def send() -> Verdict:
        redis_server.kill()
        return ACCEPTED

    ledger = RedisLedger(RedisLink(redis_server.url))
    assert once(ledger).send("key", "ada", send, Deadline.after(1)).verdict == ACCEPTED


def test_redis_never_holds_an_address(redis_server: RunningRedis) -> None:
    link = RedisLink(redis_server.url)
    body = {"consumerEmail": "ada@example.com", "referenceNumber": "order-7"}
    same = sameness("unit", body, None, b"secret")
    assert same.key is not None
    sending = Sending()
    sending.may_end.set()
    once(RedisLedger(link)).send(same.key, same.identity, sending, Deadline.after(1))
    (name,) = link.ask(lambda client: list(client.scan_iter()))
    held = f"{name!r} {link.ask(lambda client: client.get(name))!r}"
    assert "202" in held
    assert "ada" not in held
    assert "order-7" not in held


def test_what_makes_two_deliveries_the_same() -> None:
    def key(
        business_unit: str = "unit", header: str | None = None, secret: bytes = b"s", **changed: object
    ) -> str | None:
        body = {"consumerEmail": "ada@example.com", "referenceNumber": "7", **changed}
        return sameness(business_unit, body, header, secret).key

    alike = [key(), key(consumerEmail="Ada@Example.com"), key(referenceNumber=7), key(consumerName="Ada")]
    assert len(set(alike)) == 1
    others = [
        key("other"),
        key(consumerEmail="b@example.com"),
        key(referenceNumber="8"),
        key(header="7"),
        key(secret=b""),
    ]
    assert len({alike[0], *others}) == 6
    assert key(referenceNumber=None) is None
    assert key(header="a", consumerEmail="b@example.com") == key(header="a")


@pytest.mark.parametrize(
    "junk",
    [
        b"junk",
        b"[1]",
        b"{}",
        b"5",
        b"\xff",
        b'{"identity": 5}',
        b'{"identity": "ada", "status": "x"}',
        b'{"body": 1}',
    ],
)
def test_junk_under_an_invitations_key_counts_as_absent(
    ledger: Ledger, junk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.keep("key", junk, 60)
    sending = Sending()
    sending.may_end.set()
    assert once(ledger).send("key", "ada", sending, Deadline.after(5)) == Outcome(ACCEPTED, replayed=False)
    assert once(ledger).send("key", "ada", sending, Deadline.after(5)).replayed
    assert sending.sent == 1
    assert [record.getMessage() for record in caplog.records if "not the proxy" in record.getMessage()] == [
        "what is noted under an invitation's key is not the proxy's: dropped"
    ]


def test_a_list_under_an_invitations_key_counts_as_absent() -> None:
    with RunningRedis() as server:
        link = RedisLink(server.url, patience=2)
        link.client.rpush("ccp:1:invitation:key", "junk")
        sending = Sending()
        sending.may_end.set()
        assert not once(RedisLedger(link)).send("key", "ada", sending, Deadline.after(5)).replayed
