"""Sending an invitation: check it, tell which one it is, send it once."""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

from proxy.clock import Deadline
from proxy.invitations.checks import read_invitation
from proxy.invitations.once import Once, Outcome
from proxy.invitations.sameness import sameness
from proxy.trustpilot.invitations import Verdict

WAITING_SECONDS = 1.0
"""How much longer than a whole sending a delivery waits for another one of the same invitation."""


class Relay(Protocol):
    """Takes an invitation to Trustpilot."""

    def invite(self, business_unit: str, body: bytes, deadline: Deadline) -> Verdict:
        """Return Trustpilot's verdict; raise :class:`~proxy.trustpilot.errors.TrustpilotError`."""


class Invitations:
    """Sends invitations. ``secret`` keys the hashes of addresses; ``seconds`` is the time a sending may take."""

    def __init__(self, relay: Relay, once: Once, *, secret: str, seconds: float) -> None:
        self._relay = relay
        self._once = once
        self._secret = secret.encode()
        self._seconds = seconds

    def send(self, business_unit: str, body: bytes, idempotency_key: str | None) -> Outcome:
        """Send the invitation in ``body`` as it is, unless it was sent already.

        Raises :class:`~proxy.invitations.checks.BadInvitation`, what :meth:`Once.send` raises, and
        :class:`~proxy.trustpilot.errors.TrustpilotError`.
        """
        invitation = read_invitation(body)
        same = sameness(business_unit, invitation, idempotency_key, self._secret)

        def send() -> Verdict:
            verdict = self._relay.invite(business_unit, body, Deadline.after(self._seconds))
            return verdict if verdict.accepted else without_address(invitation["consumerEmail"], verdict)

        if same.key is None:
            return Outcome(send(), replayed=False)
        waiting = Deadline.after(self._seconds + WAITING_SECONDS)
        return self._once.send(same.key, same.identity, send, waiting)


def without_address(address: str, verdict: Verdict) -> Verdict:
    r"""Take the address out of a refusal: Braze shows it in a log that more people read than the profile.

    Out of its texts and not out of its bytes: JSON may write ``+`` as ``\u002B``.
    """
    if not verdict.body.strip():
        return verdict
    told = json.loads(verdict.body)
    left = _without(re.compile(re.escape(address), re.IGNORECASE), told)
    if left == told:
        return verdict
    return Verdict(verdict.status, json.dumps(left, ensure_ascii=False).encode("utf-8", "replace"))


def _without(address: re.Pattern[str], told: Any) -> Any:
    if isinstance(told, str):
        return address.sub("(consumerEmail)", told)
    if isinstance(told, list):
        return [_without(address, item) for item in told]
    if isinstance(told, dict):
        return {_without(address, name): _without(address, value) for name, value in told.items()}
    return told
