"""The store that workers and machines share, with each worker's own memory in front of it.

A copy in memory is trusted for a moment; then Redis is asked whether it knows better. While Redis can't be had the
proxy serves on from memory, and each process fetches for itself.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import redis
from cachetools import TTLCache

from proxy.cache.entry import Entry, Key
from proxy.cache.frame import BadFrame, pack, unpack
from proxy.cache.memory_store import MemoryLease, MemoryStore
from proxy.cache.notices import CHANNEL, Notice, Notices
from proxy.cache.redis_scripts import BRING, CHANGE, GIVE_UP, RETURN, TAKE
from proxy.cache.store import Change, FailedElsewhere, Lease, Look, StoreDown
from proxy.clock import Now, Spawn
from proxy.redis_link import RedisDown, RedisLink

TRUST_SECONDS = 5.0
"""How long a copy in memory is answered without asking Redis. What others forget or revise is heard at once."""

_MOST_PARTS = 64
"""Of one product: pages further down and under filters. One more and they all go, to be fetched where still asked."""

_SCANNED_AT_ONCE = 1000
_GLOB = re.compile(r"[\[\]*?^\\-]")
_LONGEST_NAP_SECONDS = 1.0
_NAP_UNHEARD_SECONDS = 0.05
_PREFIX = "ccp:1"
_log = logging.getLogger(__name__)


class RedisStore:
    """Holds entries in Redis for everyone, and in ``near`` for this process."""

    def __init__(
        self,
        link: RedisLink,
        url: str,
        near: MemoryStore,
        now: Now,
        spawn: Spawn,
        *,
        lease_seconds: float,
        remember_seconds: float,
        trust_seconds: float = TRUST_SECONDS,
    ) -> None:
        """``lease_seconds``: longer than any fetch. ``remember_seconds``: as long as the oldest copy may live."""
        self._link = link
        self._near = near
        self._now = now
        self._lease_ms = math.ceil(lease_seconds * 1000)
        self._remember_ms = math.ceil(remember_seconds * 1000)
        self.trust_seconds = trust_seconds
        self._me = uuid.uuid4().hex
        self._trusted: TTLCache[Key, bool] = TTLCache(200_000, trust_seconds, timer=time.monotonic)
        self._lock = threading.Lock()
        self._notices = Notices(
            url, spawn, on_change=self._heard_change, on_landed=self._heard_landing, on_gap=self._distrust
        )
        client = link.client
        self._take = client.register_script(TAKE)
        self._bring = client.register_script(BRING)
        self._give_up = client.register_script(GIVE_UP)
        self._change = client.register_script(CHANGE)
        self._return = client.register_script(RETURN)

    def get(self, key: Key) -> Entry | None:
        """Return the entry held for ``key``, gone or not, or ``None``."""
        self._notices.start()
        near = self._near.get(key)
        if near is not None and near.is_fresh(self._now()) and self._is_trusted(key):
            return near
        try:
            return self._ask(key)
        except RedisDown:
            return near

    def take(self, key: Key) -> Lease | Entry:
        """Return the right to fetch ``key``, or the fresh entry that somebody else brought.

        Raises :class:`FailedElsewhere` when the process that fetches it fails.
        """
        self._notices.start()
        token = uuid.uuid4().hex
        with self._notices.expect(self._lease_name(key)) as landing:
            while True:
                try:
                    reply = self._link.ask(lambda _: self._take(self._names(key), [token, self._lease_ms, key.part]))
                except RedisDown:
                    return self._near.take(key)
                if reply[0]:
                    return self._taken(
                        key, RedisLease(self, key, self._near.lease(key), f"{int(reply[1])}", token), reply[2]
                    )
                entry = self._brought(key, landing.wait(self._nap(reply[1])))
                if entry is not None:
                    return entry

    def forget(self, product: str) -> None:
        """Drop every part of ``product`` for everyone. Raises :class:`StoreDown` when only this process could."""
        self._near.forget(product)
        self._change_for_all(product, {})
        # Once more: a read between the two took the old copy from Redis.
        self._near.forget(product)

    def revise(self, product: str, change: Change) -> None:
        """Put every held part of ``product`` through ``change``, for everyone.

        Raises :class:`StoreDown` when only this process could.
        """
        self._near.revise(product, change)
        lock = self._link.client.lock(f"{_PREFIX}:revising:{product}", timeout=2, blocking_timeout=1, sleep=0.01)
        try:
            # One after the other, so that of two events neither is lost.
            if not self._link.ask(lambda _: lock.acquire()):
                raise StoreDown("the product is being revised by others all the time")
            try:
                frames = self._link.ask(lambda client: client.hgetall(self._copies(product)))
                self._change_for_all(product, self._revised(product, frames, change))
            finally:
                self._link.ask(lambda _: lock.release())
        except RedisDown as down:
            raise StoreDown(str(down)) from down
        # What this process held beside Redis may be less; the next read gets it from there.
        self._near.forget(product)

    def search(self, prefix: str, look: Look) -> None:
        """Show ``look`` every held part of the products named ``prefix…``, also what only others have read.

        Raises :class:`StoreDown` when only this process could be searched.
        """
        self._near.search(prefix, look)
        pattern = _GLOB.sub(r"\\\g<0>", self._copies(prefix)) + "*"
        cursor = 0
        try:
            while True:
                cursor, names = self._link.ask(partial(_scanned, cursor=cursor, pattern=pattern))
                for name in names:
                    frames = self._link.ask(partial(_hash, name=name))
                    product = name.decode("utf-8", "replace").removeprefix(self._copies(""))
                    for part, entry in self._entries(product, frames):
                        look(product, part, entry)
                if not cursor:
                    return
        except RedisDown as down:
            raise StoreDown(str(down)) from down

    def when_changed(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with each product that is forgotten or revised, here or by another process."""
        self._near.when_changed(listener)

    def when_refreshed(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with each product of which a fresh part landed, here or by another process."""
        self._near.when_refreshed(listener)

    def is_reachable(self) -> bool:
        """Tell whether Redis answers."""
        return self._link.is_reachable()

    def hold(self, lease: RedisLease, entry: Entry) -> bool:
        """Hold what ``lease`` brings and tell the others; tell whether the product is still the same."""
        names = [*self._names(lease.key), CHANNEL]
        notice = Notice("landed", names[0], self._me).encode()
        arguments: list[str | int | bytes] = [
            lease.since,
            lease.token,
            lease.key.part,
            pack(entry),
            self._ms_left(entry),
            notice,
            _MOST_PARTS,
        ]
        try:
            held = bool(self._link.ask(lambda _: self._bring(names, arguments)))
        except RedisDown:
            self.release(lease, None)
            return True
        self._trust(lease.key)
        return held

    def release(self, lease: RedisLease, error: Exception | None) -> None:
        """Give a lease back; with ``error``, tell those who wait that nothing comes."""
        name = self._lease_name(lease.key)
        if error is None:
            notice = Notice("landed", name, self._me).encode()
        else:
            # Only errors that know when to ask again are made to be shown; another one's text may be anything.
            wait = getattr(error, "retry_after", None)
            reason = "Trustpilot could not be had" if wait is None else str(error)
            notice = Notice("failed", name, self._me, reason, wait or 5).encode()
        try:
            self._link.ask(lambda _: self._give_up([name, CHANNEL], [lease.since, lease.token, notice]))
        except RedisDown:
            # The lease then ends by itself, and those who wait look after it.
            return

    def _taken(self, key: Key, lease: RedisLease, frame: bytes | None) -> Lease | Entry:
        entry = self._read(key, frame)
        if entry is None or not entry.is_fresh(self._now()):
            return lease
        self.release(lease, None)
        self._trust(key)
        lease.near.bring(entry)
        return entry

    def _brought(self, key: Key, notice: Notice | None) -> Entry | None:
        """Return what the others brought, if ``notice`` says so and it is fresh."""
        if notice is None:
            return None
        if notice.what == "failed":
            raise FailedElsewhere(notice.reason, retry_after=notice.retry_after)
        try:
            found = self._ask(key)
        except RedisDown:
            return None
        return found if found is not None and found.is_fresh(self._now()) else None

    def _ask(self, key: Key) -> Entry | None:
        """Return the better of what Redis holds and what is near, and keep it near."""
        # Leased before asking: if the product changes meanwhile, what was read is not kept.
        lease = self._near.lease(key)
        try:
            frame, changed = self._link.ask(lambda client: self._frame(client, key))
        except RedisDown:
            lease.drop()
            raise
        found = self._read(key, frame)
        # Looked up only now: a fetch may have landed while Redis was asked.
        near = self._near.get(key)
        if near is not None and self._is_better(near, found, changed):
            lease.drop()
            self._give_back(key, near, frame if found else None, changed)
            return near
        if found is not None:
            self._trust(key)
            lease.bring(found)
            return found
        lease.drop()
        if near is not None:
            # Forgotten by somebody while this process was not listening.
            self._near.forget(key.product)
        return None

    def _is_better(self, near: Entry, found: Entry | None, changed: bytes | None) -> bool:
        """Tell whether ``near`` is what Redis would hold had it taken it: newer, and fetched after any change."""
        began_after = near.stored_at - self._lease_ms / 1000
        if changed is not None and not (changed.isdigit() and began_after > int(changed) / 1_000_000):
            return False
        return found is None or near.stored_at > found.stored_at

    def _frame(self, client: redis.Redis, key: Key) -> tuple[bytes | None, bytes | None]:
        pipeline = client.pipeline(transaction=False)
        pipeline.hget(self._copies(key.product), key.part)
        pipeline.get(self._changed(key.product))
        frame, changed = pipeline.execute(raise_on_error=False)
        if isinstance(frame, redis.ResponseError) and "WRONGTYPE" in str(frame):
            _log.warning("what Redis holds for %s is not the proxy's: dropped", key.product)
            client.delete(self._copies(key.product))
            return None, None
        for answer in (frame, changed):
            if isinstance(answer, Exception):
                raise answer
        return frame, changed

    def _read(self, key: Key, frame: bytes | None) -> Entry | None:
        if frame is None:
            return None
        try:
            return unpack(frame, self._now())
        except BadFrame as bad:
            # Dropped, so that it is met and logged once.
            _log.warning("what Redis holds for %s is dropped: %s", key.product, bad)
            try:
                self._link.ask(lambda client: client.hdel(self._copies(key.product), key.part))
            except RedisDown:
                return None
            return None

    def _revised(self, product: str, frames: Mapping[bytes | str, bytes | str], change: Change) -> dict[str, Entry]:
        revised: dict[str, Entry] = {}
        for part, entry in self._entries(product, frames):
            changed = change(part, entry)
            if changed is not None:
                revised[part] = changed
        return revised

    def _entries(self, product: str, frames: Mapping[bytes | str, bytes | str]) -> Iterator[tuple[str, Entry]]:
        for field, frame in frames.items():
            if isinstance(field, str) or isinstance(frame, str):
                raise TypeError("the client must not decode what Redis answers")
            part = field.decode("utf-8", "replace")
            entry = self._read(Key(product, part), frame)
            if entry is not None:
                yield part, entry

    def _change_for_all(self, product: str, parts: dict[str, Entry]) -> None:
        names = [self._copies(product), self._changed(product), CHANNEL]
        arguments: list[str | int | bytes] = [self._remember_ms, Notice("changed", product, self._me).encode()]
        for part, entry in parts.items():
            arguments += [part, pack(entry)]
        try:
            self._link.ask(lambda _: self._change(names, arguments))
        except RedisDown as down:
            raise StoreDown(str(down)) from down

    def _give_back(self, key: Key, entry: Entry, frame: bytes | None, changed: bytes | None) -> None:
        """Put ``entry`` into Redis, if it still holds there what was seen: ``frame`` and ``changed``."""
        # Even where Redis does not take it: it was asked, and knows nothing better.
        self._trust(key)
        names = [self._copies(key.product), self._changed(key.product)]
        seen = [frame or b"", changed or b""]
        try:
            self._link.ask(lambda _: self._return(names, [key.part, pack(entry), self._ms_left(entry), *seen]))
        except RedisDown:
            return

    def _heard_change(self, notice: Notice) -> None:
        if notice.sender != self._me:
            self._near.forget(notice.name)

    def _heard_landing(self, notice: Notice) -> None:
        if notice.sender == self._me:
            return
        # The lease's name does not say where the product ends, as a SKU may hold a colon: one too many does no harm.
        pieces = notice.name.removeprefix(f"{_PREFIX}:lease:").split(":")
        for end in range(1, len(pieces)):
            self._near.report_refresh(":".join(pieces[:end]))

    def _nap(self, lease_ms_left: int) -> float:
        """Return how long to wait for a notice before looking again: short while none can be heard."""
        if not self._notices.connected:
            return _NAP_UNHEARD_SECONDS
        return min(max(lease_ms_left, 1) / 1000, _LONGEST_NAP_SECONDS)

    def _trust(self, key: Key) -> None:
        with self._lock:
            self._trusted[key] = self._notices.connected

    def _is_trusted(self, key: Key) -> bool:
        with self._lock:
            return self._notices.connected and self._trusted.get(key, False)

    def _distrust(self) -> None:
        with self._lock:
            self._trusted.clear()

    def _ms_left(self, entry: Entry) -> int:
        return max(1, math.ceil((entry.gone_at - self._now()) * 1000))

    def _names(self, key: Key) -> list[str]:
        return [self._lease_name(key), self._copies(key.product), self._changed(key.product)]

    def _lease_name(self, key: Key) -> str:
        return f"{_PREFIX}:lease:{key.product}:{key.part}"

    def _copies(self, product: str) -> str:
        return f"{_PREFIX}:copies:{product}"

    def _changed(self, product: str) -> str:
        return f"{_PREFIX}:changed:{product}"


def _scanned(client: redis.Redis, *, cursor: int, pattern: str) -> tuple[int, list[bytes]]:
    cursor, names = client.scan(cursor, match=pattern, count=_SCANNED_AT_ONCE)
    return cursor, [name if isinstance(name, bytes) else name.encode() for name in names]


def _hash(client: redis.Redis, *, name: bytes) -> Mapping[bytes | str, bytes | str]:
    return client.hgetall(name)


class RedisLease:
    """The right to fetch one key, among all processes that share the Redis, until it expires."""

    def __init__(self, store: RedisStore, key: Key, near: MemoryLease, since: str, token: str) -> None:
        self.key = key
        self.near = near
        self.since = since
        self.token = token
        self._store = store

    def bring(self, entry: Entry) -> None:
        """Hold ``entry`` for everyone, unless its product changed since the lease was taken; wake all who wait."""
        if self._store.hold(self, entry):
            self.near.bring(entry)
        else:
            self.near.drop()

    def give_up(self, error: Exception | None) -> None:
        """Wake all who wait, with the reason; ``None`` lets them try themselves."""
        self.near.drop()
        self._store.release(self, error)
