"""The backend in Redis, for several machines. Moments are Redis's own clock, the same for everyone.

Names: ``ccp:2:product:…`` is a hash from part to entry, ``ccp:2:generation:…`` the moment of the last replacement in
microseconds, ``ccp:2:lock:…`` a holder's token. Records and the quota stay under the names that they always had: or a
day's invitations go out once more at an upgrade.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from proxy.cache.backend import CHANGES_REMEMBERED, Change, Changes, Lock, Product, Usage, Use, Window
from proxy.clock import Spawn
from proxy.redis_link import RedisLink

CHANNEL = "ccp:2:changes"
_ENTRIES = "ccp:2"
_RECORDS = "ccp:1"
_CALLS = "ccp:1:budget:calls"

_MOST_PARTS = 64
"""Of one product: pages further down and under filters. One more and they all go, to be fetched where still asked."""

_SCANNED_AT_ONCE = 1000
_L1_SECONDS = 5.0
_UNHEARD_SECONDS = 0.05
_PAUSE_SECONDS = 0.5
_GLOB = re.compile(r"[\[\]*?^\\-]")

_CLEANED = """
local function cleaned(name, expected)
    local kind = redis.call('TYPE', name).ok
    local is_another = kind ~= 'none' and kind ~= expected
    if is_another then
        redis.call('DEL', name)
    end
    return is_another
end
"""
"""Drops what is of another type than the proxy's, for every script that follows it."""

_WRITE = """
local kept = 0
cleaned(KEYS[1], 'hash')
cleaned(KEYS[2], 'string')
if (tonumber(redis.call('GET', KEYS[2]) or '0') or 0) <= tonumber(ARGV[1]) then
    if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) and redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 then
        redis.call('DEL', KEYS[1])
    end
    redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
    if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
        redis.call('PEXPIRE', KEYS[1], ARGV[4])
    end
    kept = 1
end
if KEYS[4] and redis.call('GET', KEYS[4]) == ARGV[6] then
    redis.call('DEL', KEYS[4])
end
redis.call('PUBLISH', KEYS[3], ARGV[8 - kept])
return kept
"""
"""KEYS product, generation, channel, perhaps lock; ARGV generation, part, entry, ms to live, most parts, token,
message if it is kept, message if not."""

_REPLACE = """
local clock = redis.call('TIME')
cleaned(KEYS[2], 'string')
local last = tonumber(redis.call('GET', KEYS[2]) or '0') or 0
if ARGV[2] ~= '' and last > tonumber(ARGV[2]) then
    return false
end
local generation = string.format('%.0f', math.max(clock[1] * 1000000 + clock[2], last + 1))
redis.call('SET', KEYS[2], generation, 'PX', ARGV[1])
redis.call('DEL', KEYS[1])
for place = 4, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1])
end
if #ARGV > 3 then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
redis.call('PUBLISH', KEYS[3], generation .. ' ' .. ARGV[3])
return generation
"""
"""KEYS product, generation, channel; ARGV ms to live, generation or nothing, message, then part and entry in turn."""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
    redis.call('PUBLISH', KEYS[2], ARGV[2])
end
"""
"""KEYS lock, channel; ARGV token, message."""

_PROLONG = """
return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
"""KEYS lock; ARGV token, milliseconds."""

_ADD = """
cleaned(KEYS[1], 'string')
local kept = redis.call('GET', KEYS[1])
if not kept then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return kept
"""
"""KEYS record; ARGV value, ms. Returns what was kept already."""

_GET = "cleaned(KEYS[1], 'string') return redis.call('GET', KEYS[1])"

_REMOVE = """
cleaned(KEYS[1], 'string')
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
"""

_COUNT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local today = math.floor(now / 86400)
local calls = tonumber(ARGV[1])
local windows = #KEYS
local dropped = 0

local function counted(name, seconds, age)
    if seconds > 86400 then
        redis.call('HINCRBY', name, today, 1)
        redis.call('EXPIRE', name, 2 * seconds)
    else
        redis.call('LPUSH', name, string.format('%.6f', now - age))
        redis.call('EXPIRE', name, seconds)
    end
end

