"""Warms many products, a few at once; waits where the budget asks to, and stops when it is told to."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from proxy.reviews import Warmed

AT_ONCE = 6
"""Fewer than the refreshes that Trustpilot is asked at once, so that a warming never takes their last place."""


class NotYet(Exception):
    """Nothing can be fetched for ``seconds``: the budget is used up, or Trustpilot fails."""

    def __init__(self, reason: str, *, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds


class CouldNot(Exception):
    """This product could not be fetched."""


class Warm(Protocol):
    """Warms one product."""

    def __call__(self, sku: str) -> Warmed:
        """Return what it came to. Raises :class:`NotYet` or :class:`CouldNot`."""


@dataclass
class Tally:
    """What a warming came to."""

    counts: Counter[Warmed] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by SKU."""

    @property
    def done(self) -> int:
        """How many products were looked after."""
        return self.counts.total() + len(self.failed)


def warm_all(
    skus: Sequence[str],
    warm: Warm,
    *,
    stop: threading.Event,
    progressed: Callable[[], None],
    waiting: Callable[[NotYet], None],
) -> Tally:
    """Warm ``skus`` in their order. Setting ``stop`` ends it after the products under way; nothing fetched is lost.

    ``progressed`` is called after each product, ``waiting`` before each wait; both one at a time.
    """
    tally = Tally()
    lock = threading.Lock()
    remaining = iter(skus)

    def look_after() -> None:
        for sku in _each(remaining, lock, stop):
            outcome: Warmed | None = None
            reason = ""
            try:
                outcome = _patiently(warm, sku, stop, lock, waiting)
            except CouldNot as error:
                reason = str(error)
            if outcome is None and not reason:
                return
            with lock:
                if outcome is None:
                    tally.failed[sku] = reason
                else:
                    tally.counts[outcome] += 1
                progressed()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for ended in [pool.submit(look_after) for _ in range(AT_ONCE)]:
            ended.result()
    return tally


def _each(remaining: Iterator[str], lock: threading.Lock, stop: threading.Event) -> Iterator[str]:
    while not stop.is_set():
        with lock:
            sku = next(remaining, None)
        if sku is None:
            return
        yield sku


def _patiently(
    warm: Warm, sku: str, stop: threading.Event, lock: threading.Lock, waiting: Callable[[NotYet], None]
) -> Warmed | None:
    """Warm ``sku``, waiting as often as it takes; ``None`` when stopped meanwhile."""
    while not stop.is_set():
        try:
            return warm(sku)
        except NotYet as not_yet:
            with lock:
                waiting(not_yet)
            stop.wait(not_yet.seconds)
    return None
