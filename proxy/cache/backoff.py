"""Failed fetches, and how long their keys are left alone."""

from __future__ import annotations

import threading

from cachetools import LRUCache
from msgspec import Struct

from proxy.cache.entry import Key
from proxy.clock import Now

BACKOFF_SECONDS = 1.0
"""After a failed refresh its key is left alone this long: an entry is cached, so nobody needs the next one sooner."""

_PRODUCTS = 10_000


class Failure(Struct, frozen=True):
    """Why a fetch failed, and until when its key is left alone. ``answers``: who has no entry gets it too."""

    error: Exception
    until: float
    answers: bool


class Backoff:
    """Remembers failures by key, each for its time, and forgets those of a product that changed."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._products: LRUCache[str, dict[str, Failure]] = LRUCache(_PRODUCTS)

    def add(self, key: Key, error: Exception, seconds: float, *, answers: bool) -> None:
        """Leave ``key`` alone for ``seconds``."""
        now = self._now()
        with self._lock:
            kept = {
                part: failure for part, failure in self._products.get(key.product, {}).items() if now < failure.until
            }
            kept[key.part] = Failure(error, now + seconds, answers)
            self._products[key.product] = kept

    def get(self, key: Key) -> Failure | None:
        """Return why ``key`` is to be left alone, if it is."""
        with self._lock:
            failure = self._products.get(key.product, {}).get(key.part)
        return failure if failure is not None and self._now() < failure.until else None

    def drop(self, product: str) -> None:
        """Leave no key of ``product`` alone any more."""
        with self._lock:
            self._products.pop(product, None)
