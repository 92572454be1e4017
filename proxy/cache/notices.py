"""What the processes that share a Redis tell each other: a fetch landed or failed, a product changed."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from proxy.clock import Spawn

CHANNEL = "ccp:1:notices"
_PAUSE_SECONDS = 0.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Notice:
    """One thing told to everybody. ``name`` is a lease's name, or a product."""

    what: Literal["landed", "failed", "changed"]
    name: str
    sender: str
    reason: str = ""
    retry_after: int = 0

    def encode(self) -> bytes:
        """Return the notice as JSON."""
        return json.dumps([self.what, self.name, self.sender, self.reason, self.retry_after]).encode()

    @classmethod
    def decode(cls, data: object) -> Notice | None:
        """Read what :meth:`encode` wrote; ``None`` for anything else somebody may publish there."""
        try:
            match json.loads(data if isinstance(data, bytes) else b""):
                case ["landed" | "failed" | "changed" as what, str(name), str(sender), str(reason), int(wait)]:
                    return cls(what, name, sender, reason, wait)
        except (ValueError, RecursionError):
            _log.warning("something that is no notice was published on %s", CHANNEL)
        return None


class Landing:
    """Where a waiter gets the notice about one lease."""

    def __init__(self) -> None:
        self._told = threading.Event()
        self.notice: Notice | None = None

    def tell(self, notice: Notice) -> None:
        """Wake the waiter."""
        self.notice = notice
        self._told.set()

    def wait(self, seconds: float) -> Notice | None:
        """Return the notice once it is there, ``None`` after ``seconds``; then wait for the next one."""
        self._told.wait(seconds)
        # Cleared before it is read: one that comes in between is then seen by the next wait.
        self._told.clear()
        notice, self.notice = self.notice, None
        return notice


class Notices:
    """Hears the notices on a connection of its own, which it opens again whenever it is lost."""

    def __init__(
        self,
        url: str,
        spawn: Spawn,
        *,
        on_change: Callable[[Notice], None],
        on_landed: Callable[[Notice], None],
        on_gap: Callable[[], None],
    ) -> None:
        """``on_gap`` is called when the connection is back: notices may have been missed meanwhile."""
        # No patience: a listener waits for as long as nothing is said.
        self._client = redis.Redis.from_url(
            url, socket_timeout=None, socket_connect_timeout=1, socket_keepalive=True, retry=Retry(NoBackoff(), 0)
        )
        self._spawn = spawn
        self._on_change = on_change
        self._on_landed = on_landed
        self._on_gap = on_gap
        self._lock = threading.Lock()
        self._started = False
        self._landings: dict[str, list[Landing]] = {}
        self.connected = False
        """Whether notices are being heard right now."""

    def start(self) -> None:
        """Begin to listen, once; called in the process that serves, not in the one it was forked from."""
        with self._lock:
            if self._started:
                return
            self._started = True
        self._spawn(self._listen)

    @contextmanager
    def expect(self, name: str) -> Iterator[Landing]:
        """Collect the notices about the lease ``name`` from now on."""
        landing = Landing()
        with self._lock:
            self._landings.setdefault(name, []).append(landing)
        try:
            yield landing
        finally:
            with self._lock:
                self._landings[name].remove(landing)
                if not self._landings[name]:
                    del self._landings[name]

    def _listen(self) -> None:
        while True:
            try:
                with self._client.pubsub() as subscription:  # type: ignore[no-untyped-call]  # the library's
                    subscription.subscribe(CHANNEL)
                    for message in subscription.listen():
                        self._hear(message)
            except redis.RedisError as error:
                if self.connected:
                    _log.warning("notices from other processes are not heard: %s", type(error).__name__)
                self.connected = False
            time.sleep(_PAUSE_SECONDS)

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._on_gap()
            self.connected = True
            return
        notice = Notice.decode(message["data"])
        if notice is None:
            return
        if notice.what == "changed":
            self._on_change(notice)
            return
        if notice.what == "landed":
            self._on_landed(notice)
        with self._lock:
            landings = list(self._landings.get(notice.name, ()))
        for landing in landings:
            landing.tell(notice)
