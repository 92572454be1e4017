"""Trustpilot's invitation API: the one private call the proxy makes, and what its answers mean."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from urllib.parse import quote

from proxy.clock import Deadline
from proxy.trustpilot.errors import NotFound, OutcomeUnknown, Refused, Rejected, TimedOut, TrustpilotError
from proxy.trustpilot.response import Response, Sender
from proxy.trustpilot.token import Token, Tokens

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """Trustpilot's final word on an invitation: a 2xx, or a 4xx that sending it again would not change.

    ``body`` is JSON or empty.
    """

    status: int
    body: bytes

    @property
    def accepted(self) -> bool:
        """Whether Trustpilot took the invitation."""
        return 200 <= self.status < 300


class InvitationApi:
    """Sends invitations with the proxy's token. ``business_user`` is who they are sent on behalf of."""

    def __init__(self, sender: Sender, tokens: Tokens, *, invitations_url: str, business_user: str | None) -> None:
        self._sender = sender
        self._tokens = tokens
        self._url = invitations_url
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if business_user:
            # "Should be provided when access token is obtained using client_credentials grant type."
            self._headers["x-business-user-id"] = business_user

    def invite(self, business_unit: str, body: bytes, deadline: Deadline) -> Verdict:
        """Send ``body`` as it is; after a 401, once more with a new token.

        Raises :class:`OutcomeUnknown` when Trustpilot may have taken the invitation, and another
        :class:`~proxy.trustpilot.errors.TrustpilotError` when it has not.
        """
        token = self._tokens.token(deadline)
        response = self._sent(business_unit, body, token, deadline)
        if response.status == 401:
            token = self._tokens.replace(token, deadline)
            response = self._sent(business_unit, body, token, deadline)
            if response.status == 401:
                self._tokens.distrust(token)
        if response.status != 401:
            self._tokens.confirm(token)
        return _verdict(response)

    def _sent(self, business_unit: str, body: bytes, token: Token, deadline: Deadline) -> Response:
        url = f"{self._url}/private/business-units/{quote(business_unit, safe='')}/email-invitations"
        left = deadline.remaining()
        if not left:
            raise TimedOut("no time was left to send the invitation")
        try:
            return self._sender.send(
                "POST",
                url,
                headers={**self._headers, "Authorization": f"Bearer {token.text}"},
                data=body,
                timeout=left,
            )
        except TrustpilotError as error:
            if error.received:
                raise OutcomeUnknown(str(error)) from error
            raise


def _verdict(response: Response) -> Verdict:
    status = response.status
    try:
        response.raise_for_status(f"Trustpilot refuses the proxy's access token or business user with {status}")
    except Refused:
        _log.error("Trustpilot refuses the proxy's access token for invitations with %d", status)
        raise
    except (NotFound, Rejected):
        return Verdict(status, response.body if _is_json_or_empty(response.body) else b"")
    if not _is_json_or_empty(response.body):
        # A maintenance page can be a 200 too. What is not the API's answer confirms nothing.
        raise OutcomeUnknown(
            f"Trustpilot answered {status} with something that is not JSON", retry_after_header=response.retry_after
        )
    return Verdict(status, response.body)


def _is_json_or_empty(body: bytes) -> bool:
    if not body.strip():
        return True
    try:
        json.loads(body.decode())
    except (ValueError, RecursionError):
        return False
    return True
