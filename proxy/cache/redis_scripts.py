"""What has to happen in Redis in one piece. Moments are Redis's own clock in microseconds, the same for everyone.

``copies`` is a hash from a part's name to its frame, one per product. ``changed`` is the moment when the product was
last forgotten or revised: a fetch that began before it brings something that is already out of date.
"""

TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local holder = redis.call('GET', KEYS[1])
if holder then
    local since = tonumber(string.match(holder, '^(%d+):'))
    local changed = tonumber(redis.call('GET', KEYS[3]) or '0') or 0
    if since and since > changed then
        return {0, redis.call('PTTL', KEYS[1])}
    end
end
local since = string.format('%.0f', now)
redis.call('SET', KEYS[1], since .. ':' .. ARGV[1], 'PX', ARGV[2])
return {1, since, redis.call('HGET', KEYS[2], ARGV[3])}
"""
"""KEYS lease, copies, changed; ARGV token, lease ms, part. Returns ``[1, since, frame]`` to who now holds the lease,
``[0, ms left]`` to who has to wait. A lease taken before the product changed does not count."""

BRING = """
local changed = tonumber(redis.call('GET', KEYS[3]) or '0') or 0
local held = 0
if tonumber(ARGV[1]) > changed then
    if redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[7]) and redis.call('HEXISTS', KEYS[2], ARGV[3]) == 0 then
        redis.call('DEL', KEYS[2])
    end
    redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
    if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[5]) then
        redis.call('PEXPIRE', KEYS[2], ARGV[5])
    end
    held = 1
end
if redis.call('GET', KEYS[1]) == ARGV[1] .. ':' .. ARGV[2] then
    redis.call('DEL', KEYS[1])
end
redis.call('PUBLISH', KEYS[4], ARGV[6])
return held
"""
"""KEYS lease, copies, changed, channel; ARGV since, token, part, frame, ms to live, notice, most parts."""

GIVE_UP = """
if redis.call('GET', KEYS[1]) == ARGV[1] .. ':' .. ARGV[2] then
    redis.call('DEL', KEYS[1])
end
redis.call('PUBLISH', KEYS[2], ARGV[3])
"""
"""KEYS lease, channel; ARGV since, token, notice."""

CHANGE = """
local clock = redis.call('TIME')
redis.call('SET', KEYS[2], string.format('%.0f', clock[1] * 1000000 + clock[2]), 'PX', ARGV[1])
redis.call('DEL', KEYS[1])
for place = 3, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1])
end
if #ARGV > 2 then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
redis.call('PUBLISH', KEYS[3], ARGV[2])
"""
"""KEYS copies, changed, channel; ARGV ms to live, notice, then part and frame in turn for what stays."""

RETURN = """
local frame = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local changed = redis.call('GET', KEYS[2]) or ''
if frame ~= ARGV[4] or changed ~= ARGV[5] then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
"""
"""KEYS copies, changed; ARGV part, frame, ms to live, and what was seen there before: a frame and a moment, or empty.
For a copy that Redis lost, or could not take, and a process still has."""
