"""Warms many products, a few at once; waits where the budget asks to, and stops when it is told to."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from proxy.reviews import Warmed

AT_ONCE = 6
"""Fewer than the refreshes that Trustpilot is asked at once, so that a warming never takes their last place."""


T = TypeVar("T")


class NotYet(Exception):
    """Nothing can be fetched for ``seconds``: the budget is used up, or Trustpilot fails."""

    def __init__(self, reason: str, *, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds


class CouldNot(Exception):
    """This product could not be fetched."""


SUMMARIES_AT_ONCE = 100
"""So many products' pages are fetched, then the summaries that they lack in one call."""


class Warm(Protocol):
    """Warms products: each one's page, and all their summaries together."""

    def page(self, sku: str) -> tuple[Warmed, bool]:
        """Return what the page came to, and whether the summary is to be warmed too.

        Raises :class:`NotYet` or :class:`CouldNot`.
        """

    def summaries(self, skus: Sequence[str]) -> dict[str, Warmed | CouldNot]:
        """Return by SKU what the summaries came to. Raises :class:`NotYet`."""


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
    lacking: dict[str, Warmed] = {}
    """What the page came to, by SKU, where the summary is to be warmed too."""

    def count(sku: str, outcome: Warmed | CouldNot) -> None:
        if isinstance(outcome, CouldNot):
            tally.failed[sku] = str(outcome)
        else:
            tally.counts[outcome] += 1
        progressed()

    def look_after(remaining: Iterator[str]) -> None:
        for sku in _each(remaining, lock, stop):
            try:
                warmed = _patiently(partial(warm.page, sku), stop, lock, waiting)
            except CouldNot as error:
                with lock:
                    count(sku, error)
                continue
            if warmed is None:
                return
            outcome, lacks_summary = warmed
            with lock:
                if lacks_summary:
                    lacking[sku] = outcome
                else:
                    count(sku, outcome)

    def complete() -> None:
        """Warm the summaries that the pages lack."""
        warmed = _patiently(partial(warm.summaries, list(lacking)), stop, lock, waiting) if lacking else None
        for sku, outcome in (warmed or {}).items():
            count(sku, lacking[sku] if outcome is Warmed.FRESH_ALREADY else outcome)
        lacking.clear()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for first in range(0, len(skus), SUMMARIES_AT_ONCE):
            remaining = iter(skus[first : first + SUMMARIES_AT_ONCE])
            for ended in [pool.submit(look_after, remaining) for _ in range(AT_ONCE)]:
                ended.result()
            complete()
    return tally


def _each(remaining: Iterator[str], lock: threading.Lock, stop: threading.Event) -> Iterator[str]:
    while not stop.is_set():
        with lock:
            sku = next(remaining, None)
        if sku is None:
            return
        yield sku


def _patiently(
    warm: Callable[[], T], stop: threading.Event, lock: threading.Lock, waiting: Callable[[NotYet], None]
) -> T | None:
    """Call ``warm``, waiting as often as it takes; ``None`` when stopped meanwhile."""
    while not stop.is_set():
        try:
            return warm()
        except NotYet as not_yet:
            with lock:
                waiting(not_yet)
            stop.wait(not_yet.seconds)
    return None
