"""Trustpilot's private API: the access token, and what is sent with one: invitations, and links to write a review.

Tokens are those of the client-credentials grant, fetched once for everyone and held until shortly before they expire
(Trustpilot: "Authentication"). They last about 100 hours, and asking again before that invites a 429.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from proxy.cache import DeadlinePassed, Group, Key
from proxy.cache.backend import Backend, BackendDown
from proxy.clock import Deadline, Now
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
from proxy.trustpilot.transport import Transport

PATH = "/oauth/oauth-business-users-for-applications/accesstoken"

MOST_EARLY_SECONDS = 4200
"""How long before its end a token is renewed, at most. A template may cache the token it is handed for an hour (the
seed's snippet does), so it gets one that holds longer than that."""

EARLY_SHARE = 0.1
"""Of a token that lasts shorter than usual, the last part in which it is renewed."""

UNTOLD_SECONDS = 3600.0
"""How long a token is held when its answer does not say. A wrong guess costs one 401, after which it is renewed."""

LONGEST_SECONDS = 30 * 86_400.0
DISTRUST_SECONDS = 10.0
"""After a new token was refused too, no other is fetched for this long: it is not the token that is wrong."""

_PAUSE_SECONDS = 0.05
_log = logging.getLogger(__name__)


class Token(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An access token. Moments are seconds since the epoch."""

    text: str
    renew_at: float
    expires_at: float

    def __repr__(self) -> str:
        return "Token(…)"

    def is_fresh(self, now: float) -> bool:
        """Tell whether the token need not be renewed yet."""
        return now < self.renew_at

    def encode(self) -> bytes:
        # The same bytes in each version of the proxy, as a refused token is removed by them.
        return json.dumps([self.text, self.renew_at, self.expires_at]).encode()

    @classmethod
    def decode(cls, value: bytes) -> Token | None:
        """Read what :meth:`encode` wrote, ``None`` for anything else."""
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            return msgspec.json.decode(value, type=cls)
        return None


@dataclass(eq=False)
class Tokens:
    """Hands out the proxy's token. One fetch is under way at a time, here and wherever the backend is shared.

    While the backend is down each process fetches a token of its own: that is better than none.

    ``account`` says whose tokens these are. ``fetch_seconds``: longer than any fetch.
    """

    fetch: Callable[[], Token]
    backend: Backend
    group: Group[Token]
    now: Now
    account: str
    fetch_seconds: float
    _current: Token | None = field(default=None, init=False)
    _distrusted: tuple[Token, float] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._key = f"token:{hashlib.sha256(self.account.encode()).hexdigest()[:16]}"

    def token(self, deadline: Deadline) -> Token:
        """Return a token. Raises :class:`~proxy.trustpilot.TrustpilotError`."""
        current = self._current
        if current is not None and current.is_fresh(self.now()):
            return current
        try:
            return self.group.do(Key(self._key, ""), self._renewed).wait(deadline)
        except DeadlinePassed:
            raise TimedOut("Trustpilot did not hand out an access token in time") from None

    def authorized(self, send: Callable[[Token], Response], deadline: Deadline) -> Response:
        """Have ``send`` make a call with a token; after a 401, once more with a new one."""
        token = self.token(deadline)
        response = send(token)
        if response.status == 401:
            token = self.replace(token, deadline)
            response = send(token)
        if response.status == 401:
            self.distrust(token)
        else:
            self.confirm(token)
        return response

    def replace(self, refused: Token, deadline: Deadline) -> Token:
        """Return another token than ``refused``: the one that others have fetched meanwhile, or a new one.

        Raises :class:`~proxy.trustpilot.TrustpilotError`.
        """
        if self._distrusted is not None:
            distrusted, until = self._distrusted
            if refused == distrusted and self.now() < until:
                raise Refused("Trustpilot refuses new access tokens too")
        # From the backend first: who finds none here in between would fetch the refused one from there.
        with suppress(BackendDown):
            self.backend.remove(self._key, refused.encode())
        if self._current == refused:
            self._current = None
        return self.token(deadline)

    def distrust(self, renewed: Token) -> None:
        """Note that a token was refused although it was new, so that it is not renewed again and again."""
        self._distrusted = (renewed, self.now() + DISTRUST_SECONDS)

    def confirm(self, token: Token) -> None:
        """Note that a token was accepted; should it be refused later, it is renewed."""
        if self._distrusted is not None and self._distrusted[0] == token:
            self._distrusted = None

    def _renewed(self) -> Token:
        try:
            while (lock := self.backend.lock(self._key, self.fetch_seconds)) is None:
                if shared := self._shared():
                    return shared
                time.sleep(_PAUSE_SECONDS)
        except BackendDown:
            return self._fetched()
        try:
            return self._shared() or self._fetched()
        finally:
            with suppress(BackendDown):
                self.backend.release(lock)

    def _shared(self) -> Token | None:
        """Return the fresh token that another process fetched."""
        value = None
        with suppress(BackendDown):
            value = self.backend.get(self._key)
        if value is None:
            return None
        token = Token.decode(value)
        if token is None:
            _log.warning("what is stored as the access token is not the proxy's: treated as absent")
        elif token.is_fresh(self.now()):
            self._current = token
            return token
        return None

    def _fetched(self) -> Token:
        token = self._current = self.fetch()
        left = token.expires_at - self.now()
        if left > 0:
            with suppress(BackendDown):
                self.backend.set(self._key, token.encode(), left)
        _log.info("fetched an access token that lasts %.0f s", left)
        return token


class Grant:
    """Fetches tokens for the proxy's key and secret."""

    def __init__(self, calls: Calls | Transport, *, api_url: str, api_key: str, api_secret: str, now: Now) -> None:
        self._calls = calls
        self._url = api_url + PATH
        self._headers = {
            "Authorization": "Basic " + b64encode(f"{api_key}:{api_secret}".encode()).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        self._now = now

    def fetch(self) -> Token:
        """Return a new token. Raises :class:`~proxy.trustpilot.TrustpilotError`."""
        asked_at = self._now()
        response = self._calls.send("POST", self._url, headers=self._headers, data=b"grant_type=client_credentials")
        # RFC 6749, 5.2: wrong client credentials are a 401, or a 400.
        if not 200 <= response.status < 300:
            refused = f"Trustpilot refuses the proxy's API key and secret with {response.status}"
            raise error_of(response, refused, refusals=(400, 401, 403))
        return read_token(response.body, asked_at)


def read_token(body: bytes, asked_at: float) -> Token:
    """Read Trustpilot's answer; ``expires_in`` is a number or a text of seconds. Raises :class:`Malformed`."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise Malformed("Trustpilot's answer about the access token is not JSON") from None
    text = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(text, str) or not re.fullmatch(r"[\x21-\x7e]{1,8192}", text):
        raise Malformed("Trustpilot's answer holds no access token")
    lasts = _seconds(answer.get("expires_in"))
    early = min(MOST_EARLY_SECONDS, lasts * EARLY_SHARE)
    return Token(text, asked_at + lasts - early, asked_at + lasts)


def _seconds(lifetime: object) -> float:
    seconds = math.nan
    if isinstance(lifetime, int | float | str) and not isinstance(lifetime, bool):
        with suppress(ValueError, OverflowError):
            seconds = float(lifetime)
    if not math.isfinite(seconds):
        _log.warning("Trustpilot does not say how long its access token lasts; holding it for %.0f s", UNTOLD_SECONDS)
        return UNTOLD_SECONDS
    return min(max(seconds, 0.0), LONGEST_SECONDS)


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
        # Whether Trustpilot made a link that never came here matters to nobody, so no outcome is unknown.
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
