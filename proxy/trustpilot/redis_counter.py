"""Calls counted in Redis, for all workers and machines together."""

from __future__ import annotations

from limits.storage import RedisStorage

from proxy.redis_link import RedisLink
from proxy.trustpilot.budget import Use, Window
from proxy.trustpilot.counting import LimitsCounter

_PREFIX = "ccp:1:budget"


class RedisCounter:
    """Counts in Redis. Every method raises :class:`~proxy.redis_link.RedisDown`."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._counter = LimitsCounter(RedisStorage("redis://", connection_pool=link.pool, key_prefix=_PREFIX))

    def take(self, window: Window, most: int) -> bool:
        """Count one more call if ``window`` then holds at most ``most``; tell whether it was counted."""
        return self._link.ask(lambda _: self._counter.take(window, most))

    def use(self, window: Window) -> Use:
        """Return how much of ``window`` is used."""
        return self._link.ask(lambda _: self._counter.use(window))
