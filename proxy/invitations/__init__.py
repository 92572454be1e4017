"""Invitations, and links to write a review for a mail of the shop's own: checked, sent once, answered alike.

Needs neither Flask nor requests.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Protocol

from proxy.cache import DeadlinePassed, Group, Key
from proxy.clock import Deadline
from proxy.invitations.idempotency import (
    Fingerprint,
    Idempotency,
    InvitationUnderWay,
    KeyReused,
    Outcome,
    RecordsDown,
    Verdict,
    fingerprint,
)
from proxy.invitations.validation import BadInvitation, LinkRequest, read_invitation
from proxy.trustpilot import TimedOut

__all__ = [
    "BadInvitation",
    "Idempotency",
    "InvitationUnderWay",
    "Invitations",
    "KeyReused",
    "LinkLate",
    "Outcome",
    "RecordsDown",
]

_WAITING_SECONDS = 1.0
"""How much longer than a whole sending a delivery waits for another one of the same invitation."""


class LinkLate(Exception):
    """Trustpilot did not make the link within the deadline. The call goes on; its link is for the next who asks."""


class InvitationCalls(Protocol):
    """Trustpilot's calls; each raises :class:`~proxy.trustpilot.TrustpilotError`."""

    def invite(self, business_unit: str, body: bytes, deadline: Deadline) -> Verdict:
        """Return Trustpilot's verdict."""

    def link(self, business_unit: str, body: dict[str, Any], deadline: Deadline, *, of_products: bool) -> Verdict:
        """Return a verdict whose body is the bare link, or Trustpilot's refusal."""


@dataclass(frozen=True)
class Invitations:
    """Sends invitations, and hands out links.

    ``group`` has those share a call who ask for one link at once; ``secret`` keys the hashes of addresses;
    ``seconds`` is the time that a call may take.
    """

    calls: InvitationCalls
    idempotency: Idempotency
    group: Group[Outcome]
    secret: str = field(repr=False)
    seconds: float

    def send(self, business_unit: str, body: bytes, idempotency_key: str | None) -> Outcome:
        """Send the invitation in ``body`` as it is, unless it was sent already.

        Raises :class:`~proxy.invitations.validation.BadInvitation`, what :meth:`Idempotency.send` raises, and
        :class:`~proxy.trustpilot.TrustpilotError`.
        """
        invitation = read_invitation(body)
        which = invitation_fingerprint(business_unit, invitation, idempotency_key, self.secret.encode())

        def send() -> Verdict:
            verdict = self.calls.invite(business_unit, body, Deadline.after(self.seconds))
            return verdict if verdict.accepted else without_address(invitation["consumerEmail"], verdict)

        return self.idempotency.send(which, send, Deadline.after(self.seconds + _WAITING_SECONDS))

    def link(self, business_unit: str, wanted: LinkRequest, deadline: Deadline) -> Outcome:
        """Return the link in an accepted verdict, or Trustpilot's refusal without the address.

        The same again within 24 hours is answered with the same link. Raises :class:`LinkLate`,
        :class:`RecordsDown` and :class:`~proxy.trustpilot.TrustpilotError`.
        """
        # Not the name: Braze may render it anew, and it is for Trustpilot's page only.
        about = [business_unit, wanted.email.lower(), *wanted.skus, wanted.locale or "", wanted.redirect_url or ""]
        which = fingerprint(["link", *about], wanted.reference, None, self.secret.encode())

        def ask() -> Verdict:
            until = Deadline.after(self.seconds)
            verdict = self.calls.link(business_unit, wanted.body, until, of_products=bool(wanted.skus))
            return verdict if verdict.accepted else without_address(wanted.email, verdict)

        def ask_once() -> Outcome:
            until = Deadline.after(self.seconds + _WAITING_SECONDS)
            return self.idempotency.send(which, ask, until, harmless=True)

        try:
            return self.group.do(Key(which.identity, ""), ask_once).wait(deadline)
        except RecordsDown as error:
            raise RecordsDown("the store that remembers links can't be reached; no link was asked for") from error
        except (DeadlinePassed, TimedOut, InvitationUnderWay):
            raise LinkLate("Trustpilot did not make the link within the deadline; ask again for it") from None


def invitation_fingerprint(
    business_unit: str, invitation: dict[str, Any], idempotency_key: str | None, secret: bytes
) -> Fingerprint:
    """Return what all deliveries of ``invitation`` have in common: unit, address and reference number.

    Addresses are compared without regard to case, and ``referenceNumber`` as text.
    """
    reference = invitation.get("referenceNumber")
    reference = "" if reference is None else str(reference).strip()
    parts = ["invitation", business_unit, str(invitation["consumerEmail"]).lower()]
    return fingerprint(parts, reference, idempotency_key, secret)


def without_address(address: str, verdict: Verdict) -> Verdict:
    r"""Remove the address from a refusal: Braze shows it in a log that more people read than the profile.

    From its texts and not from its bytes: JSON may write ``+`` as ``\u002B``.
    """
    if not verdict.body.strip():
        return verdict
    refusal = json.loads(verdict.body)
    left = _without(re.compile(re.escape(address), re.IGNORECASE), refusal)
    if left == refusal:
        return verdict
    return Verdict(verdict.status, json.dumps(left, ensure_ascii=False).encode("utf-8", "replace"))


def _without(address: re.Pattern[str], value: Any) -> Any:
    if isinstance(value, str):
        return address.sub("(consumerEmail)", value)
    if isinstance(value, list):
        return [_without(address, item) for item in value]
    if isinstance(value, dict):
        return {_without(address, name): _without(address, item) for name, item in value.items()}
    return value
