"""One cached entry: its name, its envelope as untrusted input, how fresh it is, and why another can't be had.

Freshness is one policy: fresh since an entry was fetched or last confirmed, then stale, then gone.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import msgspec
from msgspec import Struct

_VERSION = b"\x02"
"""Counted up when the meaning of the bytes, or of the values inside, changes: older ones are then misses."""

_HEADER = struct.Struct(">?ddd")
_DIGEST_BYTES = 16
_DEFAULT_RETRY_SECONDS = 5
_UNKNOWN = "Trustpilot could not be had"
SKEW_SECONDS = 300
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
    past = all(moment <= now + SKEW_SECONDS for moment in (fetched_at, confirmed_at))
    if not math.isfinite(fetched_at) or math.isnan(outdated_at) or not past:
        raise BadEnvelope("its moments make no sense")
    return Entry(body[_HEADER.size :], found, fetched_at, confirmed_at, outdated_at)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


class FailedElsewhere(Exception):
    """The fetch that another process made for all of us failed. ``retry_after`` is in whole seconds."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    @staticmethod
    def pack(error: Exception) -> bytes:
        """Return what those who wait elsewhere are told of ``error``."""
        # Only errors that know when to ask again are made to be shown; another one's text may be anything.
        wait = getattr(error, "retry_after", None)
        return msgspec.json.encode((_UNKNOWN if wait is None else str(error), wait or _DEFAULT_RETRY_SECONDS))

    @classmethod
    def unpack(cls, outcome: bytes) -> FailedElsewhere:
        """Read what :meth:`pack` wrote."""
        try:
            reason, wait = msgspec.json.decode(outcome, type=tuple[str, int])
        except (msgspec.DecodeError, UnicodeDecodeError):
            reason, wait = _UNKNOWN, _DEFAULT_RETRY_SECONDS
        return cls(reason, retry_after=wait)


_CONFIRMED_SECONDS = 400 * 86_400.0
"""A product that nobody asks for is not fetched again, and yet need not be cold: a year, and a month for the next."""


class State(IntEnum):
    """What may be done with an entry, and what the ``X-Cache`` header says of an answer; from best to worst.

    A ``MISS`` is gone, or was never there: it takes a fetch.
    """

    HIT = 0
    STALE = 1
    MISS = 2


_WORDS = {state: state.name.lower() for state in State}


class Freshness(Struct, frozen=True, gc=False):
    """The state, age and remaining freshness of an answer. Moments are seconds since the epoch."""

    state: State
    stored_at: float
    """When the oldest of it was fetched."""
    fresh_until: float
    gone_at: float = math.inf
    """From then on the answer must not be shown, however stale an answer may be."""
    confirmed_at: float = -math.inf
    """When all of it was last known to be what a fetch would bring."""

    @property
    def as_of(self) -> float:
        """Return the moment that its age counts from."""
        return max(self.stored_at, self.confirmed_at)

    def remaining(self, now: float) -> float:
        """Return the seconds it stays fresh, after a clock set back at most what it had at first."""
        return max(0.0, min(self.fresh_until - now, self.fresh_until - self.as_of))

    def headers(self, now: float) -> list[tuple[str, str]]:
        return [
            ("X-Cache", _WORDS[self.state]),
            ("Age", str(max(0, int(now - self.as_of)))),
            ("Cache-Control", f"private, max-age={int(self.remaining(now))}"),
        ]

    def with_(self, other: Freshness) -> Freshness:
        """Return the freshness of an answer made from both: the worse state, the older, the sooner to go."""
        return Freshness(
            max(self.state, other.state),
            min(self.stored_at, other.stored_at),
            min(self.fresh_until, other.fresh_until),
            min(self.gone_at, other.gone_at),
            min(self.as_of, other.as_of),
        )


@dataclass
class Pace:
    """How much longer everything lasts than was set, while the plan has no more calls for the day. 1: no longer."""

    fresh: float = 1.0
    whole: float = 1.0


