"""Stops calls while Trustpilot fails, so that an outage costs a handful of them and not one per request."""

from __future__ import annotations

import logging
import math
import threading

from proxy.clock import Now
from proxy.events import Report, unheard
from proxy.trustpilot.errors import Paused, TrustpilotError
from proxy.trustpilot.reports import BreakerTurned

RUN = 5
"""Failures in a row that open the breaker."""

INTERVAL_SECONDS = 5.0
"""From one failure to the next probe. Trustpilot's own ``Retry-After``, where it is longer, comes first."""

_log = logging.getLogger(__name__)


class Attempt:
    """One admitted call. Exactly one of its methods is to be called, once its outcome is known."""

    def __init__(self, breaker: Breaker, *, probes: bool) -> None:
        self._breaker = breaker
        self._probes = probes

    def succeeded(self) -> None:
        """Trustpilot answered."""
        self._breaker._note_success(probes=self._probes)

    def failed(self, error: TrustpilotError) -> None:
        """Trustpilot did not answer, or with nothing that can be used."""
        self._breaker._note_failure(error, probes=self._probes)

    def withdrawn(self) -> None:
        """No call was made after all, or its outcome says nothing about Trustpilot."""
        self._breaker._note_nothing(probes=self._probes)


class Breaker:
    """Closed: calls pass. Open: none do. Once the interval is over: one probe at a time, which closes it or not.

    ``now`` is any clock in seconds that never goes back.
    """

    def __init__(
        self, now: Now, *, run: int = RUN, interval: float = INTERVAL_SECONDS, report: Report = unheard
    ) -> None:
        self._now = now
        self._report = report
        self._run = run
        self._interval = interval
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until: float | None = None
        self._probing = False
        self._reason = ""

    @property
    def is_open(self) -> bool:
        """Whether calls are stopped."""
        return self._open_until is not None

    def admit(self) -> Attempt:
        """Let a call pass. Raises :class:`Paused`."""
        with self._lock:
            if self._open_until is None:
                return Attempt(self, probes=False)
            left = self._open_until - self._now()
            if left > 0 or self._probing:
                wait = max(1, math.ceil(left if left > 0 else self._interval))
                raise Paused(f"calls to Trustpilot are paused: {self._reason}", retry_after=wait)
            self._probing = True
            return Attempt(self, probes=True)

    def _note_success(self, *, probes: bool) -> None:
        with self._lock:
            closes = probes and self._open_until is not None
            if self._open_until is not None and not probes:
                # A straggler from before the breaker opened: what came after it failed.
                return
            self._failures, self._open_until, self._probing = 0, None, False
        if closes:
            self._report(BreakerTurned(is_open=False))
            _log.warning("Trustpilot answers again: calls go on")

    def _note_failure(self, error: TrustpilotError, *, probes: bool) -> None:
        with self._lock:
            self._failures += 1
            was_open = self._open_until is not None
            if probes:
                self._probing = False
            elif error.told is None and (was_open or self._failures < self._run):
                return
            pause = max(self._interval, error.told or 0)
            self._open_until = max(self._open_until or 0, self._now() + pause)
            self._reason = str(error)
        if not was_open:
            self._report(BreakerTurned(is_open=True))
            _log.warning("calls to Trustpilot are paused for %.0f s: %s", pause, error)

    def _note_nothing(self, *, probes: bool) -> None:
        with self._lock:
            if probes:
                self._probing = False
