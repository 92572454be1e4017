"""Sending once, over each backend; what is sent, and when it fails, is the test's own."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from gevent import GreenletExit

from proxy.cache.backend import Backend
from proxy.cache.memory import MemoryBackend
from proxy.cache.redis import RedisBackend
from proxy.clock import Deadline, spawn
from proxy.invitations import invitation_fingerprint
from proxy.invitations.idempotency import (
    Fingerprint,
    Idempotency,
    InvitationUnderWay,
    KeyReused,
    Outcome,
    RecordsDown,
    Verdict,
)
from proxy.redis_link import RedisLink
from proxy.trustpilot import Failing, OutcomeUnknown, TrustpilotError
from tests.running import RunningRedis

ACCEPTED = Verdict(202, b'{"id": 1}')
ADA = Fingerprint("key", "ada")
RECORD = "invitation:key"


def on(server: RunningRedis) -> RedisBackend:
    return RedisBackend(RedisLink(server.url, patience=2), server.url, spawn)


@pytest.fixture(params=["memory", "redis"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return MemoryBackend() if request.param == "memory" else on(request.getfixturevalue("redis_server"))


class Sending:
    """Counts what is sent, and waits until it may end."""

    def __init__(self, outcome: Verdict | BaseException = ACCEPTED) -> None:
        self.sent = 0
        self.outcome = outcome
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def __call__(self) -> Verdict:
        self.sent += 1
        self.begun.set()
        assert self.may_end.wait(10)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def idempotency(backend: Backend) -> Idempotency:
    return Idempotency(backend, time.sleep, claim_seconds=10)


def at_once(backend: Backend, sending: Sending, deliveries: int = 5) -> list[Outcome | Exception]:
    """Deliver one invitation several times before the first sending ends; each delivery has a process of its own."""

    def deliver(_: int) -> Outcome | Exception:
        try:
            return idempotency(backend).send(ADA, sending, Deadline.after(10))
        except TrustpilotError as error:
            return error

    with ThreadPoolExecutor(deliveries) as callers:
        delivered = [callers.submit(deliver, number) for number in range(deliveries)]
        sending.begun.wait(10)
        time.sleep(0.3)
        sending.may_end.set()
        return [each.result() for each in delivered]


def test_deliveries_at_the_same_moment_are_sent_once_and_answered_alike(backend: Backend) -> None:
    sending = Sending()
    outcomes = at_once(backend, sending)
    assert sending.sent == 1
    assert [outcome.verdict for outcome in outcomes if isinstance(outcome, Outcome)] == [ACCEPTED] * 5
    assert sum(outcome.replayed for outcome in outcomes if isinstance(outcome, Outcome)) == 4


@pytest.mark.parametrize("error", [Failing("down", retry_after=7), OutcomeUnknown("lost", retry_after=7)])
def test_they_share_a_failure_and_the_next_delivery_is_sent(backend: Backend, error: TrustpilotError) -> None:
    sending = Sending(error)
    outcomes = at_once(backend, sending)
    assert sending.sent == 1
    assert {type(outcome) for outcome in outcomes} == {type(error)}
    assert {outcome.retry_after for outcome in outcomes if isinstance(outcome, TrustpilotError)} == {7}
    sending.outcome = ACCEPTED
    assert idempotency(backend).send(ADA, sending, Deadline.after(10)) == Outcome(ACCEPTED, replayed=False)
    assert idempotency(backend).send(ADA, sending, Deadline.after(10)) == Outcome(ACCEPTED, replayed=True)
    assert sending.sent == 2


def test_they_share_trustpilots_refusal_and_the_next_delivery_is_sent(backend: Backend) -> None:
    sending = Sending(Verdict(400, b"{}"))
    outcomes = at_once(backend, sending)
    assert sending.sent == 1
    assert {outcome.verdict.status for outcome in outcomes if isinstance(outcome, Outcome)} == {400}
    idempotency(backend).send(ADA, sending, Deadline.after(10))
    assert sending.sent == 2


def test_a_bug_while_sending_leaves_the_invitation_free(backend: Backend) -> None:
    sending = Sending(ZeroDivisionError())
    sending.may_end.set()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            idempotency(backend).send(ADA, sending, Deadline.after(1))


def test_who_waits_for_a_sending_that_ends_in_a_bug_is_told_so() -> None:
    backend = MemoryBackend()
    sending = Sending(ZeroDivisionError())
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(idempotency(backend).send, ADA, sending, Deadline.after(10))
        assert sending.begun.wait(10)
        second = callers.submit(idempotency(backend).send, ADA, Sending(), Deadline.after(10))
        time.sleep(0.1)
        sending.may_end.set()
        with pytest.raises(ZeroDivisionError):
            first.result()
        with pytest.raises(Failing) as failing:
            second.result()
    assert str(failing.value) == "another delivery of the same failed: the proxy made a mistake"


def test_who_waits_longer_than_its_deadline_is_told_that_it_is_under_way(backend: Backend) -> None:
    backend.add(RECORD, b'{"identity": "ada", "claim": "another", "until": 9e9}', 10)
    with pytest.raises(InvitationUnderWay):
        idempotency(backend).send(ADA, Sending(), Deadline.after(0.1))


def test_what_a_process_was_sending_when_it_died_is_not_known_and_not_sent_again(backend: Backend) -> None:
    backend.add(RECORD, b'{"identity": "ada", "claim": "dead", "until": %f}' % (time.time() + 0.2), 60)
    sending = Sending()
    with pytest.raises(OutcomeUnknown) as unknown:
        idempotency(backend).send(ADA, sending, Deadline.after(5))
    assert unknown.value.retry_after == 300
    assert str(unknown.value) == (
        "the proxy was ended while it sent this invitation, and does not send it again within 24 hours"
    )
    assert sending.sent == 0


def test_what_a_process_was_sending_when_it_was_ended_is_not_sent_again_either(backend: Backend) -> None:
    here = Idempotency(backend, time.sleep, claim_seconds=0.2)
    sending = Sending(GreenletExit())
    sending.may_end.set()
    with pytest.raises(GreenletExit):
        here.send(ADA, sending, Deadline.after(1))
    with pytest.raises(OutcomeUnknown):
        here.send(ADA, sending, Deadline.after(5))
    assert sending.sent == 1


def test_what_does_no_harm_is_sent_again_once_the_process_that_died_cannot_be_sending_it(backend: Backend) -> None:
    backend.add(RECORD, b'{"identity": "ada", "claim": "dead", "until": %f}' % (time.time() + 0.2), 60)
    sending = Sending()
    sending.may_end.set()
    outcome = idempotency(backend).send(ADA, sending, Deadline.after(5), harmless=True)
    assert (outcome, sending.sent) == (Outcome(ACCEPTED, replayed=False), 1)


def test_a_failure_that_could_not_be_told_is_told_before_the_next_delivery(
    redis_server: RunningRedis, caplog: pytest.LogCaptureFixture
) -> None:
    backend = on(redis_server)
    here = idempotency(backend)
    record: list[bytes | None] = []

    def failing() -> Verdict:
        record.append(backend.get(RECORD))
        redis_server.kill()
        raise Failing("down")

    with pytest.raises(Failing):
        here.send(ADA, failing, Deadline.after(1))
    [warned] = [record.getMessage() for record in caplog.records if "claim" in record.getMessage()]
    assert warned == "the claim on a failed invitation could not be removed yet"
    redis_server.start()
    time.sleep(1.2)  # the link leaves Redis alone for a second
    assert record[0] is not None
    backend.set(RECORD, record[0], 60)
    sending = Sending()
    sending.may_end.set()
    with pytest.raises(Failing):
        here.send(ADA, sending, Deadline.after(5))
    assert here.send(ADA, sending, Deadline.after(5)) == Outcome(ACCEPTED, replayed=False)


def test_one_key_for_two_customers_is_refused_also_while_the_first_is_under_way(backend: Backend) -> None:
    backend.add(RECORD, b'{"identity": "ada", "claim": "another", "until": 9e9}', 10)
    with pytest.raises(KeyReused):
        idempotency(backend).send(Fingerprint("key", "bob"), Sending(), Deadline.after(1))


def test_a_slow_sending_that_outlived_its_claim_does_not_release_another_ones(backend: Backend) -> None:
    another = b'{"identity": "ada", "claim": "another"}'

    def slow() -> Verdict:
        backend.set(RECORD, another, 10)
        raise Failing("down")

    with pytest.raises(Failing):
        idempotency(backend).send(ADA, slow, Deadline.after(1))
    assert backend.get(RECORD) == another


def test_a_long_answer_is_remembered_without_its_body(backend: Backend) -> None:
    sending = Sending(Verdict(200, b'"' + b"x" * 100_000 + b'"'))
    sending.may_end.set()
    idempotency(backend).send(ADA, sending, Deadline.after(1))
    assert idempotency(backend).send(ADA, sending, Deadline.after(1)).verdict == Verdict(200, b"")


def test_it_is_remembered_for_a_day() -> None:
    now = [0.0]
    backend = MemoryBackend(lambda: now[0])
    sending = Sending()
    sending.may_end.set()
    for seconds, replayed in ((0, False), (86_399, True), (86_401, False)):
        now[0] = seconds
        assert idempotency(backend).send(ADA, sending, Deadline.after(1)).replayed is replayed


def test_without_redis_nothing_is_sent(redis_server: RunningRedis) -> None:
    backend = on(redis_server)
    redis_server.kill()
    with pytest.raises(RecordsDown):
        idempotency(backend).send(ADA, Sending(), Deadline.after(1))


def test_redis_lost_while_sending_still_tells_that_it_was_sent(
    redis_server: RunningRedis, caplog: pytest.LogCaptureFixture
) -> None:
    def send() -> Verdict:
        redis_server.kill()
        return ACCEPTED

    backend = on(redis_server)
    assert idempotency(backend).send(ADA, send, Deadline.after(1)).verdict == ACCEPTED
    [lost] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert lost == "an invitation was sent but its answer could not be recorded: it may not be known any more"


def test_redis_never_holds_an_address(redis_server: RunningRedis) -> None:
    link = RedisLink(redis_server.url)
    body = {"consumerEmail": "ada@example.com", "referenceNumber": "order-7"}
    same = invitation_fingerprint("unit", body, None, b"secret")
    assert same.key is not None
    sending = Sending()
    sending.may_end.set()
    idempotency(on(redis_server)).send(same, sending, Deadline.after(1))
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
        return invitation_fingerprint(business_unit, body, header, secret).key

    alike = [key(), key(consumerEmail="Ada@Example.com"), key(referenceNumber=7), key(consumerName="Ada")]
    assert len(set(alike)) == 1
    # What a version before this one has recorded: another key would send a day's invitations again at the upgrade.
    assert alike[0] == "84f94cfc2d96547aa71ec247daa395cd6e78505cf1882391ca1157c209f788aa"
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
    backend: Backend, junk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    backend.set(RECORD, junk, 60)
    sending = Sending()
    sending.may_end.set()
    assert idempotency(backend).send(ADA, sending, Deadline.after(5)) == Outcome(ACCEPTED, replayed=False)
    assert idempotency(backend).send(ADA, sending, Deadline.after(5)).replayed
    assert sending.sent == 1
    assert [record.getMessage() for record in caplog.records if "not the proxy" in record.getMessage()] == [
        "what is recorded under an invitation's key is not the proxy's: dropped"
    ]


def test_a_list_under_an_invitations_key_counts_as_absent(redis_server: RunningRedis) -> None:
    RedisLink(redis_server.url).client.rpush("ccp:1:invitation:key", "junk")
    sending = Sending()
    sending.may_end.set()
    assert not idempotency(on(redis_server)).send(ADA, sending, Deadline.after(5)).replayed
