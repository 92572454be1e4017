from __future__ import annotations

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from proxy.sandbox.state import HUGE_BYTES
from tests.running import RunningSandbox
from tests.sandbox.callers import (
    REVIEWS_PATH,
    ask,
    ask_for_token,
    asking,
    call,
    connected,
    invite,
    read_to_the_end,
    reviews,
    summary,
    token,
)


def _call(sandbox: RunningSandbox, sku: str = "TRUCK-01") -> Any:
    return call(sandbox, REVIEWS_PATH, params={"sku": sku})


def _await_calls(sandbox: RunningSandbox, count: int) -> None:
    """Wait until so many calls are under way."""
    until = time.monotonic() + 20
    while sandbox.ledger().under_way != count:
        assert time.monotonic() < until, sandbox.ledger()
        time.sleep(0.02)


def test_slow_answers_rightly_but_not_before_its_seconds(sandbox: RunningSandbox) -> None:
    right = reviews(sandbox, "TRUCK-01")
    sandbox.behave("slow", seconds=0.4)
    started = time.monotonic()
    assert reviews(sandbox, "TRUCK-01") == right
    assert time.monotonic() - started >= 0.4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 501, 503])
def test_fail_answers_with_its_status(sandbox: RunningSandbox, status: int) -> None:
    sandbox.behave("fail", status=status, retry_after=9)
    answer = _call(sandbox)
    assert (answer.status_code, answer.headers["Retry-After"]) == (status, "9")
    assert set(answer.json()) == {"message"}


@pytest.mark.parametrize(("told", "header"), [(None, "30"), (17, "17"), ("Wed, 21 Oct 2026 07:28:00 GMT",) * 2])
def test_rate_limit_says_when_to_come_back(sandbox: RunningSandbox, told: int | str | None, header: str) -> None:
    sandbox.behave("rate_limit", retry_after=told)
    answer = _call(sandbox)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, header)


def test_hang_sends_nothing_and_ends_after_its_seconds(sandbox: RunningSandbox) -> None:
    sandbox.behave("hang", seconds=0.3)
    with asking(sandbox) as connection:
        assert read_to_the_end(connection) == (b"", False)


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_what_takes_long_ends_when_the_caller_leaves(sandbox: RunningSandbox, mode: str) -> None:
    sandbox.behave(mode)
    with asking(sandbox):
        _await_calls(sandbox, 1)
    _await_calls(sandbox, 0)


def test_a_reset_of_the_sandbox_lets_hanging_callers_go(sandbox: RunningSandbox) -> None:
    sandbox.behave("hang")
    with asking(sandbox) as connection:
        _await_calls(sandbox, 1)
        sandbox.reset()
        assert read_to_the_end(connection) == (b"", False)


def test_drip_sends_the_body_byte_by_byte(sandbox: RunningSandbox) -> None:
    sandbox.put_product("SHORT", [])
    sandbox.behave("drip", seconds=0.01)
    with asking(sandbox, "SHORT") as connection:
        read = connection.recv(65_536)
        assert read.startswith(b"HTTP/1.1 200 OK\r\n")
        pieces = 1
        while not read.endswith(b'{"productReviews":[],"links":[]}'):
            read += connection.recv(65_536)
            pieces += 1
        assert pieces > 5


def test_drip_headers_sends_the_head_byte_by_byte(sandbox: RunningSandbox) -> None:
    sandbox.put_product("SHORT", [])
    sandbox.behave("drip_headers", seconds=0.005)
    with asking(sandbox, "SHORT") as connection:
        assert connection.recv(65_536) in b"HTTP/1.1 200 OK\r\n"
        read, was_reset = read_to_the_end(connection)
        assert not was_reset
        assert read.endswith(b'\r\n\r\n{"productReviews":[],"links":[]}')


def test_reset_resets_the_connection_before_any_answer(sandbox: RunningSandbox) -> None:
    sandbox.behave("reset")
    with asking(sandbox) as connection:
        assert read_to_the_end(connection) == (b"", True)


@pytest.mark.parametrize(("mode", "resets"), [("reset_midway", True), ("truncated", False)])
def test_half_of_the_body_comes_behind_a_head_that_announces_all(
    sandbox: RunningSandbox, mode: str, *, resets: bool
) -> None:
    whole = _call(sandbox).content
    sandbox.behave(mode)
    with asking(sandbox) as connection:
        read, was_reset = read_to_the_end(connection)
    head, _, body = read.partition(b"\r\n\r\n")
    assert was_reset is resets
    assert f"Content-Length: {len(whole)}".encode() in head
    assert body == whole[: len(whole) // 2]


def test_garbage_is_no_json_but_says_it_is(sandbox: RunningSandbox) -> None:
    sandbox.behave("garbage")
    answer = _call(sandbox)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    with pytest.raises(ValueError):
        answer.json()


def test_html_is_a_page_with_status_200(sandbox: RunningSandbox) -> None:
    sandbox.behave("html")
    answer = _call(sandbox)
    assert answer.status_code == 200
    assert answer.text.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("shape", "is_so"),
    [
        ("list", lambda body: isinstance(body, list)),
        ("null", lambda body: body is None),
        ("text", lambda body: isinstance(body, str)),
        ("null_members", lambda body: body == {"productReviews": None, "links": None}),
        ("text_members", lambda body: {type(value) for value in body.values()} == {str}),
        ("object_members", lambda body: isinstance(body["productReviews"], dict)),
        ("not_a_number", lambda body: math.isnan(body["productReviews"])),
    ],
)
def test_wrong_shape_is_json_of_another_shape(sandbox: RunningSandbox, shape: str, is_so: Any) -> None:
    sandbox.behave("wrong_shape", shape=shape)
    assert is_so(_call(sandbox).json())


