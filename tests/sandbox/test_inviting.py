from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from tests.running import RunningSandbox
from tests.sandbox.callers import PATIENCE, ask_for_token, invite, token


def test_a_token_lasts_a_hundred_hours_written_as_text(sandbox: RunningSandbox) -> None:
    assert token(sandbox)["expires_in"] == "360000"


def test_expires_in_can_be_a_number(sandbox: RunningSandbox) -> None:
    sandbox.tokens_last(7200, as_number=True)
    assert token(sandbox)["expires_in"] == 7200


def test_every_token_is_another(sandbox: RunningSandbox) -> None:
    assert token(sandbox)["access_token"] != token(sandbox)["access_token"]


def test_a_wrong_secret_gets_no_token(sandbox: RunningSandbox) -> None:
    assert ask_for_token(sandbox, secret="wrong").status_code == 401


def test_another_grant_gets_no_token(sandbox: RunningSandbox) -> None:
    assert ask_for_token(sandbox, grant_type="password").status_code == 400


def test_an_invitation_is_accepted_and_stored_as_it_came(sandbox: RunningSandbox) -> None:
    body = {"consumerEmail": "ada@example.com", "productReviewInvitation": {"productSkus": ["TRUCK-01"]}, "own": "x"}
    answer = invite(sandbox, token(sandbox)["access_token"], body)
    assert (answer.status_code, answer.content) == (202, b"")
    (stored,) = sandbox.invitations()
    assert stored["at"]
    assert (stored["business_unit"], stored["business_user_id"]) == (sandbox.business_unit, "user-1")
    assert stored["body"] == body


def test_an_invitation_without_a_token_is_a_401(sandbox: RunningSandbox) -> None:
    path = f"/private/business-units/{sandbox.business_unit}/email-invitations"
    assert requests.post(sandbox.api_url + path, json={}, timeout=PATIENCE).status_code == 401
    assert invite(sandbox, "made-up").status_code == 401


def test_a_revoked_token_is_worthless_and_a_new_one_is_not(sandbox: RunningSandbox) -> None:
    old = token(sandbox)["access_token"]
    sandbox.revoke_tokens()
    assert invite(sandbox, old).status_code == 401
    assert invite(sandbox, token(sandbox)["access_token"]).status_code == 202


def test_a_token_expires(sandbox: RunningSandbox) -> None:
    sandbox.tokens_last(1)
    short = token(sandbox)["access_token"]
    assert invite(sandbox, short).status_code == 202
    time.sleep(1.1)
    assert invite(sandbox, short).status_code == 401


def test_an_invitation_needs_a_business_user(sandbox: RunningSandbox) -> None:
    answer = invite(sandbox, token(sandbox)["access_token"], user=None)
    assert (answer.status_code, answer.json()) == (400, {"message": "x-business-user-id is missing"})


def test_an_invitation_for_an_unknown_business_unit_is_a_404(sandbox: RunningSandbox) -> None:
    assert invite(sandbox, token(sandbox)["access_token"], unit="unknown").status_code == 404


@pytest.mark.parametrize("body", [[], "text", 5])
def test_an_invitation_is_an_object(sandbox: RunningSandbox, body: Any) -> None:
    assert invite(sandbox, token(sandbox)["access_token"], body).status_code == 400
    assert sandbox.invitations() == []


def test_token_and_invitation_calls_are_counted(sandbox: RunningSandbox) -> None:
    invite(sandbox, token(sandbox)["access_token"])
    assert sandbox.calls() == {"token": 1, "invitations": 1}
