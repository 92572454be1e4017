"""The client against the sandbox, in this process: what it sends, what it tells, and what it counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from proxy.clock import Deadline, Priority
from proxy.events import AnswerMalformed, CallEnded, CallNotMade, CallStarted, ReviewsDropped
from proxy.reviews.models import SHOP, Page, at_url
from proxy.reviews.view import Filter
from proxy.trustpilot import Busy, Failing, Malformed, NotFound, Paused, QuotaUsedUp, Rejected, Response
from proxy.trustpilot.changes import DeletionCalls, ShopCalls
from proxy.trustpilot.circuit_breaker import INTERVAL_SECONDS, RUN, Call
from proxy.trustpilot.private import InvitationApi
from tests.running import UNIT, RunningSandbox
from tests.trustpilot.upstream import Attempt, Upstream, Walk


def _walk(sandbox: RunningSandbox, calls: int = 1000) -> Walk:
    return Walk(sandbox.api_url, calls=calls, key=sandbox.api_key)


def _page(
    walk: Walk,
    sku: str,
    *,
    unit: str = UNIT,
    locale: str | None = None,
    page: int = 1,
    priority: Priority = Priority.FOREGROUND,
    **filters: Any,
) -> Page:
    return walk.client.reviews(unit, sku, Filter(**filters), page, locale=locale, priority=priority)


def test_a_page_is_asked_for_with_all_that_narrows_it(sandbox: RunningSandbox) -> None:
    walk = _walk(sandbox)
    assert _page(walk, "TRUCK-01", stars=(4, 5), language="en", locale="en-US").index
    [call] = sandbox.ledger().calls
    expected = {"sku": ["TRUCK-01"], "perPage": ["100"], "page": ["1"], "stars": ["4", "5"], "language": ["en"]}
    assert {name: call.query[name] for name in expected} == expected
    assert call.query["locale"] == ["en-US"]
    assert walk.used == 1
    started, ended = walk.events
    assert started == CallStarted("reviews")
    assert isinstance(ended, CallEnded)
    assert (ended.kind, ended.outcome) == ("reviews", "200")
    assert ended.bytes > 100


def test_a_page_that_is_full_has_more_behind_it(sandbox: RunningSandbox) -> None:
    review = {"stars": 5, "content": "Good", "language": "en", "createdAt": "2024-01-01T00:00:00Z"}
    sandbox.put_product("MANY", [{**review, "id": str(number)} for number in range(101)])
    walk = _walk(sandbox)
    assert [_page(walk, "MANY", page=number).complete for number in (1, 2)] == [False, True]


@pytest.mark.parametrize(("status", "is_fine"), [(199, False), (200, True), (204, True), (299, True), (300, False)])
def test_a_2xx_is_read_and_nothing_else_is(walk: Walk, status: int, is_fine: bool) -> None:
    call, response = Call("unit", "reviews", frozenset("A")), Response(status, {}, b"body")
    if is_fine:
        assert walk.calls.ask(call, lambda _deadline: response, bytes, Priority.FOREGROUND) == b"body"
    else:
        with pytest.raises(Failing):
            walk.calls.ask(call, lambda _deadline: response, bytes, Priority.FOREGROUND)


def test_the_last_call_is_for_who_waits_and_then_none_is_made(sandbox: RunningSandbox) -> None:
    walk = _walk(sandbox, calls=5)
    for number in range(4):
        _page(walk, f"LAMP-0{number}", priority=Priority.BACKGROUND)
    with pytest.raises(QuotaUsedUp):
        _page(walk, "MUG-01", priority=Priority.BACKGROUND)
    _page(walk, "MUG-01")
    with pytest.raises(QuotaUsedUp):
        _page(walk, "MUG-02")
    assert walk.events.count(CallNotMade("budgetspent")) == 2
    assert sandbox.calls() == {"reviews": 5}
    assert not walk.breaker.pauses()


def test_a_paused_call_is_told_and_costs_nothing(upstream: Upstream, walk: Walk) -> None:
    upstream.answers = [(500, {})]
    for number in range(20):
        with pytest.raises(Failing if number < RUN else Paused):
            _page(walk, f"CUP-{number}")
    assert walk.events.count(CallNotMade("paused")) == 20 - RUN
    assert len(upstream.asked) == walk.used == RUN


def test_the_shop_itself_is_asked_for_at_its_own_addresses(upstream: Upstream, walk: Walk) -> None:
    review = {"id": "s1", "stars": 4, "text": "Fine", "createdAt": "2024-10-14T17:42:40Z"}
    upstream.answers = [(200, {"reviews": [review], "links": []}), (200, {"displayName": "Shop"})]
    page = _page(walk, SHOP, unit="un/it", stars=(4,), language="en", locale="en-US", page=2)
    assert [each.id for each in page.index] == ["s1"]
    assert walk.client.business_unit("un/it", priority=Priority.FOREGROUND).name == "Shop"
    reviews, unit = upstream.asked
    assert (reviews.method, reviews.path) == ("GET", "/v1/business-units/un%2Fit/reviews")
    assert reviews.query == [
        ("orderBy", "createdat.desc"),
        ("perPage", "100"),
        ("page", "2"),
        ("stars", "4"),
        ("language", "en"),
    ]
    assert (unit.method, unit.path, unit.query) == ("GET", "/v1/business-units/un%2Fit", [])
    for asked in upstream.asked:
        assert (asked.headers["apikey"], asked.headers["Accept"]) == ("the key", "application/json")


def test_what_a_shop_brought_along_is_asked_for_at_its_own_addresses(upstream: Upstream, walk: Walk) -> None:
    upstream.answers = [(200, {"productReviews": []}), (200, {"numberOfReviews": {"total": 0}})]
    assert not _page(walk, at_url("https://s.example/a"), unit="un/it", source="imported").index
    walk.client.summary("un/it", "A", source="imported", priority=Priority.FOREGROUND)
    walk.client.summary("un/it", "A", source="trustpilot", priority=Priority.FOREGROUND)
    base = "/v1/product-reviews/business-units/un%2Fit"
    assert [asked.path for asked in upstream.asked] == [
        f"{base}/imported-reviews",
        f"{base}/imported-reviews-summaries",
        base,
    ]
    assert upstream.asked[0].query == [("productUrl", "https://s.example/a"), ("perPage", "100"), ("page", "1")]
    assert [asked.query for asked in upstream.asked[1:]] == [[("sku", "A")]] * 2
    assert {asked.method for asked in upstream.asked} == {"GET"}
    assert {asked.headers["apikey"] for asked in upstream.asked} == {"the key"}


def test_a_batch_is_posted_as_json(upstream: Upstream, walk: Walk) -> None:
    upstream.answers = [(200, {"summaries": []})]
    assert walk.client.batch_summaries("un/it", ("A", "B"), priority=Priority.FOREGROUND) == {}
    [asked] = upstream.asked
    assert (asked.method, asked.path) == ("POST", "/v1/product-reviews/business-units/un%2Fit/batch-summaries")
    assert json.loads(asked.body) == {"skus": ["A", "B"]}
    assert (asked.headers["apikey"], asked.headers["Content-Type"]) == ("the key", "application/json")
    assert asked.headers["Accept"] == "application/json"


@pytest.mark.parametrize("priority", [Priority.TRIAL, Priority.FOREGROUND])
def test_a_message_that_is_tried_out_fails_for_itself_alone(
    upstream: Upstream, walk: Walk, priority: Priority
) -> None:
    upstream.answers = [(500, {})]
    for number in range(RUN):
        with pytest.raises(Failing):
            _page(walk, str(number), priority=priority)
    assert walk.breaker.is_open is (priority is Priority.FOREGROUND)


def test_a_call_that_is_stopped_from_outside_leaves_its_probe_to_the_next(walk: Walk) -> None:
    def stopped(_deadline: Deadline) -> Response:
        raise SystemExit

    for number in range(RUN):
        Attempt(walk.breaker, Call("unit", "reviews", frozenset([str(number)]))).failed(Failing("down"))
    walk.now += INTERVAL_SECONDS
    with pytest.raises(SystemExit):
        walk.calls.ask(Call("unit", "reviews", frozenset(["A"])), stopped, bytes, Priority.FOREGROUND)
    Attempt(walk.breaker, Call("unit", "reviews", frozenset(["B"])))


def test_a_call_that_finds_no_room_is_counted_and_not_made(upstream: Upstream, walk: Walk) -> None:
    with ExitStack() as slots:
        for _ in range(4):
            slots.enter_context(walk.bulkhead.slot(Priority.FOREGROUND, Deadline.after(0)))
        with pytest.raises(Busy):
            _page(walk, "A", priority=Priority.BACKGROUND)
    assert walk.events == [CallNotMade("busy")]
    assert upstream.asked == []


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (400, Rejected, "Trustpilot rejects this request with 400"),
        (404, NotFound, "Trustpilot does not know this"),
    ],
)
def test_a_request_that_is_refused_shows_that_trustpilot_works(
    upstream: Upstream, walk: Walk, status: int, error: type[Exception], message: str
) -> None:
    upstream.answers = [(status, {})]
    for number in range(RUN):
        with pytest.raises(error, match=f"^{message}$"):
            _page(walk, str(number))
    assert not walk.breaker.is_open


def test_what_becomes_of_a_call_is_in_the_log_and_told(
    upstream: Upstream, walk: Walk, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"id": "a", "stars": 5, "content": "Fine", "createdAt": "2024-10-14T17:42:40Z"}
    upstream.answers = [(200, {"productReviews": [good, 7, {"id": "b", "stars": "none"}]}), (404, {}), (200, b"{")]
    assert [review.id for review in _page(walk, "A").index] == ["a"]
    with pytest.raises(NotFound):
        _page(walk, "A")
    with pytest.raises(Malformed):
        _page(walk, "A")
    assert caplog.messages == [
        f"dropped 2 malformed reviews of business unit {UNIT}",
        f"Trustpilot answered 404 for reviews of business unit {UNIT}",
    ]
    assert [event for event in walk.events if not isinstance(event, CallStarted | CallEnded)] == [
        ReviewsDropped(2),
        AnswerMalformed(),
    ]


@pytest.mark.parametrize(("priority", "free"), [(Priority.BACKGROUND, False), (Priority.FOREGROUND, True)])
def test_a_direct_call_passes_bulkhead_and_quota_only(
    upstream: Upstream, walk: Walk, priority: Priority, free: bool
) -> None:
    for number in range(RUN):
        Attempt(walk.breaker, Call("unit", "reviews", frozenset([str(number)]))).failed(Failing("down"))
    upstream.answers = [(500, {"a": 1})]
    response = walk.calls.send(
        "POST", f"{upstream.url}/x", headers={"X-A": "b"}, data=b"text", priority=priority, free=free
    )
    assert (response.status, response.body) == (500, b'{"a": 1}')
    [asked] = upstream.asked
    assert (asked.method, asked.path, asked.headers["X-A"], asked.body) == ("POST", "/v1/x", "b", b"text")
    assert walk.used == 1
    with ExitStack() as slots:
        for _ in range(4):
            slots.enter_context(walk.bulkhead.slot(Priority.FOREGROUND, Deadline.after(0)))
        with pytest.raises(Busy):
            walk.calls.send("POST", f"{upstream.url}/x", headers={}, deadline=Deadline.after(0), priority=priority)
    assert walk.events.count(CallNotMade("busy")) == 1


def test_every_call_ends_with_its_deadline(upstream: Upstream, walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []
    send = walk.transport.send

    def noted(
        method: str, url: str, *, headers: Mapping[str, str], data: bytes | None = None, deadline: Deadline
    ) -> Response:
        times.append(deadline.remaining())
        return send(method, url, headers=headers, data=data, deadline=deadline)

    monkeypatch.setattr(walk.transport, "send", noted)
    monkeypatch.setattr(walk.transport, "timeout", 400.0)
    lists: dict[str, object] = {
        "reviews": [],
        "productReviews": [],
        "summaries": [],
        "consumers": [],
        "numberOfReviews": {},
    }
    upstream.answers = [(200, {**lists, "access_token": "t", "url": "https://t.example/"})]
    client, priority = walk.client, Priority.FOREGROUND
    shop = ShopCalls(walk.calls, walk.tokens, api_url=upstream.url)
    deletions = DeletionCalls(walk.calls, api_url=upstream.url, api_key="k")
    api = InvitationApi(
        walk.calls, walk.tokens, api_url=upstream.url, invitations_url=upstream.url, business_user=None
    )
    _page(walk, "A")
    client.business_unit("unit", priority=priority)
    client.summary("unit", "A", source="trustpilot", priority=priority)
    client.batch_summaries("unit", ["A"], priority=priority)
    shop.feed("unit", 1, priority=priority)
    deletions.reviews(0, None)
    walk.calls.send("GET", upstream.url, headers={})
    soon = Deadline.after(300)
    walk.calls.send("GET", upstream.url, headers={}, deadline=soon)
    api.invite("unit", b"{}", soon)
    api.link("unit", {}, soon, of_products=True)
    assert len(times) == 11  # the token's call is one
    assert all(200 < each <= 400 for each in times)
    assert all(isinstance(each, float) and each <= 300 for each in times[-3:])
