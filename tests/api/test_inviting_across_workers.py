"""Two workers with one store: an invitation arrives once, and the token is fetched once."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import requests

from tests.api.inviting import invite, invite_at_once, order
from tests.running import RunningProxy, RunningRedis, RunningSandbox, served_here


def two_workers(sandbox: RunningSandbox, store: str) -> RunningProxy:
    return RunningProxy(sandbox, CACHE_URL=store, WEB_CONCURRENCY="2", LOG_LEVEL="debug", DEADLINE_SECONDS="5")


@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_of_a_hundred_at_once_each_arrives_once_with_one_token(
    sandbox: RunningSandbox, request: pytest.FixtureRequest, tmp_path: Path, store: str
) -> None:
    redis = request.getfixturevalue("redis_server").url if store == "redis" else None
    with two_workers(sandbox, redis or f"sqlite:///{tmp_path}/proxy.sqlite3") as proxy:
        same = order()
        answers = invite_at_once(proxy, [same] * 100)
        assert [answer.status_code for answer in answers] == [202] * 100
        assert [arrived["body"] for arrived in sandbox.invitations()] == [same]
        others = [order() for _ in range(100)]
        assert [answer.status_code for answer in invite_at_once(proxy, others)] == [202] * 100
        arrived = sorted(each["body"]["referenceNumber"] for each in sandbox.invitations())
        assert arrived == sorted(each["referenceNumber"] for each in [same, *others])
        assert sandbox.calls() == {"token": 1, "invitations": 101}


def test_a_token_revoked_midway_costs_one_renewal_and_no_invitation(
    sandbox: RunningSandbox, redis_server: RunningRedis
) -> None:
    sandbox.behave("slow", kinds=["invitations"], seconds=0.05)
    with two_workers(sandbox, redis_server.url) as proxy:
        orders = [order() for _ in range(80)]
        revoked_after: list[int] = []

        def revoke() -> None:
            while not revoked_after:
                if (arrived := len(sandbox.invitations())) >= 20:
                    sandbox.revoke_tokens()
                    revoked_after.append(arrived)
                time.sleep(0.005)

        revoking = threading.Thread(target=revoke)
        revoking.start()
        answers = invite_at_once(proxy, orders[:60])
        revoking.join()
        # Or a busy machine may have let all of them pass before.
        answers += invite_at_once(proxy, orders[60:])
        assert [answer.status_code for answer in answers] == [202] * 80
        arrived = sorted(each["body"]["referenceNumber"] for each in sandbox.invitations())
        assert arrived == sorted(each["referenceNumber"] for each in orders)
        assert 20 <= revoked_after[0] <= 60
        assert sandbox.calls()["token"] == 2


def test_a_second_proxy_knows_what_the_first_one_sent(sandbox: RunningSandbox, redis_server: RunningRedis) -> None:
    body = order()
    with served_here(sandbox, CACHE_URL=redis_server.url) as first:
        assert invite(first, body).status_code == 202
    with served_here(sandbox, CACHE_URL=redis_server.url) as second:
        assert invite(second, body).headers["Idempotency-Replayed"] == "true"
        assert invite(second, order()).status_code == 202
    assert sandbox.calls() == {"token": 1, "invitations": 2}


def test_without_redis_only_what_cannot_be_told_apart_is_sent(
    sandbox: RunningSandbox, redis_server: RunningRedis
) -> None:
    with two_workers(sandbox, redis_server.url) as proxy:
        redis_server.kill()
        body = order()
        answer = invite(proxy, body)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        assert "the invitation was not sent" in answer.json()["detail"]
        assert sandbox.invitations() == []
        assert invite(proxy, order(referenceNumber=None)).status_code == 202
        redis_server.start()
        time.sleep(1.2)  # the link leaves Redis alone for a second
        statuses = [invite(proxy, body).status_code for _ in range(4)]
        # Each of the two workers may have to find out by itself that Redis is back.
        assert statuses[-1] == 202
        assert len(sandbox.invitations()) == 2


def test_what_a_killed_worker_was_sending_is_not_known_and_never_sent_again(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    # The sandbox takes it, and answers too late.
    sandbox.behave("hang", kinds=["invitations"], times=1)
    url = f"sqlite:///{tmp_path}/proxy.sqlite3"
    with RunningProxy(sandbox, CACHE_URL=url, WEB_CONCURRENCY="2", UPSTREAM_TIMEOUT_SECONDS="1") as proxy:
        body = order()
        sending = threading.Thread(target=_invited, args=(proxy, body))
        sending.start()
        while sandbox.calls()["invitations"] < 1:
            time.sleep(0.01)
        for worker in _children(proxy.pid):
            os.kill(worker, signal.SIGKILL)
        sending.join()
        until = time.monotonic() + 20
        while (answer := _invited(proxy, body)) != 504 and time.monotonic() < until:
            assert answer in (None, 503)
        assert [answer, *(_invited(proxy, body) for _ in range(4))] == [504] * 5
    assert sandbox.calls()["invitations"] == 1


def _invited(proxy: RunningProxy, body: object) -> int | None:
    try:
        return invite(proxy, body).status_code
    except requests.ConnectionError:
        return None


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
