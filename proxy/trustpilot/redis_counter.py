"""Calls counted in Redis, for all workers and machines together."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from proxy.redis_link import RedisLink
from proxy.trustpilot.budget import Use, Window

_PREFIX = "ccp:1:budget"
"""Stays as it is at an upgrade, or the calls of the last hour are made once more."""

_COUNT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local seconds, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local dropped = 0
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'list' then
    redis.call('DEL', KEYS[1])
    dropped = 1
end
local newest = redis.call('LINDEX', KEYS[1], 0)
while newest and not tonumber(newest) do
    redis.call('LPOP', KEYS[1])
    dropped = 1
    newest = redis.call('LINDEX', KEYS[1], 0)
end
if newest and tonumber(newest) > now then
    local ahead = tonumber(newest) - now
    local calls = redis.call('LRANGE', KEYS[1], 0, -1)
    redis.call('DEL', KEYS[1])
    for _, call in ipairs(calls) do
        if tonumber(call) then
            redis.call('RPUSH', KEYS[1], string.format('%.6f', tonumber(call) - ahead))
        end
    end
end
for place = 3, #ARGV do
    redis.call('LPUSH', KEYS[1], string.format('%.6f', now - tonumber(ARGV[place])))
end
local oldest = redis.call('LINDEX', KEYS[1], -1)
while oldest and (tonumber(oldest) or 0) <= now - seconds do
    redis.call('RPOP', KEYS[1])
    oldest = redis.call('LINDEX', KEYS[1], -1)
end
local used = redis.call('LLEN', KEYS[1])
local taken = 0
if used < most then
    redis.call('LPUSH', KEYS[1], string.format('%.6f', now))
    taken = 1
end
if used + taken > 0 then
    redis.call('EXPIRE', KEYS[1], seconds)
end
local frees = 0
if oldest then
    frees = math.ceil((tonumber(oldest) + seconds - now) * 1000)
end
return {taken, used + taken, frees, dropped}
"""
"""KEYS calls; ARGV seconds, most, then the ages of calls made while Redis was away. Returns whether one more call was
counted, how many there are, in how many ms the oldest leaves, and whether something was no count and was dropped.

A list of moments of Redis' own clock, the newest first: no other machine's clock matters. Where that clock was set
back all moments move with it."""

_log = logging.getLogger(__name__)


class RedisCounter:
    """Counts in Redis. Every method raises :class:`~proxy.redis_link.RedisDown`."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._count = link.client.register_script(_COUNT)

    def take(self, window: Window, most: int, missed: Sequence[float] = ()) -> bool:
        """Count ``missed``, then one more call if ``window`` then holds at most ``most``."""
        return bool(self._counted(window, most, missed)[0])

    def use(self, window: Window, missed: Sequence[float] = ()) -> Use:
        """Count ``missed``; return how much of ``window`` is used."""
        _, used, frees_ms = self._counted(window, 0, missed)
        return Use(window, used, frees_ms / 1000)

    def _counted(self, window: Window, most: int, missed: Sequence[float]) -> tuple[int, int, int]:
        # The name and the list are those that the ``limits`` library wrote: counts survive the upgrade.
        name = f"{_PREFIX}:calls/{window.seconds}"
        arguments = [window.seconds, most, *missed]
        taken, used, frees_ms, dropped = self._link.ask(lambda _: self._count([name], arguments))
        if dropped:
            _log.warning("what Redis holds for the budget of a %s is not the proxy's: dropped", window.name)
        return int(taken), int(used), int(frees_ms)
