"""The access token on Redis, for all workers and machines together."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import uuid
from collections.abc import Callable
from typing import TypeVar

import redis

from proxy.clock import Now
from proxy.redis_link import RedisDown, RedisLink
from proxy.trustpilot.token import Token

T = TypeVar("T")

_PREFIX = "ccp:1:token"

_DELETE_IF = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"
"""KEYS name; ARGV what has to be there."""


_log = logging.getLogger(__name__)


class RedisShelf:
    """A shelf in Redis. While Redis is down it is empty and the turn is free: each process then fetches its own."""

    def __init__(self, link: RedisLink, account: str, now: Now, *, turn_seconds: float) -> None:
        """``account`` tells whose tokens these are. ``turn_seconds``: longer than any fetch."""
        self._link = link
        self._name = f"{_PREFIX}:{hashlib.sha256(account.encode()).hexdigest()[:16]}"
        self._turn_name = f"{self._name}:turn"
        self._turn_ms = math.ceil(turn_seconds * 1000)
        self._mine = uuid.uuid4().hex
        self._now = now
        self._delete_if = link.client.register_script(_DELETE_IF)

    def read(self) -> Token | None:
        """Return the token that lies there."""
        written = self._asked(lambda client: client.get(self._name), None)
        if not isinstance(written, bytes):
            return None
        token = _read(written)
        if token is None:
            # The next token takes its place.
            _log.warning("what Redis holds as the access token is not the proxy's: treated as absent")
        return token

    def put(self, token: Token) -> None:
        """Leave a token for as long as it lasts."""
        left_ms = math.floor((token.expires_at - self._now()) * 1000)
        if left_ms > 0:
            self._asked(lambda client: client.set(self._name, _written(token), px=left_ms), None)

    def drop(self, refused: Token) -> None:
        """Take ``refused`` away if it still lies there."""
        self._asked(lambda _: self._delete_if([self._name], [_written(refused)]), None)

    def begin(self) -> bool:
        """Take the turn to fetch; it ends by itself, should this process die with it."""
        return self._asked(
            lambda client: bool(client.set(self._turn_name, self._mine, nx=True, px=self._turn_ms)), instead=True
        )

    def end(self) -> None:
        """Give the turn back."""
        self._asked(lambda _: self._delete_if([self._turn_name], [self._mine]), None)

    def _asked(self, work: Callable[[redis.Redis], T], instead: T) -> T:
        try:
            return self._link.ask(work)
        except RedisDown:
            # The link has logged it. A token of one's own is better than none.
            return instead


def _read(written: bytes) -> Token | None:
    try:
        text, renew_at, expires_at = json.loads(written)
    except (ValueError, TypeError, RecursionError):
        return None
    times = (renew_at, expires_at)
    if not isinstance(text, str) or not all(type(time) in (int, float) and math.isfinite(time) for time in times):
        return None
    return Token(text, renew_at, expires_at)


def _written(token: Token) -> str:
    return json.dumps([token.text, token.renew_at, token.expires_at])
