"""The answers that may be repeated: bounded in bytes, while fresh, until a product they were made from changes."""

from __future__ import annotations

import math
import threading
from collections import deque
from itertools import islice
from typing import NamedTuple

from proxy.clock import Now
from proxy.middleware.ready import Asked, Ready

_CHANGES_REMEMBERED = 1000


class _Held(NamedTuple):
    ready: Ready
    until: float
    weight: int


class HeldAnswers:
    """Finished answers by what was asked. When there is no room the oldest leaves: it would be the next to expire."""

    def __init__(self, max_bytes: int, now: Now, longest: float = math.inf) -> None:
        """``longest``: seconds an answer is repeated at most, where changes elsewhere may be missed."""
        self._now = now
        self._longest = longest
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._answers: dict[Asked, _Held] = {}
        self.held_bytes = 0
        """By :meth:`~proxy.middleware.ready.Ready.weight`."""
        self._changes = 0
        self._changed: deque[str] = deque(maxlen=_CHANGES_REMEMBERED)

    def get(self, asked: Asked) -> Ready | None:
        """Return the answer to repeat."""
        # Without the lock: this is all that most requests need, and one look into a dictionary is whole by itself.
        held = self._answers.get(asked)
        if held is None or self._now() >= held.until:
            return None
        return held.ready

    def mark(self) -> int:
        """Return the moment from which an answer is being made, for :meth:`hold`."""
        return self._changes

    def hold(self, asked: Asked, ready: Ready, since: int) -> None:
        """Hold what may be repeated, unless one of its products changed since :meth:`mark`."""
        if ready.made_of is None:
            return
        held = _Held(
            ready,
            until=min(ready.made_of.freshness.fresh_until, self._now() + self._longest),
            weight=ready.weight(asked),
        )
        with self._lock:
            missed = self._changes - since
            if missed > len(self._changed) or held.weight > self._max_bytes:
                return
            if not set(ready.made_of.products).isdisjoint(islice(reversed(self._changed), missed)):
                return
            self._drop(asked)
            self._answers[asked] = held
            self.held_bytes += held.weight
            while self.held_bytes > self._max_bytes:
                self._drop(next(iter(self._answers)))

    def forget(self, product: str) -> None:
        """Drop the answers made from ``product``, also those that are just being made."""
        with self._lock:
            self._changes += 1
            self._changed.append(product)
            for asked in [asked for asked, held in self._answers.items() if _made_from(held.ready, product)]:
                self._drop(asked)

    def clear(self) -> None:
        """Drop all answers, also those that are just being made: who may call, or anything else, has changed."""
        with self._lock:
            self._changes += _CHANGES_REMEMBERED + 1
            self._answers.clear()
            self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def _drop(self, asked: Asked) -> None:
        held = self._answers.pop(asked, None)
        self.held_bytes -= held.weight if held else 0


def _made_from(ready: Ready, product: str) -> bool:
    return ready.made_of is not None and product in ready.made_of.products
