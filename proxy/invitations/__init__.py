"""Invitations, and links to write a review for a mail of the shop's own: checked, sent once, answered alike.

What Trustpilot would certainly refuse is found before it costs a call. Everything else is passed on as it is.
Trustpilot: "Invitation API" (invitations, and links for the shop) and "Product Reviews API" (links for products). No
message quotes a value: an invitation is about a person.

Needs neither Flask nor requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
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

_INVISIBLE = r"\s\x00-\x1f\x7f-\x9f\ufeff"
VISIBLE = f"[^{_INVISIBLE}]"
"""A regular expression for a character that can be seen; text without one is empty."""

_NOT_IN_ADDRESS = _INVISIBLE + r"@<>(),;:\"\[\]\\"
ADDRESS = rf"[^{_NOT_IN_ADDRESS}]{{1,64}}@[^.{_NOT_IN_ADDRESS}]+(\.[^.{_NOT_IN_ADDRESS}]+)+"
"""A regular expression for the whole of an address; Trustpilot decides about the rest."""

LONGEST_ADDRESS = 254
_SECTIONS = ("serviceReviewInvitation", "productReviewInvitation")
MOST_SKUS = 20
SKU = r"[^,\x00-\x1f\x7f-\x9f]{1,200}"
LOCALE = r"[A-Za-z]{2}(?:[-_][A-Za-z]{2})?"
REDIRECT_URL = r"https?://[^\s\x00-\x1f\x7f-\x9f\"'<>\\{}]{1,1900}"
"""Regular expressions for the whole of a value."""

LONGEST_TEXT = 500

UNRENDERED = r"\{\{|\}\}|\{%|\$\{"
"""A regular expression for what is left of Liquid that nobody rendered."""

is_unrendered = re.compile(UNRENDERED).search
"""Finds something of Liquid that is left in a value, if there is any."""

_RENDERED_TO_NOTHING = "the Liquid variable rendered to nothing"


class LinkLate(Exception):
    """Trustpilot did not make the link within the deadline. The call goes on; its link is for the next who asks."""


class InvitationCalls(Protocol):
    """Trustpilot's calls; each raises :class:`~proxy.trustpilot.TrustpilotError`."""

    def invite(self, business_unit: str, body: bytes, deadline: Deadline) -> Verdict:
        """Send ``body`` as it is.

        Raises :class:`~proxy.trustpilot.OutcomeUnknown` when Trustpilot may have taken the invitation, and another
        error when it has not.
        """

    def link(self, business_unit: str, body: dict[str, Any], deadline: Deadline, *, of_products: bool) -> Verdict:
        """Ask for a link to review products, or the shop itself: the bare body of an accepted verdict."""


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

        Raises :class:`BadInvitation`, what :meth:`Idempotency.send` raises, and
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


class BadInvitation(Exception):
    """Trustpilot would certainly refuse this invitation. The message names the field and what it takes."""


def read_invitation(body: bytes) -> dict[str, Any]:
    """Return the invitation in ``body``. Raises :class:`BadInvitation`."""
    invitation = read_object(body)
    _check_address("consumerEmail", invitation.get("consumerEmail"))
    _check_reference(invitation.get("referenceNumber"))
    sections = {name: invitation[name] for name in _SECTIONS if invitation.get(name) is not None}
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise BadInvitation(f"{name}: takes a JSON object")
    if not sections:
        raise BadInvitation(f"{' or '.join(_SECTIONS)}: required; an invitation takes at least one of them")
    if "productReviewInvitation" in sections:
        _check_products(sections["productReviewInvitation"])
    _check_order([_send_time(name, sections[name]) for name in sections])
    return invitation


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``. Raises :class:`BadInvitation`."""
    try:
        given = json.loads(body.decode(), object_pairs_hook=_named_once, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise BadInvitation("the body is not UTF-8; it takes a JSON object in UTF-8") from None
    except json.JSONDecodeError as mistake:
        raise BadInvitation(
            f"the body is not JSON, from line {mistake.lineno}, column {mistake.colno}: look for a missing quote or "
            "comma, or a Liquid value without | json_escape"
        ) from None
    except (ValueError, RecursionError):
        raise BadInvitation("the body is not JSON: a number or its nesting goes beyond what JSON takes") from None
    if not isinstance(given, dict):
        raise BadInvitation("the body takes a JSON object")
    return given


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name given twice: this proxy and Trustpilot could each take another one of the two."""
    named = dict(pairs)
    if len(named) < len(pairs):
        raise BadInvitation("a name is given twice in one object; each takes one value")
    return named


def _no_constant(_name: str) -> object:
    raise ValueError


def _check_address(name: str, value: object) -> None:
    """Raise :class:`BadInvitation` for what is no address; ``name`` is the field."""
    takes = "takes an e-mail address"
    address = _said(name, value, takes)
    if len(address) > LONGEST_ADDRESS or not re.fullmatch(ADDRESS, address):
        raise BadInvitation(f"{name}: not an e-mail address; {takes} such as name@example.com")


