"""Idempotency: of all deliveries of one invitation within a day, one is sent, and all are answered like it.

A delivery adds a claim to the backend, sends, and puts Trustpilot's answer in the claim's place; later deliveries are
answered with that. A failed one removes its claim, so that the next delivery is sent. Deliveries that come while it
is under way wait for it and are answered alike, also when it fails. Of a claim whose process died nobody knows what
became of it: for a day it is answered so, and not sent again.

Keys are keyed hashes: no backend ever holds an address.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import logging
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
from cachetools import TTLCache
from msgspec import Struct

from proxy.cache.backend import Backend, BackendDown
from proxy.clock import Deadline, Now
from proxy.trustpilot import Failing, OutcomeUnknown, TrustpilotError

REMEMBERED_SECONDS = 86_400.0
FAILURE_SECONDS = 60.0
"""How long a failure is kept for those who wait for it."""

_LONGEST_BODY = 65_536
"""Bytes of Trustpilot's answer that are remembered; a longer one is answered again without its body."""

_UNKNOWN_RETRY_SECONDS = 300
_PAUSES = (0.02, 0.05, 0.1)
_LONGEST_PAUSE = 0.2
_PREFIX = "invitation"
"""Stays as it is at an upgrade, or a day's invitations go out twice."""

_log = logging.getLogger(__name__)


class InvitationUnderWay(Exception):
    """The same invitation is being sent, and that has not ended yet."""


class KeyReused(Exception):
    """An Idempotency-Key was used for two different invitations."""


class RecordsDown(Exception):
    """The backend can't be reached, so nobody knows whether an invitation was sent already. Nothing was sent."""


@dataclass(frozen=True)
class Verdict:
    """Trustpilot's final word on an invitation: a 2xx, or a 4xx that sending it again would not change.

    ``body`` is JSON or empty.
    """

    status: int
    body: bytes

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Outcome:
    """Trustpilot's verdict, and whether it was given to another delivery of this invitation."""

    verdict: Verdict
    replayed: bool


@dataclass(frozen=True)
class Fingerprint:
    """What an invitation is recognised by.

    ``key`` is the same for all deliveries of one invitation, ``None`` when nothing identifies it. ``identity`` is
    whom and what it is about; it differs where a caller uses one Idempotency-Key for two invitations.
    """

    key: str | None
    identity: str


def fingerprint(parts: list[str], reference: str, idempotency_key: str | None, secret: bytes) -> Fingerprint:
    """Return the fingerprint of what ``parts`` describe; without a reference only a caller's key identifies."""
    identity = _hashed([*parts, reference], secret)
    if idempotency_key is not None:
        return Fingerprint(_hashed(["key", idempotency_key], secret), identity)
    return Fingerprint(identity if reference else None, identity)


def _hashed(parts: list[str], secret: bytes) -> str:
    return hmac.new(secret, json.dumps(parts).encode(), hashlib.sha256).hexdigest()


