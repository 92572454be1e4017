"""Invitations: validated, sent once, answered alike. Needs neither Flask nor requests."""

from proxy.invitations.idempotency import Idempotency, InvitationUnderWay, KeyReused, Outcome, RecordsDown
from proxy.invitations.service import Invitations, LinkLate
from proxy.invitations.validation import BadInvitation

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