def _said(name: str, value: object, takes: str) -> str:
    if value is None:
        raise BadInvitation(f"{name}: required; {takes}")
    if not isinstance(value, str):
        raise BadInvitation(f"{name}: not text; {takes}")
    if not re.search(VISIBLE, value):
        raise BadInvitation(f"{name}: empty; {_RENDERED_TO_NOTHING}; {takes}")
    if is_unrendered(value):
        raise BadInvitation(f"{name}: unrendered Liquid; {takes}")
    return value


def _check_reference(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise BadInvitation("referenceNumber: takes text, such as an order number")
    if isinstance(value, str) and is_unrendered(value):
        # It would go out as it is, and every customer's order would have the same number.
        raise BadInvitation("referenceNumber: unrendered Liquid; takes text, such as an order number")


def _check_products(section: dict[str, Any]) -> None:
    given = [name for name in ("products", "productSkus") if section.get(name) is not None]
    if len(given) != 1:
        found = "both are given" if given else "neither is given"
        raise BadInvitation(
            f"productReviewInvitation.products, productReviewInvitation.productSkus: {found}; takes one of them"
        )
    name = f"productReviewInvitation.{given[0]}"
    kind, takes = (dict, "objects") if given[0] == "products" else (str, "SKUs as text")
    items = section[given[0]]
    if not isinstance(items, list) or not items or not all(isinstance(item, kind) for item in items):
        raise BadInvitation(f"{name}: takes a list of {takes}, at least one")
    if any(isinstance(item, str) and not re.search(VISIBLE, item) for item in items):
        raise BadInvitation(f"{name}: an empty SKU; {_RENDERED_TO_NOTHING}")
    if any(isinstance(item, str) and is_unrendered(item) for item in items):
        raise BadInvitation(f"{name}: unrendered Liquid; takes a list of SKUs")


def _send_time(section_name: str, section: dict[str, Any]) -> datetime | None:
    """Return when a section is to be sent, ``None`` when it does not say, or in a way only Trustpilot knows."""
    value = section.get("preferredSendTime")
    if value is None:
        return None
    if not isinstance(value, str) or not re.search(VISIBLE, value):
        raise BadInvitation(f"{section_name}.preferredSendTime: takes a time in UTC such as 2026-01-31T09:00:00")
    # Both are in Trustpilot's own examples.
    for read in (datetime.fromisoformat, lambda text: datetime.strptime(text, "%m/%d/%Y %H:%M:%S")):
        try:
            moment = read(value.strip())
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):  # the latter where the year is 0 or 10000 in UTC
            continue
    return None


def _check_order(times: list[datetime | None]) -> None:
    """Check the service invitation's time against the product invitation's; equal ones are Trustpilot's example."""
    if len(times) == 2 and times[0] is not None and times[1] is not None and times[0] > times[1]:
        raise BadInvitation(
            "productReviewInvitation.preferredSendTime: earlier than serviceReviewInvitation.preferredSendTime; "
            "the service invitation comes first"
        )


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
    _check_address("email", email.strip() if isinstance(email, str) else email)
    reference = given.get("reference")
    if isinstance(reference, int) and not isinstance(reference, bool):
        reference = str(reference)
    locale = _formed(given, "locale", LOCALE, "a locale such as en-US")
    return LinkRequest(
        str(email).strip(),
        _text("name", given.get("name"), "the customer's name"),
        _text("reference", reference, "an order number"),
        _read_skus(given.get("sku")),
        locale and locale_tag(locale),
        _formed(given, "redirect_url", REDIRECT_URL, "an http or https address"),
    )


def locale_tag(locale: str) -> str:
    """Return what has the form of :data:`LOCALE` as Trustpilot writes it: ``EN_us`` → ``en-US``."""
    language, _, country = locale.replace("_", "-").partition("-")
    return f"{language.lower()}-{country.upper()}" if country else language.lower()


def _text(name: str, value: object, takes: str) -> str:
    text = _said(name, value, f"takes {takes}")
    if len(text) > LONGEST_TEXT:
        raise BadInvitation(f"{name}: too long; takes {takes} of at most {LONGEST_TEXT} characters")
    return text.strip()


def _formed(given: Mapping[str, object], name: str, form: str, takes: str) -> str | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(form, value.strip()):
        raise BadInvitation(f"{name}: takes {takes}")
    return value.strip()


def _read_skus(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    takes = f"takes one SKU, or up to {MOST_SKUS} as a list or comma-separated"
    given = value if isinstance(value, list) else [value]
    items = [item for item in given if isinstance(item, str)]
    if len(items) < len(given) or not given:
        raise BadInvitation(f"sku: not text; {takes}")
    skus = tuple(dict.fromkeys(part.strip() for item in items for part in item.split(",")))
    if any(not re.search(VISIBLE, sku) for sku in skus):
        raise BadInvitation(f"sku: an empty SKU; {_RENDERED_TO_NOTHING}; leave it out for a link to review the shop")
    if any(map(is_unrendered, skus)):
        raise BadInvitation(f"sku: unrendered Liquid; {takes}")
    if len(skus) > MOST_SKUS or not all(re.fullmatch(SKU, sku) for sku in skus):
        raise BadInvitation(f"sku: {takes}, each of at most 200 characters")
    return skus
