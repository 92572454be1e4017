"""Restarts and reloads under load lose no answer, and a wrong reload changes nothing."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from proxy.server import with_file
from proxy.settings import SettingsError
from tests.exposition import totals
from tests.load import Callers
from tests.running import SECRET, ProxyFromScratch, RunningProxy, RunningSandbox

SECONDS_EACH = 4

RATE = 100


def _await(what: Callable[[], object], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def _pids(proxy: RunningProxy, line: str) -> list[int]:
    return [int(found[1]) for text in proxy.log if (found := re.search(line, text))]


def _counted(proxy: RunningProxy) -> int:
    """Return the reads that ``/metrics`` tells of."""
    return totals(proxy, "ccproxy_requests_total", "route")["/v1/reviews",]


def _await_workers(proxy: RunningProxy, number: int) -> None:
    _await(lambda: len(proxy.workers()) == number)


def test_sigterm_with_a_new_master_taking_over_the_port_loses_no_answer(sandbox: RunningSandbox) -> None:
    def take_over() -> None:
        proxy.signal(signal.SIGUSR2)
        _await_workers(proxy, 4)
        time.sleep(1)
        proxy.signal(signal.SIGTERM)
        proxy.wait_for_first_master()

    with ProxyFromScratch(sandbox, keep_alive=10, WEB_CONCURRENCY="2") as proxy:
        with Callers(40) as many:
            answers = many.during(take_over, RATE, lambda _: f"{proxy.url}/v1/reviews?sku=MUG-01")
        # The port is the new master's now, and its workers count on where the old ones stopped. What another worker
        # answered last may be counted a moment later.
        _await(lambda: _counted(proxy) >= len(answers))
        counted = _counted(proxy)
        new_master = _pids(proxy, r"Listening at: .*\((\d+)\)")[-1]
        os.kill(new_master, signal.SIGTERM)
    assert Counter(answer.status for answer in answers) == {200: len(answers)}
    assert counted == len(answers)


def test_sighup_loses_no_answer_and_takes_the_files_credentials(sandbox: RunningSandbox, tmp_path: Path) -> None:
    file = tmp_path / "proxy.env"
    file.write_text(f"PROXY_CREDENTIALS=braze:{SECRET}\n")

    def show(secret: str) -> int:
        return requests.get(
            f"{proxy.url}/v1/summary?sku=MUG-01", headers={"X-Api-Key": secret}, timeout=5
        ).status_code

    def rotate() -> None:
        for number in range(2):
            file.write_text(f"PROXY_CREDENTIALS='braze:{SECRET},next:rotated-{number}' # both until Braze has it\n")
            proxy.signal(signal.SIGHUP)
            _await_workers(proxy, 2 * number + 4)

    with ProxyFromScratch(sandbox, keep_alive=10, PROXY_ENV_FILE=str(file), WEB_CONCURRENCY="2") as proxy:
        assert show("rotated-1") == 401
        with Callers(40) as many:
            answers = many.during(rotate, RATE, lambda _: f"{proxy.url}/v1/reviews?sku=MUG-01")
        _await(lambda: [show("rotated-1") for _ in range(10)] == [200] * 10)
        assert show("rotated-0") == 401
        file.write_text(f"PROXY_CREDENTIALS=hush-hush\nPROXY_TRUSTED_HOPS=-1\nTRUSTPILOT_API_KEY={SECRET}\n")
        proxy.signal(signal.SIGHUP)
        _await(lambda: any("the settings stay as they were" in line for line in proxy.log))
        _await_workers(proxy, 8)
        assert show("rotated-1") == show(SECRET) == 200
    assert Counter(answer.status for answer in answers) == {200: len(answers)}
    assert not [line for line in proxy.log if "hush" in line]


def test_a_secret_that_came_with_sighup_is_redacted_like_those_of_the_start(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    file = tmp_path / "proxy.env"
    file.write_text("")
    with ProxyFromScratch(sandbox, PROXY_ENV_FILE=str(file)) as proxy:
        file.write_text(f"PROXY_CREDENTIALS=braze:{SECRET},next:rotated-7\n")
        proxy.signal(signal.SIGHUP)
        _await_workers(proxy, 2)
        # Said where it has no place, a secret would be quoted as a wrong value.
        file.write_text("LOG_LEVEL=rotated-7\n")
        proxy.signal(signal.SIGHUP)
        _await(lambda: any("the settings stay as they were" in line for line in proxy.log))
    [told] = [line for line in proxy.log if "the settings stay as they were" in line]
    assert "[secret]" in told
    assert not [line for line in proxy.log if "rotated-7" in line]


def test_readyz_turns_first_and_what_is_under_way_is_finished(sandbox: RunningSandbox) -> None:
    with ProxyFromScratch(sandbox, PROXY_DRAIN_SECONDS="2", DEADLINE_SECONDS="5") as proxy:
        assert proxy.get("/readyz").status_code == 200
        sandbox.behave("slow", seconds=2.5)
        got: list[int] = []
        slow = threading.Thread(target=lambda: got.append(proxy.get("/v1/reviews", sku="LAMP-01").status_code))
        slow.start()
        _await(lambda: sandbox.ledger().total)
        proxy.signal(signal.SIGTERM)
        _await(lambda: proxy.get("/readyz").status_code == 503, 2)
        assert proxy.get("/v1/reviews", sku="").status_code == 400
        slow.join()
        assert proxy.wait() == 0
    assert got == [200]


def test_ctrl_c_in_a_terminal_ends_without_a_traceback(sandbox: RunningSandbox) -> None:
    with ProxyFromScratch(sandbox, WEB_CONCURRENCY="2") as proxy:
        proxy.get("/v1/reviews", sku="MUG-01")
        # A terminal signals the whole foreground group.
        for pid in [*proxy.workers(), proxy.pid]:
            os.kill(pid, signal.SIGINT)
        assert proxy.wait() == 0
    assert not [line for line in proxy.log if "Traceback" in line or "exception" in line]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_the_workers_are_still_loading_ends_without_a_traceback(
    sandbox: RunningSandbox, number: int
) -> None:
    for wait in (0.0, 0.15):
        with ProxyFromScratch(sandbox, WEB_CONCURRENCY="2") as proxy:
            _await_workers(proxy, 2)
            time.sleep(wait)
            for pid in [*proxy.workers(), proxy.pid]:
                os.kill(pid, number)
            assert proxy.wait() == 0
        assert not [line for line in proxy.log if "Traceback" in line or "exception" in line]


def test_the_file_says_what_the_environment_can_not_be_told_again(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# comment\nexport PORT=1\nLOG_LEVEL='debug'\nCACHE_URL=redis://:p$w@h/0\nNOTHING\n")
    told = with_file({"PROXY_ENV_FILE": str(file), "PORT": "2", "PATH": "/bin"})
    expected = {"PORT": "1", "LOG_LEVEL": "debug", "CACHE_URL": "redis://:p$w@h/0", "PATH": "/bin"}
    assert {name: told[name] for name in expected} == expected
    assert with_file({"PORT": "2"}) == {"PORT": "2"}
    with pytest.raises(SettingsError, match="PROXY_ENV_FILE"):
        with_file({"PROXY_ENV_FILE": str(tmp_path / "none")})
