"""The calls of Trustpilot's API, and the way that each takes: bulkhead, circuit breaker, quota."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote, quote_plus, urlencode

from proxy.clock import Deadline, Priority
from proxy.events import AnswerMalformed, CallNotMade, Report, ReviewsDropped, unheard
from proxy.reviews.models import PER_PAGE, SHOP, FeedItem, Page, Shop, Source, products_query
from proxy.reviews.view import Summary
from proxy.trustpilot.circuit_breaker import Bulkhead, Call, CircuitBreaker
from proxy.trustpilot.decode import (
    read_batch_summaries,
    read_business_unit,
    read_deletions,
    read_feed,
    read_reviews,
    read_service_reviews,
    read_shop_summaries,
    read_summary,
)
from proxy.trustpilot.errors import (
    Busy,
    Malformed,
    NoAccess,
    NotFound,
    Paused,
    QuotaUsedUp,
    Refused,
    Rejected,
    Response,
    TrustpilotError,
)
from proxy.trustpilot.quota import Quota
from proxy.trustpilot.token import Token, Tokens
from proxy.trustpilot.transport import Transport

T = TypeVar("T")

_NOT_MADE: dict[type[TrustpilotError], str] = {Paused: "paused", QuotaUsedUp: "budgetspent", Busy: "busy"}
"""Why a call was not made, as the metrics name it."""

_REVIEWS: Mapping[Source, str] = {"trustpilot": "reviews", "imported": "imported-reviews"}
"""The last part of the path of a reviews call."""

_log = logging.getLogger(__name__)


class Trustpilot:
    """Trustpilot's public API, called with the proxy's key while it is affordable and Trustpilot answers."""

    def __init__(
        self,
        transport: Transport,
        bulkhead: Bulkhead,
        breaker: CircuitBreaker,
        quota: Quota,
        *,
        api_url: str,
        api_key: str,
        report: Report = unheard,
    ) -> None:
        self._transport = transport
        self._bulkhead = bulkhead
        self._breaker = breaker
        self._quota = quota
        self._report = report
        self._url = f"{api_url}/product-reviews/business-units/"
        self._units = f"{api_url}/business-units/"
        self._headers = {"apikey": api_key, "Accept": "application/json"}

    def reviews(
        self,
        business_unit: str,
        sku: str,
        *,
        stars: Sequence[int],
        language: str | None,
        locale: str | None,
        page: int,
        source: Source,
        priority: Priority,
    ) -> Page:
        """Return page ``page`` (from 1) of a product's reviews, newest first, under Trustpilot's own filters.

        Raises :class:`~proxy.trustpilot.errors.TrustpilotError`. A 404 is logged and raised as :class:`NotFound`: a
        product without reviews, or a wrong business unit.
        """
        of_shop = sku == SHOP
        name, text = ("orderBy", "createdat.desc") if of_shop else products_query(sku)
        query = f"{name}={quote_plus(text)}&perPage={PER_PAGE}&page={page}" + "".join(
            [f"&stars={star}" for star in stars]
        )
        if language:
            query += f"&language={quote_plus(language)}"
        if locale and not of_shop:
            query += f"&locale={quote_plus(locale)}"

        base = self._units if of_shop else self._url
        url = f"{base}{quote(business_unit, safe='')}/{_REVIEWS[source]}?{query}"
        read = read_service_reviews if of_shop else read_reviews
        found = self._ask(business_unit, _REVIEWS[source], [sku], url, lambda body: read(body, PER_PAGE), priority)
        if found.dropped:
            self._report(ReviewsDropped(found.dropped))
            _log.warning("dropped %d malformed reviews of business unit %s", found.dropped, business_unit)
        return found

    def business_unit(self, business_unit: str, *, priority: Priority) -> Shop:
        """Return the shop itself. Raises as :meth:`reviews` does."""
        url = f"{self._units}{quote(business_unit, safe='')}"
        return self._ask(business_unit, "business unit", [], url, read_business_unit, priority)

    def summary(self, business_unit: str, sku: str, *, source: Source, priority: Priority) -> Summary:
        """Return the summary of what ``sku`` names, merged by Trustpilot. Raises as :meth:`reviews` does."""
        path = "" if source == "trustpilot" else "/imported-reviews-summaries"
        url = f"{self._url}{quote(business_unit, safe='')}{path}?{urlencode([products_query(sku)])}"
        return self._ask(business_unit, f"{source} summary", [sku], url, read_summary, priority)

    def batch_summaries(
        self, business_unit: str, skus: Sequence[str], *, priority: Priority
    ) -> dict[str, Summary | Malformed]:
        """Return the summaries of ``skus`` in one call; a product without reviews may be missing.

        A summary that can't be read is an error in its SKU's place. Raises as :meth:`reviews` does.
        """
        url = f"{self._url}{quote(business_unit, safe='')}/batch-summaries"
        body = json.dumps({"skus": list(skus)}).encode()
        return self._ask(business_unit, "summaries", skus, url, read_batch_summaries, priority, body)

    def _ask(
        self,
        business_unit: str,
        kind: str,
        skus: Iterable[str],
        url: str,
        read: Callable[[bytes], T],
        priority: Priority,
        body: bytes | None = None,
    ) -> T:
        method = "GET" if body is None else "POST"
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}

        def send(timeout: float) -> Response:
            return self._transport.send(method, url, headers=headers, data=body, timeout=timeout)

        return self.call(Call.of(business_unit, kind, skus), send, read, priority)

    def call(
        self,
        call: Call,
        send: Callable[[float], Response],
        read: Callable[[bytes], T],
        priority: Priority,
        *,
        free: bool = False,
    ) -> T:
        """Make ``call`` if it may be made, and tell what became of it. ``free``: it costs nothing of the plan."""
        deadline = Deadline.after(self._transport.timeout)
        try:
            with self._bulkhead.slot(priority, deadline):
                return self._admitted(call, lambda: send(deadline.remaining()), read, priority, free=free)
        except (Paused, QuotaUsedUp, Busy) as error:
            self._report(CallNotMade(_NOT_MADE[type(error)]))
            raise
        except Malformed:
            self._report(AnswerMalformed())
            raise
        except NotFound:
            _log.warning("Trustpilot answered 404 for %s of business unit %s", call.kind, call.business_unit)
            raise

    def _admitted(
        self, call: Call, send: Callable[[], Response], read: Callable[[bytes], T], priority: Priority, *, free: bool
    ) -> T:
        attempt = self._breaker.admit(call)
        try:
            self._quota.spend(priority=priority, free=free)
            response = send()
            response.raise_for_status()
            answer = read(response.body)
        except (NotFound, Rejected):
            # Trustpilot works; this request is what is wrong.
            attempt.succeeded()
            raise
        except QuotaUsedUp:
            attempt.withdrawn()
            raise
        except TrustpilotError as error:
            if priority is Priority.TRIAL:
                attempt.withdrawn()
            else:
                attempt.failed(error)
            raise
        except BaseException:
            attempt.withdrawn()
            raise
        attempt.succeeded()
        return answer


class DirectCalls:
    """Makes the calls that pass no circuit breaker: bulkhead, then quota.

    A token is asked for once in days, and a failed invitation comes again from Braze, which waits longer each time. A
    pause would only make those fail that Trustpilot could have taken by then.
    """

    def __init__(self, transport: Transport, bulkhead: Bulkhead, quota: Quota) -> None:
        self._transport = transport
        self._bulkhead = bulkhead
        self._quota = quota

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        data: bytes | None = None,
        timeout: float | None = None,
        priority: Priority = Priority.FOREGROUND,
        free: bool = True,
    ) -> Response:
        """Return the answer, whatever its status, within ``timeout`` seconds. ``free``: it costs nothing of the plan.

        Raises :class:`~proxy.trustpilot.errors.TrustpilotError`; :class:`Busy` and :class:`QuotaUsedUp` mean that no
        call was made.
        """
        seconds = self._transport.timeout
        deadline = Deadline.after(seconds if timeout is None else min(timeout, seconds))
        with self._bulkhead.slot(priority, deadline):
            self._quota.spend(priority=priority, free=free)
            return self._transport.send(method, url, headers=headers, data=data, timeout=deadline.remaining())


SUMMARIES_PER_PAGE = 1000
DELETIONS_PER_PAGE = 1000
NO_ACCESS = "Trustpilot refuses the proxy's access to a shop's private reviews"


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


_PROBED = "connected-content-proxy-probe"
"""Of no product: whatever Trustpilot says of it, it says something."""


def probe(trustpilot: Trustpilot, breaker: CircuitBreaker, business_units: Sequence[str]) -> None:
    """Make one call where a pause is over and nobody else has made it: nobody has to ask to end an outage.

    The pauses between these calls grow to a minute, after a 401 or 403 to an hour, and a first success ends them. So
    an outage costs a handful of calls, and those that Trustpilot fails are not of the plan.
    """
    for unit in business_units:
        if breaker.awaits_probe(Call.of(unit, "summaries", [_PROBED])):
            # What comes of it is known to the breaker.
            with contextlib.suppress(TrustpilotError):
                trustpilot.batch_summaries(unit, [_PROBED], priority=Priority.BACKGROUND)