def test_a_deep_shape_is_too_deep_to_parse(sandbox: RunningSandbox) -> None:
    sandbox.behave("wrong_shape", shape="deep")
    body = _call(sandbox).content
    with pytest.raises(RecursionError):
        json.loads(body)


def test_huge_is_thirty_megabytes_of_valid_json(sandbox: RunningSandbox) -> None:
    sandbox.behave("huge")
    answer = _call(sandbox)
    assert len(answer.content) >= HUGE_BYTES
    assert set(answer.json()) == {"links", "productReviews"}


@pytest.mark.parametrize(("told", "status"), [(None, 302), (307, 307)])
def test_redirect_leads_elsewhere(sandbox: RunningSandbox, told: int | None, status: int) -> None:
    sandbox.behave("redirect", status=told)
    answer = _call(sandbox)
    assert (answer.status_code, answer.headers["Location"]) == (status, "/_sandbox/")


_UNPROCESSED = ["reset", "hang", "fail", "rate_limit", "garbage", "html", "huge", "redirect"]
_SPOILT = ["reset_after", "slow", "reset_midway", "truncated", "wrong_shape"]


@pytest.mark.parametrize("mode", [*_UNPROCESSED, *_SPOILT])
def test_an_invitation_is_stored_only_where_no_more_than_its_answer_was_spoilt(
    sandbox: RunningSandbox, mode: str
) -> None:
    access_token = token(sandbox)["access_token"]
    sandbox.behave(mode, kinds=["invitations"], seconds=0.1 if mode in ("hang", "slow") else None)
    try:
        invite(sandbox, access_token)
    except OSError:
        assert mode in ("reset", "hang", "reset_after", "reset_midway")
    assert len(sandbox.invitations()) == (mode in _SPOILT)


def test_a_behaviour_can_mean_some_kinds_only(sandbox: RunningSandbox) -> None:
    sandbox.behave("fail", kinds=["summary", "token"], status=503)
    assert _call(sandbox).status_code == 200
    assert call(sandbox, REVIEWS_PATH.removesuffix("/reviews"), params={"sku": "A"}).status_code == 503
    assert ask_for_token(sandbox).status_code == 503


def test_a_behaviour_can_mean_some_skus_only(sandbox: RunningSandbox) -> None:
    sandbox.behave("fail", skus=["MUG-01"])
    path = REVIEWS_PATH.removesuffix("/reviews") + "/batch-summaries"
    assert _call(sandbox).status_code == 200
    assert _call(sandbox, "MUG-01").status_code == 500
    assert call(sandbox, path, "POST", json={"skus": ["TRUCK-01"]}).status_code == 200
    assert call(sandbox, path, "POST", json={"skus": ["TRUCK-01", "MUG-01"]}).status_code == 500
    assert ask_for_token(sandbox).status_code == 200


def test_a_behaviour_can_mean_the_next_calls_only(sandbox: RunningSandbox) -> None:
    sandbox.behave("fail", times=2)
    assert [_call(sandbox).status_code for _ in range(4)] == [500, 500, 200, 200]


def test_of_several_behaviours_the_first_that_means_a_call_answers_it(sandbox: RunningSandbox) -> None:
    sandbox.control(
        "PUT",
        "/behaviour",
        [{"mode": "fail", "status": 501, "times": 1}, {"mode": "ok", "skus": ["MUG-01"]}, {"mode": "html"}],
    )
    assert _call(sandbox, "MUG-01").status_code == 501
    assert _call(sandbox, "MUG-01").json()["productReviews"]
    assert _call(sandbox).text.startswith("<!doctype html>")


def test_ok_ends_every_other_behaviour(sandbox: RunningSandbox) -> None:
    sandbox.behave("fail")
    sandbox.behave("ok")
    assert _call(sandbox).status_code == 200


def test_a_thousand_callers_hang_while_others_are_answered(sandbox: RunningSandbox) -> None:
    sandbox.behave("hang", skus=["LAMP-01"])
    hanging = [connected(sandbox) for _ in range(1000)]
    connections = [each.__enter__() for each in hanging]
    try:
        for connection in connections:
            ask(connection, sandbox, "LAMP-01")
        _await_calls(sandbox, 1000)
        assert summary(sandbox, "TRUCK-01")["starsAverage"] == 4.7
        assert sandbox.ledger().most_at_once_by_kind["reviews"] == 1000
    finally:
        for each in hanging:
            each.__exit__(None, None, None)
    _await_calls(sandbox, 0)


def test_a_limit_answers_429_beyond_its_calls(sandbox: RunningSandbox) -> None:
    sandbox.limit(3, 60)
    answers = [_call(sandbox) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert sandbox.calls().total() == 5


def test_a_limit_lets_calls_through_again_after_its_seconds(sandbox: RunningSandbox) -> None:
    sandbox.limit(1, 0.3)
    assert [_call(sandbox).status_code for _ in range(2)] == [200, 429]
    time.sleep(0.35)
    assert _call(sandbox).status_code == 200


def test_a_limit_can_be_lifted(sandbox: RunningSandbox) -> None:
    sandbox.limit(0, 60)
    assert _call(sandbox).status_code == 429
    sandbox.unlimit()
    assert _call(sandbox).status_code == 200


def test_a_limit_is_exact_for_callers_at_the_same_time(sandbox: RunningSandbox) -> None:
    sandbox.limit(50, 60)
    with ThreadPoolExecutor(40) as callers:
        statuses = list(callers.map(lambda _: _call(sandbox, "NEW-00").status_code, range(120)))
    assert (statuses.count(200), statuses.count(429)) == (50, 70)