@dataclass(frozen=True)
class Lifetimes:
    """The policy, in seconds: ``CACHE_FRESH_SECONDS`` and its siblings.

    ``confirms``: something confirms entries without fetching them. One without reviews is then stale for the second
    half of its life, so that it can be confirmed before it is gone.
    """

    fresh: float
    stale: float
    missing: float
    confirms: bool = False
    pace: Pace = field(default_factory=Pace, compare=False)

    @property
    def fresh_now(self) -> float:
        """Return the seconds that an entry of now is fresh for, as far as the plan goes."""
        return self.fresh * self.pace.fresh

    def state(self, entry: Entry | None, now: float) -> State:
        """Tell whether ``entry`` may be answered, and whether without asking Trustpilot again."""
        if entry is None or now >= self.gone_at(entry):
            return State.MISS
        is_fresh = now < self.fresh_until(entry) and not self._is_ahead(entry, now)
        return State.HIT if is_fresh else State.STALE

    def fresh_until(self, entry: Entry) -> float:
        """Return the moment from which ``entry`` is confirmed or fetched anew."""
        return min(entry.as_of + self._fresh(entry), entry.outdated_at, self.whole_until(entry))

    def whole_until(self, entry: Entry) -> float:
        """Return the moment from which only a fetch will do: nothing else shows an edited text or a reply.

        A little before an entry that was never confirmed would be gone, so that who asks again and again meets no
        older text than that.
        """
        return entry.fetched_at + max(self._fresh(entry), (self.stale - self.fresh) * self.pace.whole)

    def may_be_confirmed(self, entry: Entry, now: float) -> bool:
        """Tell whether ``entry`` needs no fetch if nothing that can be counted has changed."""
        return now < min(entry.outdated_at, self.whole_until(entry)) and not self._is_ahead(entry, now)

    def gone_at(self, entry: Entry) -> float:
        """Return the moment from which ``entry`` is not answered any more. Without reviews it has no stale phase.

        A stale page still shows real reviews; a stale "nothing" would only hide a product's first one.
        """
        if not entry.found:
            return entry.as_of + self.missing
        # As long again as it is fresh, where the plan has it be fresh for longer than it was to be stale.
        longer = 2 * self._fresh(entry) if self.pace.fresh > 1 else self.fresh
        return entry.as_of + max(longer, self.stale)

    def kept_until(self, entry: Entry) -> float:
        """Return the moment until which it is worth keeping ``entry``: a whole shop may be confirmed meanwhile."""
        return self.gone_at(entry) + (_CONFIRMED_SECONDS if self.confirms and entry.found else 0.0)

    def _is_ahead(self, entry: Entry, now: float) -> bool:
        """Tell whether ``entry`` is from further ahead than it may be fresh: the clock was set back."""
        return entry.as_of - now > self.fresh_until(entry) - entry.as_of

    def _fresh(self, entry: Entry) -> float:
        if entry.found:
            return self.fresh * self.pace.fresh
        return self.missing / 2 if self.confirms else self.missing

    def freshness(self, entry: Entry, state: State) -> Freshness:
        """Return the freshness of an answer made from ``entry``."""
        return Freshness(state, entry.fetched_at, self.fresh_until(entry), self.gone_at(entry), entry.confirmed_at)

    @property
    def longest(self) -> float:
        """Return how long any entry may be answered."""
        return max(self.fresh, self.stale, self.missing)


class Ages(NamedTuple):
    """How many entries there are in each state, and their ages in seconds."""

    fresh: int
    stale: int
    gone: int
    sum: float
    oldest: float

    @classmethod
    def of(cls, entries: Iterable[Entry], lifetimes: Lifetimes, now: float) -> Ages:
        states, ages = [0, 0, 0], [0.0]
        for entry in entries:
            states[lifetimes.state(entry, now)] += 1
            ages.append(max(0.0, now - entry.as_of))
        return cls(states[State.HIT], states[State.STALE], states[State.MISS], sum(ages), max(ages))
