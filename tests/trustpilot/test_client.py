"""The client against the sandbox, in this process: what it sends, what it tells, and what it counts."""

from __future__ import annotations

import pytest

from proxy.cache import MemoryBackend
from proxy.cache.backend import Window
from proxy.clock import Priority
from proxy.events import AnswerMalformed, CallEnded, CallNotMade, CallStarted, ReviewsDropped
from proxy.reviews.models import Page
from proxy.trustpilot.bulkhead import Bulkhead
from proxy.trustpilot.circuit_breaker import CircuitBreaker
from proxy.trustpilot.client import DirectCalls, Trustpilot
from proxy.trustpilot.errors import Failing, Malformed, NotFound, QuotaUsedUp
from proxy.trustpilot.quota import Quota
from proxy.trustpilot.token import Grant
from proxy.trustpilot.transport import Transport
from tests.running import UNIT, RunningSandbox


class Calling:
    """The walk to Trustpilot with ``calls`` to spend, and the events that it reports."""

    def __init__(self, sandbox: RunningSandbox, calls: int = 100) -> None:
        self.events: list[object] = []
        self.transport = Transport(timeout=10, concurrency=4, report=self.events.append)
        self.bulkhead = Bulkhead(4)
        self.breaker = CircuitBreaker(lambda: 0.0, report=self.events.append)
        self.quota = Quota(MemoryBackend(0), [Window("hour", calls, 3600)])
        self.client = Trustpilot(
            self.transport,
            self.bulkhead,
            self.breaker,
            self.quota,
            api_url=sandbox.api_url,
            api_key=sandbox.api_key,
            report=self.events.append,
        )

    def page(self, sku: str, page: int = 1, priority: Priority = Priority.FOREGROUND) -> Page:
        return self.client.reviews(
            UNIT, sku, stars=(4, 5), language="en", locale="en-US", page=page, source="trustpilot", priority=priority
        )


def test_a_page_is_asked_for_with_all_that_narrows_it(sandbox: RunningSandbox) -> None:
    calling = Calling(sandbox)
    assert calling.page("TRUCK-01").index
    [call] = sandbox.ledger().calls
    expected = {"sku": ["TRUCK-01"], "perPage": ["100"], "page": ["1"], "stars": ["4", "5"], "language": ["en"]}
    assert {name: call.query[name] for name in expected} == expected
    assert call.query["locale"] == ["en-US"]
    assert calling.quota.uses()[0].used == 1
    started, ended = calling.events
    assert started == CallStarted("reviews")
    assert isinstance(ended, CallEnded)
    assert (ended.kind, ended.outcome) == ("reviews", "200")
    assert ended.bytes > 100


def test_a_page_that_is_full_has_more_behind_it(sandbox: RunningSandbox) -> None:
    review = {"stars": 5, "content": "Good", "language": "en", "createdAt": "2024-01-01T00:00:00Z"}
    sandbox.put_product("MANY", [{**review, "id": str(number)} for number in range(101)])
    calling = Calling(sandbox)
    assert [calling.page("MANY", number).complete for number in (1, 2)] == [False, True]


def test_reviews_that_could_not_be_read_are_counted(sandbox: RunningSandbox) -> None:
    good = {"stars": 5, "content": "Good", "language": "en", "createdAt": "2024-01-01T00:00:00Z", "id": "a"}
    sandbox.put_product("ODD", [good, "no review", {"id": "b", "stars": "none"}])
    calling = Calling(sandbox)
    page = calling.client.reviews(
        UNIT,
        "ODD",
        stars=(),
        language=None,
        locale=None,
        page=1,
        source="trustpilot",
        priority=Priority.FOREGROUND,
    )
    assert [review.id for review in page.index] == ["a"]
    assert [event for event in calling.events if isinstance(event, ReviewsDropped)] == [ReviewsDropped(2)]


def test_a_404_is_no_failure_of_trustpilots(sandbox: RunningSandbox) -> None:
    calling = Calling(sandbox)
    sandbox.behave("fail", status=404)
    for number in range(20):
        with pytest.raises(NotFound):
            calling.page(f"NONE-{number}")
    assert not calling.breaker.is_open


def test_an_answer_that_can_not_be_read_is_told(sandbox: RunningSandbox) -> None:
    calling = Calling(sandbox)
    sandbox.behave("garbage")
    with pytest.raises(Malformed):
        calling.page("TRUCK-01")
    assert AnswerMalformed() in calling.events


def test_the_last_call_is_for_who_waits_and_then_none_is_made(sandbox: RunningSandbox) -> None:
    calling = Calling(sandbox, calls=5)
    for number in range(4):
        calling.page(f"LAMP-0{number}", priority=Priority.BACKGROUND)
    with pytest.raises(QuotaUsedUp):
        calling.page("MUG-01", priority=Priority.BACKGROUND)
    calling.page("MUG-01")
    with pytest.raises(QuotaUsedUp):
        calling.page("MUG-02")
    assert calling.events.count(CallNotMade("budgetspent")) == 2
    assert sandbox.calls() == {"reviews": 5}
    assert not calling.breaker.pauses()


def test_a_paused_call_is_told_and_costs_nothing(sandbox: RunningSandbox) -> None:
    calling = Calling(sandbox)
    sandbox.behave("fail", status=500)
    raised = []
    for number in range(20):
        with pytest.raises(Exception) as error:
            calling.page(f"CUP-{number}")
        raised.append(type(error.value))
    assert raised[0] is Failing
    assert calling.breaker.is_open
    paused = calling.events.count(CallNotMade("paused"))
    assert paused + sum(sandbox.calls().values()) == 20
    assert calling.quota.uses()[0].used == 20 - paused


def test_summaries_of_many_products_are_one_call(sandbox: RunningSandbox) -> None:
    calling = Calling(sandbox)
    summaries = calling.client.batch_summaries(UNIT, ["TRUCK-01", "MUG-01"], priority=Priority.FOREGROUND)
    assert set(summaries) == {"TRUCK-01", "MUG-01"}
    [call] = sandbox.ledger().calls
    assert (call.kind, sorted(call.skus)) == ("batch_summaries", ["MUG-01", "TRUCK-01"])
    alone = calling.client.summary(UNIT, "TRUCK-01", source="trustpilot", priority=Priority.FOREGROUND)
    assert alone == summaries["TRUCK-01"]


def test_a_token_is_handed_out_for_the_key_and_the_secret(sandbox: RunningSandbox) -> None:
    calling = Calling(sandbox)
    sender = DirectCalls(calling.transport, calling.bulkhead, calling.quota)
    sandbox.tokens_last(600)
    grant = Grant(
        sender, api_url=sandbox.api_url, api_key=sandbox.api_key, api_secret=sandbox.api_secret, now=lambda: 1000.0
    )
    token = grant.fetch()
    assert token.text
    assert token.expires_at == 1600.0
    assert token.is_fresh(1000.0)
    assert not token.is_fresh(1600.0)
    assert sandbox.calls() == {"token": 1}
