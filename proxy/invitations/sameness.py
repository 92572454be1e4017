"""When two invitations are the same one. Names are keyed hashes, so that no store ever holds an address."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sameness:
    """What an invitation can be told by.

    ``key`` is the same for all deliveries of one invitation, ``None`` when nothing tells. ``identity`` is whom and
    what it is about; it differs where a caller uses one Idempotency-Key for two invitations.
    """

    key: str | None
    identity: str


def sameness(business_unit: str, invitation: dict[str, Any], idempotency_key: str | None, secret: bytes) -> Sameness:
    """Tell which deliveries ``invitation`` is the same as.

    Addresses are compared without regard to case, and ``referenceNumber`` as text.
    """
    reference = invitation.get("referenceNumber")
    reference = "" if reference is None else str(reference).strip()
    address = str(invitation["consumerEmail"]).lower()
    about = ["invitation", business_unit, address, reference]
    identity = _hashed(about, secret)
    if idempotency_key is not None:
        return Sameness(_hashed(["key", idempotency_key], secret), identity)
    return Sameness(identity if reference else None, identity)


def _hashed(parts: list[str], secret: bytes) -> str:
    return hmac.new(secret, json.dumps(parts).encode(), hashlib.sha256).hexdigest()
