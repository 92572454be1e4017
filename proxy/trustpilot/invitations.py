"""Trustpilot's invitation API: invitations, links to write a review, and what its answers mean."""

from __future__ import annotations

import json
import logging
import re
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from proxy.clock import Deadline
from proxy.invitations.idempotency import Verdict
from proxy.trustpilot import (
    Malformed,
    NotFound,
    OutcomeUnknown,
    Refused,
    Rejected,
    Response,
    TimedOut,
    TrustpilotError,
    error_of,
)
from proxy.trustpilot.client import Calls
from proxy.trustpilot.token import Token, Tokens

_log = logging.getLogger(__name__)


class InvitationApi:
    """Sends invitations with the proxy's token. ``business_user`` is who they are sent on behalf of."""

    def __init__(
        self, calls: Calls, tokens: Tokens, *, api_url: str, invitations_url: str, business_user: str | None
    ) -> None:
        self._calls = calls
        self._tokens = tokens
        self._invitations = f"{invitations_url}/private/business-units/"
        self._products = f"{api_url}/private/product-reviews/business-units/"
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if business_user:
            # "Should be provided when access token is obtained using client_credentials grant type."
            self._headers["x-business-user-id"] = business_user

    def invite(self, business_unit: str, body: bytes, deadline: Deadline) -> Verdict:
        """Send ``body`` as it is; after a 401, once more with a new token.

        Raises :class:`OutcomeUnknown` when Trustpilot may have taken the invitation, and another
        :class:`~proxy.trustpilot.TrustpilotError` when it has not.
        """
        url = f"{self._invitations}{quote(business_unit, safe='')}/email-invitations"

        def send(token: Token) -> Response:
            try:
                return self._post(url, body, token, deadline)
            except TrustpilotError as error:
                if error.received:
                    raise OutcomeUnknown(str(error)) from error
                raise

        response = self._tokens.authorized(send, deadline)
        return _refusal(response) or _acceptance(response)

    def link(self, business_unit: str, body: dict[str, Any], deadline: Deadline, *, of_products: bool) -> Verdict:
        """Ask for a link to review products, or the shop itself. The body of an accepted verdict is the bare link.

        Raises :class:`~proxy.trustpilot.TrustpilotError`. Whether Trustpilot made a link that never came here
        matters to nobody, so no outcome is unknown.
        """
        base = self._products if of_products else self._invitations
        url = f"{base}{quote(business_unit, safe='')}/invitation-links"
        text = json.dumps(body).encode()
        response = self._tokens.authorized(lambda token: self._post(url, text, token, deadline), deadline)
        return _refusal(response) or Verdict(response.status, read_link(response.body).encode())

    def _post(self, url: str, body: bytes, token: Token, deadline: Deadline) -> Response:
        if not deadline.remaining():
            raise TimedOut("no time was left to ask Trustpilot")
        headers = {**self._headers, "Authorization": f"Bearer {token.text}"}
        return self._calls.send("POST", url, headers=headers, data=body, deadline=deadline)


def read_link(body: bytes) -> str:
    """Return the link in Trustpilot's answer: ``url`` or ``reviewUrl``. Raises :class:`Malformed`."""
    answer = None
    with suppress(ValueError, RecursionError):
        answer = json.loads(body)
    for name in ("url", "reviewUrl"):
        link = answer.get(name) if isinstance(answer, dict) else None
        # It goes into the href of a mail.
        if isinstance(link, str) and re.fullmatch(r"https://[A-Za-z0-9.-]+(:\d+)?([/?#][!#-;=?-_a-z|~]*)?", link):
            return link
    raise Malformed("Trustpilot's answer holds no link")


def _refusal(response: Response) -> Verdict | None:
    """Return the 4xx that sending it again would not change, ``None`` for a 2xx; raise what else it is."""
    status = response.status
    if 200 <= status < 300:
        return None
    error = error_of(response, f"Trustpilot refuses the proxy's access token or business user with {status}")
    if isinstance(error, NotFound | Rejected):
        return Verdict(status, response.body if _is_json_or_empty(response.body) else b"")
    if isinstance(error, Refused):
        _log.error("Trustpilot refuses the proxy's access token for invitations with %d", status)
    raise error


def _acceptance(response: Response) -> Verdict:
    if not _is_json_or_empty(response.body):
        # A maintenance page can be a 200 too. What is not the API's answer confirms nothing.
        raise OutcomeUnknown(
            f"Trustpilot answered {response.status} with something that is not JSON",
            retry_after_header=response.retry_after,
        )
    return Verdict(response.status, response.body)


def _is_json_or_empty(body: bytes) -> bool:
    if not body.strip():
        return True
    try:
        json.loads(body.decode())
    except (ValueError, RecursionError):
        return False
    return True
