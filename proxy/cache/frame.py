"""Entries as bytes for a shared store, and back as untrusted input: what does not check out is no entry."""

from __future__ import annotations

import hashlib
import math
import struct

from proxy.cache.entry import Entry

_VERSION = b"\x01"
"""Counted up when the meaning of the bytes, or of the values inside, changes: older ones are then misses."""

_TIMES = struct.Struct(">ddd")
_DIGEST_BYTES = 16
_SKEW_SECONDS = 300
"""How far another machine's clock may be ahead."""


class BadFrame(Exception):
    """The bytes are not an entry of this version."""


def pack(entry: Entry) -> bytes:
    """Return ``entry`` as version, digest, the three ages, value (the values are compressed already)."""
    body = _TIMES.pack(entry.stored_at, entry.fresh_until, entry.gone_at) + entry.value
    return _VERSION + _digest(body) + body


def unpack(frame: bytes, now: float) -> Entry:
    """Read what :func:`pack` wrote. Raises :class:`BadFrame`."""
    digest, body = frame[1 : 1 + _DIGEST_BYTES], frame[1 + _DIGEST_BYTES :]
    if frame[:1] != _VERSION or len(body) < _TIMES.size or digest != _digest(body):
        raise BadFrame("not an entry of this version, or damaged")
    stored_at, fresh_until, gone_at = _TIMES.unpack_from(body)
    if not all(map(math.isfinite, (stored_at, fresh_until, gone_at))) or stored_at > now + _SKEW_SECONDS:
        raise BadFrame("its times make no sense")
    return Entry(body[_TIMES.size :], stored_at, fresh_until, gone_at)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
