"""The ledger in Redis, one for all workers and machines."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable
from typing import TypeVar

import redis

from proxy.invitations.ledger import LedgerDown
from proxy.redis_link import RedisDown, RedisLink

T = TypeVar("T")

PATIENCE_SECONDS = 2.0
"""How long the link of a ledger waits for Redis. Nobody renders a message meanwhile, so it may take its time."""

_PREFIX = "ccp:1:invitation"

_CLAIM = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'string' then
    redis.call('DEL', KEYS[1])
end
local noted = redis.call('GET', KEYS[1])
if not noted then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return noted
"""
"""KEYS note; ARGV claim, ms. Returns what was noted already. A value that is no text is not the proxy's."""

_DROP = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"
"""KEYS note; ARGV what has to be there."""

_FAIL = """
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
"""
"""KEYS note, reason; ARGV claim, reason, ms."""

_log = logging.getLogger(__name__)


class RedisLedger:
    """A ledger in Redis."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._claim = link.client.register_script(_CLAIM)
        self._drop = link.client.register_script(_DROP)
        self._fail = link.client.register_script(_FAIL)

    def claim(self, key: str, mine: bytes, seconds: float) -> bytes | None:
        """Note ``mine`` under ``key``, or return what is noted there. Raises :class:`LedgerDown`."""
        noted: object = self._asked(lambda _: self._claim([_note(key)], [mine, _ms(seconds)]))
        return noted if isinstance(noted, bytes) else None

    def keep(self, key: str, note: bytes, seconds: float) -> None:
        """Put ``note`` in place of whatever is noted under ``key``."""
        try:
            self._link.ask(lambda client: client.set(_note(key), note, px=_ms(seconds)))
        except RedisDown:
            _log.error("an invitation was sent, but Redis could not note it: delivered again, it is sent again")

    def drop(self, key: str, seen: bytes) -> None:
        """Take ``seen`` away if it is still noted under ``key``. Raises :class:`LedgerDown`."""
        self._asked(lambda _: self._drop([_note(key)], [seen]))

    def fail(self, key: str, mine: bytes, reason: bytes, seconds: float) -> None:
        """Take the claim ``mine`` back, and leave ``reason``."""
        try:
            self._link.ask(lambda _: self._fail([_note(key), _reason(mine)], [mine, reason, _ms(seconds)]))
        except RedisDown:
            _log.warning("Redis could not take back a claim; it ends by itself")

    def reason(self, claim: bytes) -> bytes | None:
        """Return why ``claim`` was taken back, if it was. Raises :class:`LedgerDown`."""
        left: object = self._asked(lambda client: client.get(_reason(claim)))
        return left if isinstance(left, bytes) else None

    def _asked(self, work: Callable[[redis.Redis], T]) -> T:
        try:
            return self._link.ask(work)
        except RedisDown as error:
            raise LedgerDown("the store that remembers sent invitations can't be reached") from error


def _note(key: str) -> str:
    return f"{_PREFIX}:{key}"


def _reason(claim: bytes) -> str:
    return f"{_PREFIX}:failed:{hashlib.sha256(claim).hexdigest()}"


def _ms(seconds: float) -> int:
    return math.ceil(seconds * 1000)
