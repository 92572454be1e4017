"""What Trustpilot would certainly refuse, found before it costs a call. Everything else is passed on as it is.

Trustpilot: "Invitation API". No message quotes a value: an invitation is about a person.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

_INVISIBLE = r"\s\x00-\x1f\x7f-\x9f\ufeff"
VISIBLE = f"[^{_INVISIBLE}]"
"""A regular expression for a character that can be seen; text without one is empty."""

_NOT_IN_ADDRESS = _INVISIBLE + r"@<>(),;:\"\[\]\\"
ADDRESS = rf"[^{_NOT_IN_ADDRESS}]{{1,64}}@[^.{_NOT_IN_ADDRESS}]+(\.[^.{_NOT_IN_ADDRESS}]+)+"
"""A regular expression for the whole of an address; Trustpilot decides about the rest."""

LONGEST_ADDRESS = 254
_SECTIONS = ("serviceReviewInvitation", "productReviewInvitation")
RENDERED_TO_NOTHING = "the Liquid variable rendered to nothing"


class BadInvitation(Exception):
    """Trustpilot would certainly refuse this invitation. The message names the field and what it takes."""


def read_invitation(body: bytes) -> dict[str, Any]:
    """Return the invitation in ``body``. Raises :class:`BadInvitation`."""
    invitation = read_object(body)
    check_address("consumerEmail", invitation.get("consumerEmail"))
    _check_reference(invitation.get("referenceNumber"))
    sections = {name: _section(invitation, name) for name in _SECTIONS if invitation.get(name) is not None}
    if not sections:
        raise BadInvitation(f"{' or '.join(_SECTIONS)}: required; an invitation takes at least one of them")
    if "productReviewInvitation" in sections:
        _check_products(sections["productReviewInvitation"])
    _check_order([_send_time(name, sections[name]) for name in sections])
    return invitation


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``. Raises :class:`BadInvitation`."""
    given = _json(body)
    if not isinstance(given, dict):
        raise BadInvitation("the body takes a JSON object")
    return given


def _json(body: bytes) -> object:
    try:
        return json.loads(body.decode(), object_pairs_hook=_named_once, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise BadInvitation("the body is not UTF-8; it takes a JSON object in UTF-8") from None
    except json.JSONDecodeError as mistake:
        raise BadInvitation(
            f"the body is not JSON, from line {mistake.lineno}, column {mistake.colno}: look for a missing quote or "
            "comma, or a Liquid value without | json_escape"
        ) from None
    except (ValueError, RecursionError):
        raise BadInvitation("the body is not JSON: a number or its nesting goes beyond what JSON takes") from None


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name given twice: this proxy and Trustpilot could each take another one of the two."""
    named = dict(pairs)
    if len(named) < len(pairs):
        raise BadInvitation("a name is given twice in one object; each takes one value")
    return named


def _no_constant(_name: str) -> object:
    raise ValueError


def check_address(name: str, value: object) -> None:
    """Raise :class:`BadInvitation` for what is no address; ``name`` is the field."""
    takes = "takes an e-mail address"
    if value is None:
        raise BadInvitation(f"{name}: required; {takes}")
    if not isinstance(value, str):
        raise BadInvitation(f"{name}: not text; {takes}")
    if not value.strip():
        raise BadInvitation(f"{name}: empty; {RENDERED_TO_NOTHING}; {takes}")
    if is_unrendered(value):
        raise BadInvitation(f"{name}: unrendered Liquid; {takes}")
    if len(value) > LONGEST_ADDRESS or not re.fullmatch(ADDRESS, value):
        raise BadInvitation(f"{name}: not an e-mail address; {takes} such as name@example.com")


def _check_reference(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise BadInvitation("referenceNumber: takes text, such as an order number")
    if isinstance(value, str) and is_unrendered(value):
        # It would go out as it is, and every customer's order would have the same number.
        raise BadInvitation("referenceNumber: unrendered Liquid; takes text, such as an order number")


def _section(invitation: dict[str, Any], name: str) -> dict[str, Any]:
    section = invitation[name]
    if not isinstance(section, dict):
        raise BadInvitation(f"{name}: takes a JSON object")
    return section


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
        raise BadInvitation(f"{name}: an empty SKU; {RENDERED_TO_NOTHING}")
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


def is_unrendered(value: str) -> bool:
    """Tell whether Liquid was left in ``value``."""
    return any(mark in value for mark in ("{{", "}}", "{%", "${"))
