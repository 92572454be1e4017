"""Once only: of deliveries of one invitation, at any distance in time within a day, one is sent.

A delivery claims the invitation, sends it, and notes Trustpilot's answer, which later deliveries are answered with.
A failed one takes its claim back, so that the next delivery is sent. Deliveries that come while it is under way wait
for it and are answered alike, also when it fails. A process that dies with a claim leaves it to end by itself.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from proxy.clock import Deadline
from proxy.invitations.ledger import Ledger
from proxy.trustpilot.errors import Failing, OutcomeUnknown, TrustpilotError
from proxy.trustpilot.invitations import Verdict

REMEMBERED_SECONDS = 86_400.0
REASON_SECONDS = 60.0
"""How long a failure lies there for those who wait for it."""

_LONGEST_BODY = 65_536
"""Bytes of Trustpilot's answer that are remembered; a longer one is answered again without its body."""

_PAUSES = (0.02, 0.05, 0.1, 0.2)


_log = logging.getLogger(__name__)


class InvitationUnderWay(Exception):
    """The same invitation is being sent, and that has not ended yet."""


class KeyReused(Exception):
    """An Idempotency-Key was used for two different invitations."""


@dataclass(frozen=True)
class Outcome:
    """Trustpilot's verdict, and whether it was given to another delivery of this invitation."""

    verdict: Verdict
    replayed: bool


@dataclass(frozen=True)
class _Note:
    """What a ledger holds, as JSON: with a ``status`` a verdict, with ``failed`` a failure, with neither a claim."""

    identity: str
    claim: str = ""
    status: int | None = None
    body: str = ""
    failed: str | None = None
    unknown: bool = False
    retry_after: int = 0

    def written(self) -> bytes:
        return json.dumps(self.__dict__).encode()

    @classmethod
    def read(cls, text: bytes) -> _Note | None:
        """Return the note in ``text``, ``None`` where it is not one: what lies in a shared store may be anyone's."""
        try:
            note = cls(**json.loads(text))
            note.body.encode()
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None
        texts = (note.identity, note.claim, note.body, note.failed or "")
        numbers = (note.retry_after, note.status or 0)
        if not all(isinstance(text, str) for text in texts) or not all(type(number) is int for number in numbers):
            return None
        return note

    def outcome(self) -> Outcome:
        """Return the verdict, or raise the failure."""
        if self.status is not None:
            return Outcome(Verdict(self.status, self.body.encode()), replayed=True)
        kind = OutcomeUnknown if self.unknown else Failing
        raise kind(f"another delivery of this invitation failed: {self.failed}", retry_after=self.retry_after)


class Once:
    """Sends each invitation once. ``claim_seconds``: longer than any sending takes."""

    def __init__(self, ledger: Ledger, sleep: Callable[[float], None], *, claim_seconds: float) -> None:
        self._ledger = ledger
        self._sleep = sleep
        self._claim_seconds = claim_seconds

    def send(self, key: str, identity: str, send: Callable[[], Verdict], deadline: Deadline) -> Outcome:
        """Return the outcome of ``send``, or that of the delivery that came before.

        Raises :class:`KeyReused`, :class:`InvitationUnderWay` at the deadline, a
        :class:`~proxy.trustpilot.errors.TrustpilotError`, and, before anything is sent,
        :class:`~proxy.invitations.ledger.LedgerDown`.
        """
        mine = _Note(identity, claim=uuid.uuid4().hex)
        watched: bytes | None = None
        for pause in _pauses():
            if watched is not None and (reason := self._ledger.reason(watched)):
                left = _Note.read(reason)
                if left is not None:
                    return left.outcome()
            noted = self._ledger.claim(key, mine.written(), self._claim_seconds)
            if noted is None:
                return self._sent(key, mine, send)
            note = _Note.read(noted)
            if note is None:
                _log.warning("what is noted under an invitation's key is not the proxy's: dropped")
                self._ledger.drop(key, noted)
                if not deadline.remaining():
                    break
                continue
            if note.identity != identity:
                raise KeyReused
            if note.status is not None:
                return note.outcome()
            if not deadline.remaining():
                break
            watched = noted
            self._sleep(min(pause, deadline.remaining()))
        raise InvitationUnderWay

    def _sent(self, key: str, mine: _Note, send: Callable[[], Verdict]) -> Outcome:
        failure: _Note | None = _Note(mine.identity, failed="the proxy made a mistake")
        try:
            verdict = send()
            note = _Note(mine.identity, status=verdict.status, body=_remembered(verdict.body))
            if verdict.accepted:
                self._ledger.keep(key, note.written(), REMEMBERED_SECONDS)
                failure = None
            else:
                failure = note
        except TrustpilotError as error:
            unknown = isinstance(error, OutcomeUnknown)
            failure = _Note(mine.identity, failed=str(error), unknown=unknown, retry_after=error.retry_after)
            raise
        finally:
            if failure is not None:
                self._ledger.fail(key, mine.written(), failure.written(), REASON_SECONDS)
        return Outcome(verdict, replayed=False)


def _remembered(body: bytes) -> str:
    return body.decode() if len(body) <= _LONGEST_BODY else ""


def _pauses() -> Iterator[float]:
    yield from _PAUSES
    while True:
        yield _PAUSES[-1]
