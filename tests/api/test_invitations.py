"""Inviting through a real proxy: what arrives at Trustpilot, and what Braze is told."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from proxy.app import build
from proxy.server.plain_gets import REQUEST_SECONDS
from proxy.settings import Settings
from tests.api.inviting import invite, order
from tests.running import (
    SECRET,
    UNIT,
    ProxyFromScratch,
    RunningProxy,
    RunningSandbox,
    Served,
    proxy_environment,
    served_here,
    silent_name_server,
)

DROP_IN = f"/v1/private/business-units/{UNIT}/email-invitations"
SECOND = RunningSandbox.second_business_unit


@pytest.fixture(scope="module")
def started_inviter(started_sandbox: RunningSandbox) -> Iterator[RunningProxy]:
    with RunningProxy(
        started_sandbox,
        TRUSTPILOT_BUSINESS_UNIT_ID=f"{UNIT},{SECOND}",
        UPSTREAM_TIMEOUT_SECONDS="1",
        LOG_LEVEL="debug",
    ) as proxy:
        yield proxy


@pytest.fixture
def inviter(sandbox: RunningSandbox, started_inviter: RunningProxy) -> RunningProxy:
    return started_inviter


@pytest.fixture
def fresh(sandbox: RunningSandbox) -> Iterator[Served]:
    """A proxy that has no token yet."""
    with served_here(sandbox) as proxy:
        yield proxy


@pytest.mark.parametrize("path", ["/v1/invitations", DROP_IN])
def test_an_invitation_arrives_as_it_was_sent_and_trustpilots_answer_is_relayed(
    sandbox: RunningSandbox, inviter: RunningProxy, path: str
) -> None:
    number = "123456789012345678901234567890.10"
    text = json.dumps(order(locationId="Øst", price=0)).replace('"price": 0', f'"price": {number}')
    answer = requests.post(
        inviter.url + path,
        data=text.encode(),
        headers={"X-Api-Key": SECRET, "Content-Type": "application/json; charset=utf-8"},
        timeout=20,
    )
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Idempotency-Replayed" not in answer.headers
    (arrived,) = sandbox.invitations()
    assert arrived["body"] == json.loads(text)
    assert (arrived["business_unit"], arrived["business_user_id"]) == (UNIT, "test-user")


def test_another_configured_business_unit_can_be_named(sandbox: RunningSandbox, inviter: RunningProxy) -> None:
    invite(inviter, order(), f"/v1/invitations?business_unit={SECOND}")
    invite(inviter, order(), DROP_IN.replace(UNIT, SECOND))
    assert [arrived["business_unit"] for arrived in sandbox.invitations()] == [SECOND, SECOND]


def test_a_business_unit_that_is_not_configured_is_refused(sandbox: RunningSandbox, inviter: RunningProxy) -> None:
    assert invite(inviter, order(), "/v1/invitations?business_unit=nobody").status_code == 400
    assert invite(inviter, order(), DROP_IN.replace(UNIT, "nobody")).status_code == 404
    assert sandbox.calls() == {}


def test_the_same_order_sent_again_is_answered_alike_and_not_sent(
    sandbox: RunningSandbox, inviter: RunningProxy
) -> None:
    body = order()
    first = invite(inviter, body)
    again = invite(inviter, {**body, "consumerName": "rendered anew", "consumerEmail": body["consumerEmail"].upper()})
    drop_in = invite(inviter, body, DROP_IN)
    assert [answer.status_code for answer in (first, again, drop_in)] == [202, 202, 202]
    assert again.headers["Idempotency-Replayed"] == drop_in.headers["Idempotency-Replayed"] == "true"
    assert len(sandbox.invitations()) == 1


def test_an_idempotency_key_tells_without_a_reference_number(sandbox: RunningSandbox, inviter: RunningProxy) -> None:
    body = order(referenceNumber=None)
    answers = [invite(inviter, body, **{"Idempotency-Key": "dispatch-1"}) for _ in range(2)]
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers] == [None, "true"]
    assert len(sandbox.invitations()) == 1


def test_an_idempotency_key_for_another_customer_is_refused_and_not_called_sent(
    sandbox: RunningSandbox, inviter: RunningProxy
) -> None:
    invite(inviter, order(), **{"Idempotency-Key": "the-campaign"})
    answer = invite(inviter, order(), **{"Idempotency-Key": "the-campaign"})
    assert answer.status_code == 422
    assert "key of its own for each invitation" in answer.json()["detail"]
    assert len(sandbox.invitations()) == 1


@pytest.mark.parametrize(
    ("key", "detail"),
    [
        ("", "rendered to nothing"),
        ("{{dispatch_id}}", "unrendered"),
        ("{% assign x %}", "unrendered"),
        ("x" * 256, "255"),
        ("\xe9", "ASCII"),
    ],
)
def test_a_bad_idempotency_key_is_a_400(
    sandbox: RunningSandbox, inviter: RunningProxy, key: str, detail: str
) -> None:
    answer = invite(inviter, order(), **{"Idempotency-Key": key})
    assert (answer.status_code, detail in answer.json()["detail"]) == (400, True)
    assert sandbox.calls() == {}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"null", "the body takes a JSON object"),
        (b'{"consumerEmail": ada@example.com}', "the body is not JSON, from line 1, column 19"),
        (b'{"consumerEmail": "ada"}', "consumerEmail: not an e-mail address; takes an e-mail address such as"),
    ],
)
def test_a_body_that_would_be_refused_is_told_what_is_wrong_without_its_values_and_costs_no_call(
    sandbox: RunningSandbox, inviter: RunningProxy, body: bytes, detail: str
) -> None:
    headers = {"X-Api-Key": SECRET, "Content-Type": "application/json"}
    answer = requests.post(f"{inviter.url}/v1/invitations", data=body, headers=headers, timeout=20)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert answer.json()["detail"].startswith(detail)
    assert answer.json()["found"] is False
    assert "ada" not in answer.text
    assert sandbox.calls() == {}


WRONG = [
    ({"mode": "fail", "status": 500}, 503, "Trustpilot answered 500"),
    ({"mode": "fail", "status": 503, "retry_after": 7}, 503, "Trustpilot answered 503"),
    ({"mode": "fail", "status": 408}, 503, "Trustpilot answered 408"),
    ({"mode": "redirect"}, 503, "Trustpilot answered 302"),
    ({"mode": "rate_limit", "retry_after": 7}, 429, "rate limit"),
    ({"mode": "fail", "status": 401}, 502, "the proxy's credentials are wrong, not the caller's"),
    ({"mode": "fail", "status": 403}, 502, "the proxy's credentials are wrong, not the caller's"),
    ({"mode": "hang"}, 504, "whether the invitation was sent is not known"),
    ({"mode": "reset"}, 504, "whether the invitation was sent is not known"),
    ({"mode": "garbage"}, 504, "whether the invitation was sent is not known"),
    ({"mode": "html"}, 504, "whether the invitation was sent is not known"),
    ({"mode": "huge"}, 504, "whether the invitation was sent is not known"),
]


@pytest.mark.parametrize(("behaviour", "status", "detail"), WRONG, ids=[str(each[0]) for each in WRONG])
def test_a_failing_trustpilot_is_told_so_that_braze_retries_and_the_retry_delivers_once(
    sandbox: RunningSandbox, inviter: RunningProxy, behaviour: dict[str, str], status: int, detail: str
) -> None:
    sandbox.behave(kinds=["invitations"], **behaviour)
    body = order()
    failed = invite(inviter, body)
    assert failed.status_code == status
    assert failed.headers["Content-Type"] == "application/problem+json"
    assert detail in failed.json()["detail"]
    assert failed.headers["Retry-After"] == str(behaviour.get("retry_after", 30))
    assert sandbox.invitations() == []
    sandbox.behave("ok")
    assert [invite(inviter, body).status_code for _ in range(2)] == [202, 202]
    assert len(sandbox.invitations()) == 1


@pytest.mark.parametrize("mode", ["reset_after", "slow"])
def test_an_answer_lost_after_trustpilot_took_it_may_be_sent_twice_as_the_docs_say(
    sandbox: RunningSandbox, inviter: RunningProxy, mode: str
) -> None:
    invite(inviter, order())
    sandbox.behave(mode, kinds=["invitations"], times=1)
    body = order()
    assert invite(inviter, body).status_code == 504
    assert invite(inviter, body).status_code == 202
    assert [arrived["body"] for arrived in sandbox.invitations()[1:]] == [body, body]


def test_trustpilots_own_refusal_is_relayed_and_not_remembered(
    sandbox: RunningSandbox, inviter: RunningProxy
) -> None:
    sandbox.behave("fail", kinds=["invitations"], status=422, times=1)
    body = order()
    refused = invite(inviter, body)
    assert (refused.status_code, refused.headers["Content-Type"]) == (422, "application/json")
    assert "message" in refused.json()
    assert invite(inviter, body).status_code == 202


def test_the_token_is_fetched_once_and_renewed_after_a_401(sandbox: RunningSandbox, fresh: Served) -> None:
    for _ in range(3):
        assert invite(fresh, order()).status_code == 202
    assert sandbox.calls()["token"] == 1
    sandbox.revoke_tokens()
    assert invite(fresh, order()).status_code == 202
    assert sandbox.calls() == {"token": 2, "invitations": 5}


@pytest.mark.parametrize(("behaviour", "status"), [("fail", 503), ("hang", 503), ("rate_limit", 429)])
def test_without_a_token_nothing_is_sent_and_braze_retries(
    sandbox: RunningSandbox, behaviour: str, status: int
) -> None:
    sandbox.behave(behaviour, kinds=["token"], times=1)
    with served_here(sandbox, UPSTREAM_TIMEOUT_SECONDS="1") as proxy:
        body = order()
        assert invite(proxy, body).status_code == status
        # The call for the token ends about when the answer does; Braze retries much later than that.
        time.sleep(0.5)
        assert invite(proxy, body).status_code == 202
    assert len(sandbox.invitations()) == 1


def test_a_wrong_secret_is_a_502_that_blames_the_proxy(sandbox: RunningSandbox) -> None:
    with served_here(sandbox, TRUSTPILOT_API_SECRET="not-the-secret") as proxy:
        answer = invite(proxy, order())
    assert answer.status_code == 502
    assert "refuses the proxy's API key and secret" in answer.json()["detail"]


def test_tokens_that_are_refused_although_new_are_not_fetched_over_and_over(
    sandbox: RunningSandbox, fresh: Served
) -> None:
    sandbox.behave("fail", kinds=["invitations"], status=401)
    assert [invite(fresh, order()).status_code for _ in range(5)] == [502] * 5
    assert sandbox.calls()["token"] == 2


def test_a_trustpilot_that_refuses_connections_is_a_503(sandbox: RunningSandbox) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connecting is refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with served_here(sandbox, TRUSTPILOT_INVITATIONS_URL=url) as proxy:
            assert invite(proxy, order()).status_code == 503


def test_without_a_secret_invitations_are_not_set_up(sandbox: RunningSandbox) -> None:
    with served_here(sandbox, TRUSTPILOT_API_SECRET="") as proxy:
        answer = invite(proxy, order())
    assert answer.status_code == 501
    assert "TRUSTPILOT_API_SECRET" in answer.json()["detail"]


def test_anonymous_callers_may_not_invite(sandbox: RunningSandbox) -> None:
    with served_here(sandbox, PROXY_ALLOW_ANONYMOUS="true", PROXY_CREDENTIALS="") as proxy:
        answer = requests.post(f"{proxy.url}/v1/invitations", json=order(), timeout=20)
    assert answer.status_code == 401
    assert sandbox.calls() == {}


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_another_content_type_is_a_415(inviter: RunningProxy, content_type: str | None) -> None:
    headers = {"X-Api-Key": SECRET} | ({"Content-Type": content_type} if content_type else {})
    answer = requests.post(f"{inviter.url}/v1/invitations", data=b"{}", headers=headers, timeout=20)
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_cap_is_a_413(sandbox: RunningSandbox, inviter: RunningProxy, *, chunked: bool) -> None:
    body = json.dumps(order(filler="x" * 262_144)).encode()
    answer = requests.post(
        f"{inviter.url}/v1/invitations",
        data=iter([body]) if chunked else body,
        headers={"X-Api-Key": SECRET, "Content-Type": "application/json"},
        timeout=20,
    )
    assert (answer.status_code, "262144 bytes" in answer.json()["detail"]) == (413, True)
    assert sandbox.calls() == {}


def test_invitations_count_against_the_call_budget_and_are_not_sent_beyond_it(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, TRUSTPILOT_CALLS_PER_5_MINUTES="3") as proxy:
        # One call of the three is the token's.
        answers = [invite(proxy, order()) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [202, 202, 503, 503]
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 300
        assert "budget of 3 calls per 5 minutes is used up" in answers[-1].json()["detail"]
        assert sandbox.calls() == {"token": 1, "invitations": 2}


def test_while_no_name_server_answers_an_invitation_is_known_to_be_unsent_in_time(sandbox: RunningSandbox) -> None:
    settings: dict[str, Any] = {
        "UPSTREAM_TIMEOUT_SECONDS": "1",
        "TRUSTPILOT_INVITATIONS_URL": "http://nobody.example/v1",
    }
    with silent_name_server() as names, ProxyFromScratch(sandbox, **names, **settings) as proxy:
        for _ in range(2):
            assert invite(proxy, order()).status_code == 503


def test_no_setting_has_an_invitation_take_longer_than_the_server_gives_a_request(sandbox: RunningSandbox) -> None:
    environment = proxy_environment(sandbox, UPSTREAM_TIMEOUT_SECONDS="60")
    inviting = build(Settings.from_environment(environment)).inviting
    assert inviting is not None
    assert inviting.invitations.seconds + 2 < REQUEST_SECONDS
