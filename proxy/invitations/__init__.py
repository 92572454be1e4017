"""Invitations: checked, sent once, answered alike. Needs neither Flask nor requests."""

from proxy.invitations.checks import BadInvitation
from proxy.invitations.ledger import LedgerDown
from proxy.invitations.once import InvitationUnderWay, KeyReused, Once, Outcome
from proxy.invitations.sending import Invitations

__all__ = ["BadInvitation", "InvitationUnderWay", "Invitations", "KeyReused", "LedgerDown", "Once", "Outcome"]