class _Record(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One record, as JSON: with a ``status`` a verdict, with ``failed`` a failure, with neither a claim."""

    identity: str
    claim: str = ""
    until: float = 0.0
    status: int | None = None
    body: str = ""
    failed: str | None = None
    unknown: bool = False
    retry_after: int = 0

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, value: bytes) -> _Record | None:
        """Return the record in ``value``, ``None`` where it is none: a shared backend may hold anything."""
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            return msgspec.json.decode(value, type=cls)
        return None

    def outcome(self) -> Outcome:
        if self.status is not None:
            return Outcome(Verdict(self.status, self.body.encode()), replayed=True)
        kind = OutcomeUnknown if self.unknown else Failing
        raise kind(f"another delivery of the same failed: {self.failed}", retry_after=self.retry_after)


@dataclass(eq=False)
class Idempotency:
    """Sends each invitation once. ``claim_seconds``: longer than any sending takes."""

    backend: Backend
    sleep: Callable[[float], None]
    claim_seconds: float
    now: Now = time.time
    _unreleased: TTLCache[bytes, _Record] = field(
        default_factory=lambda: TTLCache(1000, REMEMBERED_SECONDS, timer=time.monotonic), init=False
    )
    """Failures by claim, of claims that the backend could not be told to release."""

    def send(
        self, fingerprint: Fingerprint, send: Callable[[], Verdict], deadline: Deadline, *, harmless: bool = False
    ) -> Outcome:
        """Return the outcome of ``send``, or that of the delivery that came before.

        ``harmless``: what a process that died may have sent is sent again once it can't be under way any more.
        Raises :class:`KeyReused`, :class:`InvitationUnderWay` at the deadline, a
        :class:`~proxy.trustpilot.TrustpilotError`, and, before anything is sent, :class:`RecordsDown`.
        """
        if fingerprint.key is None:
            return Outcome(send(), replayed=False)
        key = f"{_PREFIX}:{fingerprint.key}"
        until = self.now() + self.claim_seconds
        claim = _Record(fingerprint.identity, claim=uuid.uuid4().hex, until=until)
        try:
            outcome = self._earlier(key, claim, deadline, harmless=harmless)
        except BackendDown as error:
            raise RecordsDown(
                "the store that remembers sent invitations can't be reached; the invitation was not sent, as it may "
                "have been before"
            ) from error
        return outcome or self._sent(key, claim, send)

    def _earlier(self, key: str, claim: _Record, deadline: Deadline, *, harmless: bool) -> Outcome | None:
        """Return the outcome of an earlier delivery, or ``None`` once ``claim`` is recorded."""
        seen: bytes | None = None
        for pause in itertools.chain(_PAUSES, itertools.repeat(_LONGEST_PAUSE)):
            if seen is not None and (failure := self.backend.get(_failure_key(seen))):
                failed = _Record.decode(failure)
                if failed is not None:
                    return failed.outcome()
            seen = self.backend.add(key, claim.encode(), REMEMBERED_SECONDS)
            if seen is None:
                return None
            if (unreleased := self._unreleased.pop(seen, None)) is not None:
                self._release(key, seen, unreleased)
                continue
            record = _Record.decode(seen)
            if record is None:
                _log.warning("what is recorded under an invitation's key is not the proxy's: dropped")
                self.backend.remove(key, seen)
            elif record.identity != claim.identity:
                raise KeyReused
            elif record.status is not None:
                return record.outcome()
            elif record.until <= self.now() and harmless:
                self.backend.remove(key, seen)
                continue
            elif record.until <= self.now():
                raise OutcomeUnknown(
                    "the proxy was ended while it sent this invitation, and does not send it again within 24 hours",
                    retry_after=_UNKNOWN_RETRY_SECONDS,
                )
            if not deadline.remaining():
                break
            if record is not None:
                self.sleep(min(pause, deadline.remaining()))
        raise InvitationUnderWay

    def _sent(self, key: str, claim: _Record, send: Callable[[], Verdict]) -> Outcome:
        try:
            verdict = send()
        except Exception as error:
            # Not where this process is being ended: nobody knows then what became of it, as when it was killed.
            reason, retry_after = "the proxy made a mistake", 0
            if isinstance(error, TrustpilotError):
                reason, retry_after = str(error), error.retry_after
            unknown = isinstance(error, OutcomeUnknown)
            failure = _Record(claim.identity, failed=reason, unknown=unknown, retry_after=retry_after)
            self._release(key, claim.encode(), failure)
            raise
        body = verdict.body.decode() if len(verdict.body) <= _LONGEST_BODY else ""
        record = _Record(claim.identity, status=verdict.status, body=body)
        if verdict.accepted:
            self._keep(key, record)
        else:
            self._release(key, claim.encode(), record)
        return Outcome(verdict, replayed=False)

    def _keep(self, key: str, record: _Record) -> None:
        try:
            self.backend.set(key, record.encode(), REMEMBERED_SECONDS)
        except BackendDown:
            _log.error("an invitation was sent but its answer could not be recorded: it may not be known any more")

    def _release(self, key: str, claim: bytes, failure: _Record) -> None:
        try:
            self.backend.set(_failure_key(claim), failure.encode(), FAILURE_SECONDS)
            self.backend.remove(key, claim)
        except BackendDown:
            self._unreleased[claim] = failure
            _log.warning("the claim on a failed invitation could not be removed yet")


def _failure_key(claim: bytes) -> str:
    return f"{_PREFIX}:failed:{hashlib.sha256(claim).hexdigest()}"
