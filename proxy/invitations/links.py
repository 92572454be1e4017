"""Links to write a review, for a mail of the shop's own: asked for once, and answered while the message renders.

Trustpilot: "Invitation API" (links for the shop) and "Product Reviews API" (links for products).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from proxy.cache import DeadlinePassed, Group, Key
from proxy.clock import Deadline
from proxy.invitations.idempotency import Idempotency, InvitationUnderWay, Outcome, RecordsDown, fingerprint
from proxy.invitations.service import WAITING_SECONDS, without_address
from proxy.invitations.validation import RENDERED_TO_NOTHING, VISIBLE, BadInvitation, check_address, is_unrendered
from proxy.trustpilot.errors import TimedOut
from proxy.trustpilot.invitations import Verdict

MOST_SKUS = 20
SKU = r"[^,\x00-\x1f\x7f-\x9f]{1,200}"
LOCALE = r"[A-Za-z]{2}(?:[-_][A-Za-z]{2})?"
REDIRECT_URL = r"https?://[^\s\x00-\x1f\x7f-\x9f\"'<>\\{}]{1,1900}"
"""Regular expressions for the whole of a value."""

LONGEST_TEXT = 500


class LinkLate(Exception):
    """Trustpilot did not make the link within the deadline. The call goes on; its link is for the next who asks."""


@dataclass(frozen=True)
class LinkRequest:
    """Whom a link is for and what it is about; without ``skus`` the shop itself."""

    email: str = field(repr=False)
    name: str = field(repr=False)
    reference: str
    skus: tuple[str, ...] = ()
    locale: str | None = None
    redirect_url: str | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The body of Trustpilot's call, which has other names for products than for the shop."""
        named = {"locale": self.locale, "redirectUri": self.redirect_url}
        common: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        if not self.skus:
            return {"email": self.email, "name": self.name, "referenceNumber": self.reference, **common}
        return {
            "consumer": {"email": self.email, "name": self.name},
            "referenceId": self.reference,
            "products": [{"sku": sku} for sku in self.skus],
            **common,
        }


def read_link_request(given: Mapping[str, object]) -> LinkRequest:
    """Check what a caller sent, from JSON or a form. Raises :class:`BadInvitation`."""
    email = given.get("email")
    check_address("email", email.strip() if isinstance(email, str) else email)
    reference = given.get("reference")
    if isinstance(reference, int) and not isinstance(reference, bool):
        reference = str(reference)
    locale = _formed(given, "locale", LOCALE, "a locale such as en-US")
    if locale:
        language, _, country = locale.replace("_", "-").partition("-")
        locale = f"{language.lower()}-{country.upper()}" if country else language.lower()
    return LinkRequest(
        str(email).strip(),
        _text("name", given.get("name"), "the customer's name"),
        _text("reference", reference, "an order number"),
        _skus(given.get("sku")),
        locale,
        _formed(given, "redirect_url", REDIRECT_URL, "an http or https address"),
    )


def _text(name: str, value: object, takes: str) -> str:
    if value is None:
        raise BadInvitation(f"{name}: required; takes {takes}")
    if not isinstance(value, str):
        raise BadInvitation(f"{name}: not text; takes {takes}")
    if not re.search(VISIBLE, value):
        raise BadInvitation(f"{name}: empty; {RENDERED_TO_NOTHING}; takes {takes}")
    if is_unrendered(value):
        raise BadInvitation(f"{name}: unrendered Liquid; takes {takes}")
    if len(value) > LONGEST_TEXT:
        raise BadInvitation(f"{name}: too long; takes {takes} of at most {LONGEST_TEXT} characters")
    return value.strip()


def _formed(given: Mapping[str, object], name: str, form: str, takes: str) -> str | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(form, value.strip()):
        raise BadInvitation(f"{name}: takes {takes}")
    return value.strip()


def _skus(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    takes = f"takes one SKU, or up to {MOST_SKUS} as a list or comma-separated"
    given = value if isinstance(value, list) else [value]
    items = [item for item in given if isinstance(item, str)]
    if len(items) < len(given) or not given:
        raise BadInvitation(f"sku: not text; {takes}")
    skus = tuple(dict.fromkeys(part.strip() for item in items for part in item.split(",")))
    if any(not re.search(VISIBLE, sku) for sku in skus):
        raise BadInvitation(f"sku: an empty SKU; {RENDERED_TO_NOTHING}; leave it out for a link to review the shop")
    if any(map(is_unrendered, skus)):
        raise BadInvitation(f"sku: unrendered Liquid; {takes}")
    if len(skus) > MOST_SKUS or not all(re.fullmatch(SKU, sku) for sku in skus):
        raise BadInvitation(f"sku: {takes}, each of at most 200 characters")
    return skus


class LinkCall(Protocol):
    """Asks Trustpilot for a link."""

    def link(self, business_unit: str, body: dict[str, Any], deadline: Deadline, *, of_products: bool) -> Verdict:
        """Return a verdict whose body is the bare link, or Trustpilot's refusal."""


class Links:
    """Hands out links. ``secret`` keys the hashes of addresses; ``seconds`` is the time that a call may take."""

    def __init__(
        self, call: LinkCall, idempotency: Idempotency, group: Group[Outcome], *, secret: str, seconds: float
    ) -> None:
        self._call = call
        self._idempotency = idempotency
        self._group = group
        self._secret = secret.encode()
        self._seconds = seconds

    def link(self, business_unit: str, wanted: LinkRequest, deadline: Deadline) -> Outcome:
        """Return the link in an accepted verdict, or Trustpilot's refusal without the address.

        The same again within 24 hours is answered with the same link. Raises :class:`LinkLate`,
        :class:`RecordsDown` and :class:`~proxy.trustpilot.errors.TrustpilotError`.
        """
        # Not the name: Braze may render it anew, and it is for Trustpilot's page only.
        about = [business_unit, wanted.email.lower(), *wanted.skus, wanted.locale or "", wanted.redirect_url or ""]
        which = fingerprint(["link", *about], wanted.reference, None, self._secret)

        def ask() -> Verdict:
            until = Deadline.after(self._seconds)
            verdict = self._call.link(business_unit, wanted.body, until, of_products=bool(wanted.skus))
            return verdict if verdict.accepted else without_address(wanted.email, verdict)

        def ask_once() -> Outcome:
            until = Deadline.after(self._seconds + WAITING_SECONDS)
            return self._idempotency.send(which, ask, until, harmless=True)

        try:
            return self._group.do(Key(which.identity, ""), ask_once).wait(deadline)
        except RecordsDown as error:
            raise RecordsDown("the store that remembers links can't be reached; no link was asked for") from error
        except (DeadlinePassed, TimedOut, InvitationUnderWay):
            raise LinkLate("Trustpilot did not make the link within the deadline; ask again for it") from None
