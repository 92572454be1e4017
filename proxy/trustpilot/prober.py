"""Finds out by itself whether Trustpilot answers again, so that nobody has to ask for a product to end an outage."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

from proxy.clock import Priority, Spawn
from proxy.trustpilot.circuit_breaker import INTERVAL_SECONDS, Call, CircuitBreaker
from proxy.trustpilot.client import Trustpilot
from proxy.trustpilot.errors import TrustpilotError

_SKU = "connected-content-proxy-probe"
"""Of no product: whatever Trustpilot says of it, it says something."""


class Prober:
    """Makes one call once a pause is over and nobody else has made it.

    The pauses between its own calls grow to a minute, after a 401 or 403 to an hour, and a first success ends them.
    So an outage costs a handful of calls, and those that Trustpilot fails are not of the plan.
    """

    def __init__(
        self, trustpilot: Trustpilot, breaker: CircuitBreaker, business_units: Sequence[str], spawn: Spawn
    ) -> None:
        self._trustpilot = trustpilot
        self._breaker = breaker
        self._units = business_units
        self._spawn = spawn
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to look; called once, after the fork."""
        self._spawn(self._run)

    def stop(self) -> None:
        """End with the next look."""
        self._stopped.set()

    def probe(self) -> None:
        """Make the calls that are due."""
        for unit in self._units:
            if self._breaker.awaits_probe(Call.of(unit, "summaries", [_SKU])):
                # What comes of it is known to the breaker.
                with contextlib.suppress(TrustpilotError):
                    self._trustpilot.batch_summaries(unit, [_SKU], priority=Priority.BACKGROUND)

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            self.probe()
