"""Summaries asked within a few milliseconds of each other share one call."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from proxy.clock import PATIENCE, Patience, Priority
from proxy.reviews.view import Summary
from proxy.trustpilot.errors import Malformed

WINDOW_SECONDS = 0.005
"""How long a batch stays open for others."""

EXPECTED_SECONDS = 0.1
"""How long it stays open for the next one of those who are announced: on a busy machine they come one by one."""


class BatchCall(Protocol):
    """The call that a batch makes."""

    def __call__(
        self, business_unit: str, skus: Sequence[str], *, priority: Priority
    ) -> Mapping[str, Summary | Malformed]:
        """Return the summaries of several products, an error in the place of one that can't be read."""


class _Batch:
    def __init__(self) -> None:
        self.skus: list[str] = []
        self.expected = 0
        """How many were announced, 0 when none were."""
        self.priority = Priority.VALIDATION
        self.full = threading.Event()
        self.done = threading.Event()
        self.summaries: Mapping[str, Summary | Malformed] = {}
        self.error: Exception | None = None


class SummaryBatches:
    """Collects SKUs per business unit; the first to ask waits for the others and calls for all."""

    def __init__(self, call: BatchCall, most_skus: int = 100) -> None:
        """``most_skus``: in one call."""
        self._call = call
        self._most_skus = most_skus
        self._lock = threading.Lock()
        self._open: dict[str, _Batch] = {}

    def expect(self, business_unit: str, count: int) -> None:
        """Announce that ``count`` more are about to ask, so that the batch waits for them; fewer when negative."""
        with self._lock:
            batch = self._open.setdefault(business_unit, _Batch())
            batch.expected = max(0, batch.expected + count)
            if batch.skus and len(batch.skus) >= batch.expected:
                batch.full.set()
            elif not batch.skus and not batch.expected:
                del self._open[business_unit]

    def summary(self, business_unit: str, sku: str, *, priority: Priority) -> Summary | None:
        """Return the summary of ``sku``, ``None`` when Trustpilot has none; raise what the shared call raised.

        A summary that can't be read raises for its own SKU only. One who waits makes the call a foreground one.
        """
        with self._lock:
            batch = self._open.get(business_unit)
            if batch is None:
                batch = self._open[business_unit] = _Batch()
            leads = not batch.skus
            batch.skus.append(sku)
            batch.priority = min(batch.priority, priority)
            if len(batch.skus) >= self._most_skus:
                del self._open[business_unit]
                batch.full.set()
            elif batch.expected and len(batch.skus) >= batch.expected:
                batch.full.set()
        if leads:
            if batch.expected:
                _await_expected(batch)
            else:
                batch.full.wait(WINDOW_SECONDS)
            self._run(business_unit, batch)
        batch.done.wait()
        if batch.error is not None:
            raise batch.error
        counts = batch.summaries.get(sku)
        if isinstance(counts, Malformed):
            raise counts
        return counts

    def _run(self, business_unit: str, batch: _Batch) -> None:
        with self._lock:
            if self._open.get(business_unit) is batch:
                del self._open[business_unit]
        try:
            batch.summaries = self._call(business_unit, list(dict.fromkeys(batch.skus)), priority=batch.priority)
        except Exception as error:  # noqa: BLE001  # it is raised again in everyone who shares the call
            batch.error = error
        finally:
            batch.done.set()


def _await_expected(batch: _Batch) -> None:
    """Wait for those who are announced while they come, for up to half of the time that those who wait have."""
    patience, began, came = PATIENCE.get() or Patience(), time.monotonic(), 0
    while not batch.full.wait(EXPECTED_SECONDS) and len(batch.skus) > came:
        came, now = len(batch.skus), time.monotonic()
        if now - began >= patience.until - now:
            return
