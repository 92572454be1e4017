"""An outage's end is found out with nobody asking, at the cost of a few calls."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from proxy.clock import Every, Priority
from proxy.trustpilot import Failing, TrustpilotError
from proxy.trustpilot.circuit_breaker import INTERVAL_SECONDS, QUIET_SECONDS, RUN, Call
from proxy.trustpilot.client import probe
from tests.running import UNIT, RunningSandbox
from tests.trustpilot.upstream import Attempt, Upstream, Walk

HOUR = 3600


class Outage:
    """A breaker that has just opened, and what probes it; time passes when it is told to."""

    def __init__(self, sandbox: RunningSandbox, status: int) -> None:
        self._sandbox = sandbox
        self._walk = Walk(sandbox.api_url, calls=10_000, key=sandbox.api_key)
        self.breaker = self._walk.breaker
        self._probe = partial(probe, self._walk.client, self.breaker, [UNIT])
        sandbox.behave("fail", status=status)
        for number in range(RUN):
            with pytest.raises(TrustpilotError):
                self._walk.client.batch_summaries(UNIT, [f"SKU-{number}"], priority=Priority.FOREGROUND)
        assert self.breaker.is_open
        self._before = sandbox.ledger().total

    def pass_time(self, seconds: float) -> None:
        """Let the prober look every few seconds for so long."""
        until = self._walk.now + seconds
        while self._walk.now < until:
            self._walk.now += INTERVAL_SECONDS
            self._probe()

    def calls(self) -> int:
        """Return how many calls the prober has made."""
        return self._sandbox.ledger().total - self._before


@pytest.fixture
def failing(sandbox: RunningSandbox) -> Outage:
    return Outage(sandbox, 500)


def test_an_outage_of_an_hour_costs_a_call_a_minute(failing: Outage) -> None:
    failing.pass_time(HOUR)
    assert failing.breaker.is_open
    assert 30 <= failing.calls() <= 70


def test_its_end_is_found_out_within_about_a_minute(failing: Outage, sandbox: RunningSandbox) -> None:
    failing.pass_time(600)
    sandbox.behave("ok")
    made = failing.calls()
    failing.pass_time(70)
    assert not failing.breaker.is_open
    assert failing.calls() == made + 1


def test_nothing_is_asked_while_trustpilot_answers(failing: Outage, sandbox: RunningSandbox) -> None:
    sandbox.behave("ok")
    failing.pass_time(10)
    made = failing.calls()
    failing.pass_time(HOUR)
    assert failing.calls() == made == 1


def test_a_refused_key_which_costs_the_plan_is_tried_once_an_hour(sandbox: RunningSandbox) -> None:
    refused = Outage(sandbox, 401)
    refused.pass_time(QUIET_SECONDS - 10)
    assert refused.calls() == 0
    refused.pass_time(10 * HOUR)
    assert 9 <= refused.calls() <= 10


def test_it_looks_by_itself_until_it_is_stopped(upstream: Upstream, walk: Walk) -> None:
    threads: list[threading.Thread] = []

    def beside(job: Callable[[], None]) -> None:
        threads.append(threading.Thread(target=job))
        threads[-1].start()

    for number in range(RUN):
        Attempt(walk.breaker, Call("unit", "reviews", frozenset([str(number)]))).failed(Failing("down"))
    walk.now += INTERVAL_SECONDS
    upstream.answers = [(200, {"summaries": []})]
    prober = Every(0.001, partial(probe, walk.client, walk.breaker, ["unit", "other"]), beside, at_once=False)
    prober.start()
    while walk.breaker.is_open:
        time.sleep(0.001)
    prober.stop()
    [looking] = threads
    looking.join(10)
    assert not looking.is_alive()
    [asked] = upstream.asked
    assert asked.path == "/v1/product-reviews/business-units/unit/batch-summaries"
    assert json.loads(asked.body) == {"skus": ["connected-content-proxy-probe"]}
