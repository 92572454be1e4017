"""The calls that tell about a whole shop: its feed and its summaries, with an access token, and what was deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote, urlencode

from proxy.clock import Deadline, Priority
from proxy.reviews.models import PER_PAGE, FeedItem
from proxy.reviews.summary import Summary
from proxy.trustpilot.circuit_breaker import Call
from proxy.trustpilot.client import Trustpilot
from proxy.trustpilot.decode import read_deletions, read_feed, read_shop_summaries
from proxy.trustpilot.errors import NoAccess, Refused, Response
from proxy.trustpilot.token import Token, Tokens
from proxy.trustpilot.transport import Transport

SUMMARIES_PER_PAGE = 1000
DELETIONS_PER_PAGE = 1000
NO_ACCESS = "Trustpilot refuses the proxy's access to a shop's private reviews"

T = TypeVar("T")


class ShopCalls:
    """Calls on the way that all take. A refusal of one of these pauses no other: it says nothing about the key."""

    def __init__(self, trustpilot: Trustpilot, transport: Transport, tokens: Tokens, *, api_url: str) -> None:
        self._trustpilot = trustpilot
        self._transport = transport
        self._tokens = tokens
        self._url = f"{api_url}/private/product-reviews/business-units/"

    def feed(self, business_unit: str, page: int, *, priority: Priority) -> tuple[list[FeedItem], int]:
        """Return page ``page`` (from 1) of all reviews of the shop, and how many it held: 100, or it is the last.

        Raises :class:`~proxy.trustpilot.errors.TrustpilotError`; :class:`NoAccess` when that shop may not be read.
        """
        query = urlencode({"page": page, "perPage": PER_PAGE})
        return self._get(business_unit, "feed", f"reviews?{query}", read_feed, priority)

    def summaries(
        self, business_unit: str, page: int, *, priority: Priority
    ) -> tuple[Iterator[tuple[str, Summary]], int]:
        """Return the summaries of the shop's products, a thousand a page. Raises as :meth:`feed` does."""
        query = urlencode({"page": page, "perPage": SUMMARIES_PER_PAGE})
        return self._get(business_unit, "shop_summaries", f"summaries?{query}", read_shop_summaries, priority)

    def _get(self, business_unit: str, kind: str, path: str, read: Callable[[bytes], T], priority: Priority) -> T:
        url = f"{self._url}{quote(business_unit, safe='')}/{path}"
        return self._trustpilot.call(
            Call.of(business_unit, kind, [path]), lambda timeout: self._authorized(url, timeout), read, priority
        )

    def _authorized(self, url: str, timeout: float) -> Response:
        """Make the call with the token; after a 401, once more with a new one."""
        deadline = Deadline.after(timeout)
        try:
            token = self._tokens.token(deadline)
            response = self._sent(url, token, deadline)
            if response.status == 401:
                token = self._tokens.replace(token, deadline)
                response = self._sent(url, token, deadline)
                if response.status == 401:
                    self._tokens.distrust(token)
        except Refused as error:
            raise NoAccess(str(error)) from error
        _check_access(response, NO_ACCESS)
        self._tokens.confirm(token)
        return response

    def _sent(self, url: str, token: Token, deadline: Deadline) -> Response:
        headers = {"Authorization": f"Bearer {token.text}", "Accept": "application/json"}
        return self._transport.send("GET", url, headers=headers, timeout=deadline.remaining())


class DeletionCalls:
    """Lists what people had deleted. These calls cost nothing of the plan."""

    def __init__(self, trustpilot: Trustpilot, transport: Transport, *, api_url: str, api_key: str) -> None:
        self._trustpilot = trustpilot
        self._transport = transport
        self._url = api_url
        self._headers: Mapping[str, str] = {"apikey": api_key, "Accept": "application/json"}

    def reviews(self, since: float, token: str | None) -> tuple[list[str], str | None]:
        """Return ids of reviews deleted since a moment, up to a thousand, and the token of the next page."""
        return self._list("reviews", "reviewId", since, token)

    def consumers(self, since: float, token: str | None) -> tuple[list[str], str | None]:
        """Return ids of consumers deleted since a moment, as :meth:`reviews` does."""
        return self._list("consumers", "consumerId", since, token)

    def _list(self, members: str, name: str, since: float, token: str | None) -> tuple[list[str], str | None]:
        start = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        query = {"startDate": start, "limit": str(DELETIONS_PER_PAGE), **({"nextToken": token} if token else {})}
        url = f"{self._url}/{members}/deletions?{urlencode(query)}"

        def send(timeout: float) -> Response:
            response = self._transport.send("GET", url, headers=self._headers, timeout=timeout)
            _check_access(response, "Trustpilot refuses its list of deletions")
            return response

        return self._trustpilot.call(
            Call.of("", f"deleted_{members}", [token or ""]),
            send,
            lambda body: read_deletions(body, members, name),
            Priority.FEED,
            free=True,
        )


def _check_access(response: Response, refused: str) -> None:
    if response.status in (401, 403) and not response.is_firewall_page:
        raise NoAccess(f"{refused} with {response.status}")
