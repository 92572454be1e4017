"""One cached entry, its name, and its envelope: bytes for a backend, and back as untrusted input."""

from __future__ import annotations

import hashlib
import math
import struct
from typing import NamedTuple

from msgspec import Struct

_VERSION = b"\x02"
"""Counted up when the meaning of the bytes, or of the values inside, changes: older ones are then misses."""

_HEADER = struct.Struct(">?ddd")
_DIGEST_BYTES = 16
_SKEW_SECONDS = 300
"""How far another machine's clock may be ahead."""


class Key(NamedTuple):
    """Names an entry: the product it belongs to, so that a purge finds all of it, and which part of it."""

    product: str
    part: str


class Entry(Struct, frozen=True, gc=False):
    """What a fetch brought, and when. Moments are seconds since the epoch."""

    value: bytes
    found: bool
    """Whether it holds anything for the product."""
    fetched_at: float
    confirmed_at: float = -math.inf
    """When it was last known, without fetching it, to be what a fetch would bring."""
    outdated_at: float = math.inf
    """From then on it is known to be incomplete, and is to be fetched anew."""

    @property
    def as_of(self) -> float:
        """Return the last moment at which it was true."""
        return max(self.fetched_at, self.confirmed_at)


class BadEnvelope(Exception):
    """The bytes are not an entry of this version."""


def pack(entry: Entry) -> bytes:
    """Return ``entry`` as version, digest, whether it was found, its moments, value (which is compressed already)."""
    body = _HEADER.pack(entry.found, entry.fetched_at, entry.confirmed_at, entry.outdated_at) + entry.value
    return _VERSION + _digest(body) + body


def unpack(envelope: bytes, now: float) -> Entry:
    """Read what :func:`pack` wrote. Raises :class:`BadEnvelope`."""
    digest, body = envelope[1 : 1 + _DIGEST_BYTES], envelope[1 + _DIGEST_BYTES :]
    if envelope[:1] != _VERSION or len(body) < _HEADER.size or digest != _digest(body):
        raise BadEnvelope("not an entry of this version, or damaged")
    found, fetched_at, confirmed_at, outdated_at = _HEADER.unpack_from(body)
    # Neither is compared with max(), which has its own view of what is no number.
    past = all(moment <= now + _SKEW_SECONDS for moment in (fetched_at, confirmed_at))
    if not math.isfinite(fetched_at) or math.isnan(outdated_at) or not past:
        raise BadEnvelope("its moments make no sense")
    return Entry(body[_HEADER.size :], found, fetched_at, confirmed_at, outdated_at)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
