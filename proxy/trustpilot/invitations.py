"""Trustpilot's invitation API: the one private call the proxy makes, and what its answers mean."""

from __future__ import annotations

import json
import logging
from urllib.parse import quote

from proxy.clock import Deadline
from proxy.trustpilot.errors import (
    Failing,
    OutcomeUnknown,
    RateLimited,
    Refused,
    TimedOut,
    TrustpilotError,
    TurnedAway,
)
from proxy.trustpilot.retry_after import seconds_told
from proxy.trustpilot.token import Token, Tokens
from proxy.trustpilot.transport import FIREWALL, Reply, Sender
from proxy.trustpilot.verdict import Verdict

_log = logging.getLogger(__name__)


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
        reply = self._sent(business_unit, body, token, deadline)
        if reply.status == 401:
            token = self._tokens.renew(token, deadline)
            reply = self._sent(business_unit, body, token, deadline)
            if reply.status == 401:
                self._tokens.distrust(token)
        if reply.status != 401:
            self._tokens.trust(token)
        return _judged(reply)

    def _sent(self, business_unit: str, body: bytes, token: Token, deadline: Deadline) -> Reply:
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


def _judged(reply: Reply) -> Verdict:
    told = seconds_told(reply.headers.get("Retry-After"))
    status = reply.status
    if reply.is_firewall_page:
        raise TurnedAway(FIREWALL, told=told)
    if status in (401, 403):
        _log.error("Trustpilot refuses the proxy's access token for invitations with %d", status)
        raise Refused(f"Trustpilot refuses the proxy's access token or business user with {status}", told=told)
    if status == 429:
        raise RateLimited("Trustpilot's rate limit is reached", told=told)
    if 200 <= status < 300:
        if not _is_json_or_empty(reply.body):
            # A maintenance page can be a 200 too. What is not the API's answer confirms nothing.
            raise OutcomeUnknown(f"Trustpilot answered {status} with something that is not JSON", told=told)
        return Verdict(status, reply.body)
    if 400 <= status < 500 and status != 408:
        return Verdict(status, reply.body if _is_json_or_empty(reply.body) else b"")
    raise Failing(f"Trustpilot answered {status}", told=told)


def _is_json_or_empty(body: bytes) -> bool:
    if not body.strip():
        return True
    try:
        json.loads(body.decode())
    except (ValueError, RecursionError):
        return False
    return True
