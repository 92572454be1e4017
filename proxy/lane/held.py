"""The answers that may be repeated: bounded in bytes, while fresh, until a product they were made from changes."""

from __future__ import annotations

import math
import threading
from collections import deque
from itertools import islice

from cachetools import LRUCache

from proxy.lane.ready import Asked, Ready
from proxy.timing import Now

_CHANGES_REMEMBERED = 1000


class HeldAnswers:
    """Finished answers by what was asked; the least recently used leave first."""

    def __init__(self, max_bytes: int, now: Now, longest: float = math.inf) -> None:
        """``longest``: seconds an answer is repeated at most, where changes elsewhere may be missed."""
        self._now = now
        self._longest = longest
        self._lock = threading.Lock()
        self._answers: LRUCache[Asked, tuple[int, float, Ready]] = LRUCache(max_bytes, lambda held: held[0])
        self._changes = 0
        self._changed: deque[str] = deque(maxlen=_CHANGES_REMEMBERED)

    def get(self, asked: Asked) -> Ready | None:
        """Return the answer to repeat."""
        with self._lock:
            held = self._answers.get(asked)
            if held is None:
                return None
            if self._now() < held[1]:
                return held[2]
            del self._answers[asked]
            return None

    def mark(self) -> int:
        """Return the moment from which an answer is being made, for :meth:`hold`."""
        return self._changes

    def hold(self, asked: Asked, ready: Ready, since: int) -> None:
        """Hold what may be repeated, unless one of its products changed since :meth:`mark`."""
        if ready.made_of is None:
            return
        weight = ready.weight(asked)
        with self._lock:
            missed = self._changes - since
            if missed > len(self._changed) or weight > self._answers.maxsize:
                return
            if not set(ready.made_of.products).isdisjoint(islice(reversed(self._changed), missed)):
                return
            until = min(ready.made_of.freshness.fresh_until, self._now() + self._longest)
            self._answers[asked] = (weight, until, ready)

    def forget(self, product: str) -> None:
        """Drop the answers made from ``product``, also those that are just being made."""
        with self._lock:
            self._changes += 1
            self._changed.append(product)
            held = list(self._answers.items())
            for asked in [asked for asked, (_, _, ready) in held if _made_from(ready, product)]:
                del self._answers[asked]

    def clear(self) -> None:
        """Drop all answers, also those that are just being made: who may call, or anything else, has changed."""
        with self._lock:
            self._changes += _CHANGES_REMEMBERED + 1
            self._answers.clear()

    @property
    def held_bytes(self) -> int:
        """The bytes held now, by :meth:`~proxy.lane.ready.Ready.weight`."""
        return int(self._answers.currsize)

    def __len__(self) -> int:
        return len(self._answers)


def _made_from(ready: Ready, product: str) -> bool:
    return ready.made_of is not None and product in ready.made_of.products