local function brought_up_to_date(name, seconds)
    if cleaned(name, seconds > 86400 and 'hash' or 'list') then
        dropped = 1
    end
    if seconds > 86400 then
        return
    end
    local newest = redis.call('LINDEX', name, 0)
    while newest and not tonumber(newest) do
        redis.call('LPOP', name)
        dropped = 1
        newest = redis.call('LINDEX', name, 0)
    end
    if newest and tonumber(newest) > now then
        local ahead = tonumber(newest) - now
        local moments = redis.call('LRANGE', name, 0, -1)
        redis.call('DEL', name)
        for _, moment in ipairs(moments) do
            if tonumber(moment) then
                redis.call('RPUSH', name, string.format('%.6f', tonumber(moment) - ahead))
            end
        end
    end
end

local function used(name, seconds, most)
    if seconds > 86400 then
        local length, sum, days = math.floor(seconds / 86400), 0, {}
        local all = redis.call('HGETALL', name)
        for place = 1, #all, 2 do
            local day, count = tonumber(all[place]), tonumber(all[place + 1])
            if not day or not count or day <= today - 2 * length then
                redis.call('HDEL', name, all[place])
            elseif day > today - length then
                sum = sum + count
                days[#days + 1] = {day, count}
            end
        end
        table.sort(days, function(one, other) return one[1] < other[1] end)
        local over, frees = sum - most, 0
        for _, pair in ipairs(days) do
            if over < 0 then break end
            over = over - pair[2]
            frees = (pair[1] + length) * 86400 - now
        end
        return sum, frees
    end
    local oldest = redis.call('LINDEX', name, -1)
    while oldest and (tonumber(oldest) or 0) <= now - seconds do
        redis.call('RPOP', name)
        oldest = redis.call('LINDEX', name, -1)
    end
    local sum, frees = redis.call('LLEN', name), 0
    if sum >= most then
        local leaves = most > 0 and redis.call('LINDEX', name, most - 1) or now
        frees = (tonumber(leaves) or now) + seconds - now
    end
    return sum, frees
end

local answer, room = {}, 1
for number, name in ipairs(KEYS) do
    local seconds, most = tonumber(ARGV[2 * number]), tonumber(ARGV[2 * number + 1])
    brought_up_to_date(name, seconds)
    for place = 2 * windows + 2, #ARGV do
        counted(name, seconds, tonumber(ARGV[place]))
    end
    if used(name, seconds, most) + calls > most then
        room = 0
    end
end
local taken = (calls > 0 and room == 1) and 1 or 0
for number, name in ipairs(KEYS) do
    local seconds, most = tonumber(ARGV[2 * number]), tonumber(ARGV[2 * number + 1])
    for _ = 1, taken * calls do
        counted(name, seconds, 0)
    end
    local sum, frees = used(name, seconds, most)
    answer[2 * number - 1] = sum
    answer[2 * number] = string.format('%.3f', frees)
end
return {taken, dropped, answer}
"""
"""KEYS windows; ARGV calls, then seconds and most of each window, then the ages of calls that were made already.
Returns whether the calls were counted, whether something was no count and was dropped, and for each window how many
there are and in how many seconds there is room.

A window is a list of moments, the newest first; where Redis's clock was set back all moments move with it. One that
is longer than a day is a hash from day to calls, kept for two windows, so that a clock that jumps loses none."""

_log = logging.getLogger(__name__)


class RedisBackend:
    """Keeps everything in one Redis."""

    keeps_entries = True
    l1_ttl = _L1_SECONDS

    def __init__(self, link: RedisLink, url: str, spawn: Spawn) -> None:
        self._link = link
        self._me = uuid.uuid4().hex
        self._listener = _Listener(url, spawn, self._me)
        scripts = (_WRITE, _REPLACE, _RELEASE, _PROLONG, _ADD, _GET, _REMOVE, _COUNT)
        self._scripts = {script: link.client.register_script(_CLEANED + script) for script in scripts}

    @property
    def is_heard(self) -> bool:
        return self._listener.is_heard

    def read(self, product: str, part: str | None = None) -> Product:
        def ask(client: redis.Redis) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            # Before the entries: one that is replaced in between comes with a generation too low, which does no harm.
            pipeline.get(_generation(product))
            if part is None:
                pipeline.hgetall(_product(product))
            else:
                pipeline.hget(_product(product), part)
            answers = pipeline.execute(raise_on_error=False)
            for number, name in enumerate((_generation(product), _product(product))):
                if isinstance(answers[number], redis.ResponseError) and "WRONGTYPE" in str(answers[number]):
                    _log.warning("what Redis keeps for %s is not the proxy's: dropped", product)
                    client.delete(name)
                    answers[number] = None
                if isinstance(answers[number], Exception):
                    raise answers[number]
            return answers

        generation, entries = self._link.ask(ask)
        if part is not None:
            entries = {} if entries is None else {part.encode(): entries}
        parts = {name.decode("utf-8", "replace"): entry for name, entry in (entries or {}).items()}
        return Product(parts, int(generation) if generation and generation.isdigit() else 0)

    def write(
        self, product: str, part: str, entry: bytes, generation: int, *, ttl: float, lock: Lock | None = None
    ) -> bool:
        names = [_product(product), _generation(product), CHANNEL, *([_lock(lock.name)] if lock else [])]
        name, token = lock or ("", "")
        kept = self._message(Change("written", product, generation, name))
        refused = self._message(Change("released", product, generation, name))
        return bool(self._run(_WRITE, names, generation, part, entry, _ms(ttl), _MOST_PARTS, token, kept, refused))

    def replace(self, product: str, parts: Mapping[str, bytes], generation: int | None, *, ttl: float) -> int | None:
        names = [_product(product), _generation(product), CHANNEL]
        since = "" if generation is None else generation
        message = self._message(Change("replaced", product))
        entries = [each for pair in parts.items() for each in pair]
        raised = self._run(_REPLACE, names, _ms(ttl), since, message, *entries)
        return int(raised) if raised else None

    def scan(self, prefix: str) -> Iterator[tuple[str, str, bytes]]:
        pattern = _GLOB.sub(r"\\\g<0>", _product(prefix)) + "*"
        cursor = 0
        while True:
            cursor, names = self._link.ask(partial(_scanned, cursor=cursor, pattern=pattern))
            for name in names:
                product = name.decode("utf-8", "replace").removeprefix(_product(""))
                for part, entry in self.read(product).parts.items():
                    yield product, part, entry
            if not cursor:
                return

    def lock(self, name: str, ttl: float) -> Lock | None:
        lock = Lock(name, uuid.uuid4().hex)
        taken = self._link.ask(lambda client: client.set(_lock(name), lock.token, nx=True, px=_ms(ttl)))
        return lock if taken else None

    def prolong(self, lock: Lock, ttl: float) -> bool:
        return bool(self._run(_PROLONG, [_lock(lock.name)], lock.token, _ms(ttl)))

    def release(self, lock: Lock, outcome: bytes = b"") -> None:
        message = self._message(Change("released", lock=lock.name, outcome=outcome))
        self._run(_RELEASE, [_lock(lock.name), CHANNEL], lock.token, message)

    def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        kept: bytes | None = self._run(_ADD, [_record(key)], value, _ms(ttl))
        return kept

    def set(self, key: str, value: bytes, ttl: float) -> None:
        self._link.ask(lambda client: client.set(_record(key), value, px=_ms(ttl)))

    def get(self, key: str) -> bytes | None:
        kept: bytes | None = self._run(_GET, [_record(key)])
        return kept

    def remove(self, key: str, expected: bytes) -> None:
        self._run(_REMOVE, [_record(key)], expected)

    def count(self, windows: Sequence[Window], calls: int = 1, *, missed: Sequence[float] = ()) -> Usage:
        names = [f"{_CALLS}/{window.seconds}" for window in windows]
        most = [number for window in windows for number in (window.seconds, window.calls)]
        # The oldest first, as each goes before those that are there.
        ages = sorted(missed, reverse=True)
        counted, dropped, answer = self._run(_COUNT, names, calls, *most, *ages)
        if dropped:
            _log.warning("what Redis keeps for the quota is not the proxy's: dropped")
        uses = zip(windows, answer[::2], answer[1::2], strict=True)
        return Usage(bool(counted), tuple(Use(window, int(used), float(frees)) for window, used, frees in uses))

    def changes(self, since: int) -> Changes:
        return self._listener.changes(since)

    def wait(self, since: int, seconds: float) -> None:
        self._listener.wait(since, seconds)

    def is_reachable(self) -> bool:
        return self._link.is_reachable()

    def close(self) -> None:
        self._listener.close()
        self._link.pool.disconnect()

    def _run(self, script: str, names: list[str], *arguments: str | float | bytes) -> Any:
        return self._link.ask(lambda _: self._scripts[script](names, arguments))

    def _message(self, change: Change) -> bytes:
        outcome = base64.b64encode(change.outcome).decode()
        return json.dumps([self._me, change.kind, change.product, change.generation, change.lock, outcome]).encode()


class _Listener:
    """Hears the feed on a connection of its own, which it opens again whenever it is lost."""

    def __init__(self, url: str, spawn: Spawn, me: str) -> None:
        self._me = me
        # No patience: a listener waits for as long as nothing happens.
        self._client = redis.Redis.from_url(
            url, socket_timeout=None, socket_connect_timeout=1, socket_keepalive=True, retry=Retry(NoBackoff(), 0)
        )
        self._spawn = spawn
        self._condition = threading.Condition()
        self._started = False
        self._closed = False
        self._heard: deque[Change] = deque(maxlen=CHANGES_REMEMBERED)
        self._cursor = 0
        self._complete_from = 1
        self.is_heard = False

    def changes(self, since: int) -> Changes:
        # Begun here and not when it is made: in the process that serves, not in the one it was forked from.
        self._start()
        with self._condition:
            cursor = self._cursor
            missed = cursor - since
            items = tuple(islice(self._heard, max(0, len(self._heard) - missed), None))
            complete = missed <= len(self._heard) and since >= self._complete_from
            return Changes(cursor, lambda: self._cursor == cursor, items, complete=complete or since == cursor)

    def wait(self, since: int, seconds: float) -> None:
        self._start()
        with self._condition:
            self._condition.wait_for(
                lambda: self._cursor != since, seconds if self.is_heard else min(seconds, _UNHEARD_SECONDS)
            )

    def close(self) -> None:
        self._closed = True
        self._client.close()

    def _start(self) -> None:
        with self._condition:
            if self._started:
                return
            self._started = True
        self._spawn(self._listen)

    def _listen(self) -> None:
        while not self._closed:
            try:
                with self._client.pubsub() as subscription:  # type: ignore[no-untyped-call]  # the library's
                    subscription.subscribe(CHANNEL)
                    for message in subscription.listen():
                        self._on_message(message)
            except (redis.RedisError, OSError, ValueError) as error:
                if self.is_heard and not self._closed:
                    _log.warning("changes by other processes are not heard: %s", type(error).__name__)
                self.is_heard = False
            time.sleep(_PAUSE_SECONDS)

    def _on_message(self, message: dict[str, Any]) -> None:
        with self._condition:
            if message["type"] == "subscribe":
                # Who asks with an older cursor may have missed something.
                self._cursor += 1
                self._heard.clear()
                self._complete_from = self._cursor
                self.is_heard = True
            else:
                change = _change(message["data"], self._me)
                if change is None:
                    return
                self._cursor += 1
                self._heard.append(change)
            self._condition.notify_all()


def _change(data: object, me: str) -> Change | None:
    """Read a message; ``None`` for anything else that somebody may publish there."""
    try:
        rest = data if isinstance(data, bytes) else b""
        raised, _, message = rest.partition(b" ") if rest[:1].isdigit() else (b"", b"", rest)
        match json.loads(message):
            case [
                str(who),
                "replaced" | "written" | "released" as kind,
                str(product),
                int(number),
                str(lock),
                str(left),
            ]:
                number = int(raised) if raised else number
                return Change(kind, product, number, lock, base64.b64decode(left), who == me)
    except (ValueError, RecursionError):
        pass
    _log.warning("something that is no change was published on %s", CHANNEL)
    return None


def _scanned(client: redis.Redis, cursor: int, pattern: str) -> tuple[int, list[bytes]]:
    cursor, names = client.scan(cursor, match=pattern, count=_SCANNED_AT_ONCE)
    return cursor, [name if isinstance(name, bytes) else name.encode() for name in names]


def _product(product: str) -> str:
    return f"{_ENTRIES}:product:{product}"


def _generation(product: str) -> str:
    return f"{_ENTRIES}:generation:{product}"


def _lock(name: str) -> str:
    return f"{_ENTRIES}:lock:{name}"


def _record(key: str) -> str:
    return f"{_RECORDS}:{key}"


def _ms(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))
