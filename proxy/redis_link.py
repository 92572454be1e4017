"""One Redis, asked in such a way that it can never hold up an answer.

Every question has a short patience. After a failure Redis is left alone for a moment, so that a frozen one costs one
short wait per moment and not one per request; then a single question finds out whether it is back.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import gevent
import redis
from cachetools import TTLCache
from gevent.monkey import is_module_patched
from redis.backoff import NoBackoff
from redis.retry import Retry

from proxy.cache.backend import BackendDown
from proxy.events import RedisFailed, Report, unheard

T = TypeVar("T")

PATIENCE_SECONDS = 0.25
"""How long one question may take. A healthy Redis needs less than a millisecond, and DEADLINE_SECONDS has to hold."""

REST_SECONDS = 1.0
_LONGEST = 4
"""Patiences that a question takes with its connection at most. Each step has its own; to look a name up has none, and
takes the system half a minute where no server answers."""

_CONNECTIONS = 64
_PLACE_SECONDS = 1.0
"""How long a question waits for one of the connections while all are in use. Under a burst that takes longer than any
question, and says nothing about Redis."""

_REFUSALS_SECONDS = 60.0
"""How often the same refusal is logged: a full Redis refuses every write."""

_log = logging.getLogger(__name__)


def check_url(url: str) -> None:
    """Raise a :class:`ValueError`, without quoting the address, unless redis-py can connect by it."""
    # Neither names a database: redis-py would take number 0, or a socket without a path.
    parts = re.fullmatch(r"(?:rediss?://[^/?]*(?:/[0-9]*)?|unix://[^?]*/[^?]+)(?:\?.*)?", url)
    try:
        redis.ConnectionPool.from_url(url).make_connection()
    except (ValueError, TypeError):
        parts = None
    if parts is None:
        raise ValueError(
            "redis-py can't read it; takes redis://:password@host:port/number, with odd characters as %40"
        ) from None


class RedisDown(BackendDown):
    """Redis can't be had: not reachable, too slow, or refusing (full, read-only, loading)."""


class RedisLink:
    """Asks one Redis. Safe to use from many threads or greenlets at once."""

    def __init__(
        self,
        url: str,
        *,
        patience: float = PATIENCE_SECONDS,
        rest: float = REST_SECONDS,
        report: Report = unheard,
    ) -> None:
        self._report = report
        self.pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=patience,
            socket_timeout=patience,
            socket_connect_timeout=patience,
            # The library's own retries would multiply the patience.
            retry=Retry(NoBackoff(), 0),
        )
        self.client = redis.Redis(connection_pool=self.pool)
        self._places = threading.BoundedSemaphore(_CONNECTIONS)
        self._refusals: TTLCache[str, bool] = TTLCache(32, _REFUSALS_SECONDS, timer=time.monotonic)
        self._rest = rest
        self._longest = _LONGEST * patience if is_module_patched("socket") else None
        self._lock = threading.Lock()
        self._down = False
        self._resting_until = 0.0

    def ask(self, work: Callable[[redis.Redis], T]) -> T:
        """Return what ``work`` returns, given the client. Raises :class:`RedisDown`, at once while Redis rests."""
        if not self._places.acquire(timeout=_PLACE_SECONDS):
            raise RedisDown("too many questions to Redis are under way")
        try:
            self._wait_its_turn()
            with gevent.Timeout(self._longest, redis.TimeoutError):
                answer = work(self.client)
        except redis.ResponseError as error:
            # It answers, so there is no need to leave it alone; a full Redis still reads.
            self._note_up()
            self._report(RedisFailed(refused=True))
            raise RedisDown(f"Redis refuses: {self._note_refusal(error)}") from error
        except redis.RedisError as error:
            self._note_down(error)
            self._report(RedisFailed(refused=False))
            raise RedisDown("Redis can't be reached") from error
        finally:
            self._places.release()
        self._note_up()
        return answer

    def is_reachable(self) -> bool:
        try:
            return bool(self.ask(lambda client: client.ping()))
        except RedisDown:
            return False

    def _wait_its_turn(self) -> None:
        with self._lock:
            if not self._down:
                return
            now = time.monotonic()
            if now < self._resting_until:
                raise RedisDown("Redis can't be reached")
            # This question is the one that finds out; the others go on resting meanwhile.
            self._resting_until = now + self._rest

    def _note_refusal(self, error: redis.ResponseError) -> str:
        """Log a refusal now and then; return its name, such as ``ReadOnlyError``: the rest may tell of the inside."""
        name = type(error).__name__
        code = str(error).split()[0] if name == "ResponseError" and str(error) else name
        with self._lock:
            first = code not in self._refusals
            if first:
                self._refusals[code] = True
        if first:
            _log.warning("Redis refuses, going on without it: %s", code)
        return code

    def _note_down(self, error: redis.RedisError) -> None:
        with self._lock:
            first, self._down = not self._down, True
            self._resting_until = time.monotonic() + self._rest
        if first:
            _log.warning("Redis can't be reached, going on without it: %s", type(error).__name__)

    def _note_up(self) -> None:
        if not self._down:
            return
        with self._lock:
            back, self._down = self._down, False
        if back:
            _log.warning("Redis is back")
