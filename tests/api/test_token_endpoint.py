"""The token endpoint: the seed's snippet with only its host and its credential changed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import requests

from proxy.preview.braze import MemoryAnswers, Profile, Rendering, render
from tests.api.inviting import invite, order
from tests.api.test_reads import Sockets
from tests.preview.braze.test_seed import TOKEN, TRUSTPILOT
from tests.running import SECRET, RunningSandbox, Served, served_here

PATH = "/v1/oauth/oauth-business-users-for-applications/accesstoken"


@pytest.fixture
def handing_out(sandbox: RunningSandbox) -> Iterator[Served]:
    with served_here(sandbox, TOKEN_ENDPOINT="true") as proxy:
        yield proxy


def rendered(proxy: Served) -> Rendering:
    return render(
        TOKEN.replace(TRUSTPILOT, proxy.url).replace("API_KEY:API_SECRET", f"braze:{SECRET}"),
        Profile(),
        transport=Sockets(),
        credentials={},
        clock=time.time,
        sleep=lambda _: None,
        cache=MemoryAnswers(time.time),
    )


def test_the_seeds_snippet_renders_a_token_that_trustpilot_takes(
    sandbox: RunningSandbox, handing_out: Served
) -> None:
    token = rendered(handing_out).output.strip()
    answer = requests.post(
        f"{sandbox.api_url}/private/business-units/{sandbox.business_unit}/email-invitations",
        json=order(),
        headers={"Authorization": f"Bearer {token}", "x-business-user-id": "u"},
        timeout=5,
    )
    assert answer.status_code == 202


def test_it_is_the_token_that_the_proxy_uses_itself(sandbox: RunningSandbox, handing_out: Served) -> None:
    first, second = rendered(handing_out).output, rendered(handing_out).output
    assert first == second
    assert invite(handing_out, order()).status_code == 202
    assert sandbox.calls() == {"token": 1, "invitations": 1}


def test_the_answer_has_trustpilots_shape_and_says_what_is_left(sandbox: RunningSandbox, handing_out: Served) -> None:
    answer = requests.post(handing_out.url + PATH, auth=("braze", SECRET), timeout=20)
    assert answer.json()["token_type"] == "BearerToken"
    assert 359_990 <= int(answer.json()["expires_in"]) <= 360_000
    assert answer.headers["Cache-Control"] == "no-store"


def test_it_is_not_there_by_default(sandbox: RunningSandbox) -> None:
    with served_here(sandbox) as proxy:
        (call,) = rendered(proxy).calls
    assert call.status == 404
    assert sandbox.calls() == {}


def test_a_caller_without_credential_gets_no_token(sandbox: RunningSandbox, handing_out: Served) -> None:
    assert requests.post(handing_out.url + PATH, timeout=20).status_code == 401
    assert (
        requests.post(handing_out.url + PATH, auth=("sandbox-key", "sandbox-secret"), timeout=20).status_code == 401
    )
    assert sandbox.calls() == {}


def test_another_grant_is_refused(handing_out: Served) -> None:
    answer = requests.post(
        handing_out.url + PATH, data={"grant_type": "password"}, auth=("braze", SECRET), timeout=20
    )
    assert answer.status_code == 400


def test_a_trustpilot_that_hands_out_none_is_a_503(sandbox: RunningSandbox, handing_out: Served) -> None:
    sandbox.behave("fail", kinds=["token"])
    answer = requests.post(handing_out.url + PATH, auth=("braze", SECRET), timeout=20)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")


def test_it_answers_within_the_deadline_and_keeps_what_comes_later(sandbox: RunningSandbox) -> None:
    sandbox.behave("slow", kinds=["token"], seconds=2)
    with served_here(sandbox, TOKEN_ENDPOINT="true", DEADLINE_SECONDS="0.3") as proxy:
        # Who waited for the token would have answered 200.
        assert requests.post(proxy.url + PATH, auth=("braze", SECRET), timeout=20).status_code == 503
        until = time.monotonic() + 20
        while requests.post(proxy.url + PATH, auth=("braze", SECRET), timeout=20).status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.2)
    assert sandbox.calls() == {"token": 1}
