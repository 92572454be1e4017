"""What all workers know of each shop: until when its feed was read. Kept in the backend, looked at every moment."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from proxy.cache import Key
from proxy.cache.backend import Backend
from proxy.clock import Now
from proxy.reviews.page_loader import is_confirmable, shop_and_sku

_FOR_GOOD_SECONDS = 3_153_600_000.0
_BEHIND = 2.0
"""A feed that was not read for so many times as long as copies are fresh confirms nothing any more."""

_log = logging.getLogger(__name__)


class ShopState(Struct, frozen=True, array_like=True):
    """What is known of one shop. Moments are seconds since the epoch."""

    since: float = 0.0
    """From then on nothing was missed; 0 before the feed was read."""
    confirmed_at: float = 0.0
    """Until then all that the feed tells is cached."""
    newest: tuple[str, ...] = ()
    """Ids of the newest reviews then: the next reading ends at one of them."""
    reached: float = 0.0
    """When the oldest of them was written."""
    compared_at: float = 0.0
    """When the summaries of all products were compared."""
    unreadable_until: float = 0.0
    """Until then the feed is left alone: it is refused, or in no order."""


class Shops:
    """The states, as this process saw them last."""

    def __init__(
        self, backend: Backend, business_units: Sequence[str], now: Now, fresh_seconds: Callable[[], float]
    ) -> None:
        self.business_units = tuple(business_units)
        self._backend = backend
        self._now = now
        self._fresh_seconds = fresh_seconds
        self._states = dict.fromkeys(business_units, ShopState())

    def load(self, business_unit: str) -> ShopState:
        """Look at what is kept of a shop. Raises :class:`~proxy.cache.BackendDown`."""
        kept = self._backend.get(_key(business_unit))
        state = ShopState()
        if kept is not None:
            try:
                state = msgspec.msgpack.decode(kept, type=ShopState)
            except msgspec.DecodeError:
                _log.warning("what is stored of shop %s is not the proxy's: treated as absent", business_unit)
        self._states[business_unit] = state
        return state

    def save(self, business_unit: str, state: ShopState) -> None:
        """Keep what is known of a shop. Raises :class:`~proxy.cache.BackendDown`."""
        self._backend.set(_key(business_unit), msgspec.msgpack.encode(state), _FOR_GOOD_SECONDS)
        self._states[business_unit] = state

    def confirmed(self, key: Key) -> tuple[float, float]:
        """Return from when to when all that happened to ``key`` is known to be cached."""
        state = self._states.get(shop_and_sku(key.product)[0])
        if state is None or not state.since or not is_confirmable(key):
            return 0.0, 0.0
        return state.since, state.confirmed_at

    def covers(self, key: Key, as_of: float) -> bool:
        """Tell whether the feed confirms what was right at ``as_of``, so that nobody else need."""
        since, confirmed_at = self.confirmed(key)
        return bool(since) and since <= as_of and self._now() < confirmed_at + _BEHIND * self._fresh_seconds()


def _key(business_unit: str) -> str:
    return f"sync:{business_unit}"
