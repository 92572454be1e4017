from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys

import pytest

from tests.running import UNIT, RunningSandbox
from tests.sandbox.callers import ask, asking, connected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly_also_with_callers_hanging(number: signal.Signals) -> None:
    with RunningSandbox() as sandbox:
        sandbox.behave("hang")
        with connected(sandbox) as hanging, connected(sandbox) as dripping:
            ask(hanging, sandbox)
            sandbox.ledger()
            sandbox.behave("drip")
            ask(dripping, sandbox)
            sandbox.ledger()
            sandbox.signal(number)
            assert sandbox.wait() == 0
    assert sandbox.log == [f"Sandbox listening on {sandbox.api_url}\n"]


def test_nothing_that_can_happen_to_a_caller_is_reported_as_an_error() -> None:
    with RunningSandbox() as sandbox:
        for mode in ("reset", "reset_midway", "truncated", "drip", "drip_headers", "huge", "hang"):
            sandbox.behave(mode)
            with asking(sandbox):
                sandbox.ledger()
    assert len(sandbox.log) == 1


def test_it_takes_as_many_connections_as_the_system_allows(sandbox: RunningSandbox) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert resource.prlimit(sandbox.pid, resource.RLIMIT_NOFILE) == (most, most)


@pytest.mark.parametrize(
    ("module", "foreign"), [("wsgi", "proxy.sandbox"), ("proxy.sandbox.server, proxy.sandbox.server", "requests")]
)
def test_the_proxy_loads_nothing_of_it_and_it_needs_only_flask_and_gevent(module: str, foreign: str) -> None:
    settings = {"TRUSTPILOT_API_KEY": "k", "TRUSTPILOT_BUSINESS_UNIT_ID": UNIT, "PROXY_CREDENTIALS": "a:test-secret"}
    program = f"import sys, {module}; print('{foreign}' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **settings}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
