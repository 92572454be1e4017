"""The calls of Trustpilot's API, the way that each takes (bulkhead, circuit breaker, quota), and how it is read.

JSON is read as untrusted input: what is not as documented never gets past this module and those who call it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus, urlencode

import msgspec
from msgspec import Raw, Struct
from msgspec import inspect as types

from proxy.clock import Deadline, Priority
from proxy.events import AnswerMalformed, CallNotMade, Report, ReviewsDropped, unheard
from proxy.reviews.models import (
    LONGEST_LIST,
    LONGEST_TEXT,
    PER_PAGE,
    SHOP,
    Page,
    Review,
    ServiceReview,
    Shop,
    Source,
    products_query,
)
from proxy.reviews.view import STAR_WORDS, Filter, Summary
from proxy.trustpilot import (
    Busy,
    Malformed,
    NotFound,
    Paused,
    QuotaUsedUp,
    Response,
    TrustpilotError,
    error_of,
)
from proxy.trustpilot.circuit_breaker import Bulkhead, Call, CircuitBreaker
from proxy.trustpilot.quota import Quota
from proxy.trustpilot.transport import Transport

S = TypeVar("S", bound=Struct)
T = TypeVar("T")

_NOT_MADE: dict[type[TrustpilotError], str] = {Paused: "paused", QuotaUsedUp: "budgetspent", Busy: "busy"}
"""Why a call was not made, as the metrics name it."""

_REVIEWS: Mapping[Source, str] = {"trustpilot": "reviews", "imported": "imported-reviews"}
"""The last part of the path of a reviews call."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calls:
    """The way that every call takes: bulkhead, circuit breaker, quota, transport."""

    transport: Transport
    bulkhead: Bulkhead
    breaker: CircuitBreaker
    quota: Quota
    report: Report = unheard

    def ask(
        self,
        call: Call,
        send: Callable[[Deadline], Response],
        read: Callable[[bytes], T],
        priority: Priority,
        *,
        free: bool = False,
    ) -> T:
        """Make ``call`` if it may be made, and return what ``read`` makes of its answer.

        ``free``: it costs nothing of the plan. Raises :class:`~proxy.trustpilot.TrustpilotError`.
        """

        def answer(deadline: Deadline) -> T:
            response = send(deadline)
            if not 200 <= response.status < 300:
                raise error_of(response)
            return read(response.body)

        try:
            return self._make(call, answer, Deadline.after(self.transport.timeout), priority, free=free)
        except Malformed:
            self.report(AnswerMalformed())
            raise
        except NotFound:
            _log.warning("Trustpilot answered 404 for %s of business unit %s", call.kind, call.business_unit)
            raise

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        data: bytes | None = None,
        deadline: Deadline | None = None,
        priority: Priority = Priority.FOREGROUND,
        free: bool = True,
    ) -> Response:
        """Return the answer, whatever its status, before ``deadline``. It passes no circuit breaker.

        A token is asked for once in days, and a failed invitation comes again from Braze, which waits longer each
        time. A pause would only make those fail that Trustpilot could have taken by then. Raises as :meth:`ask` does;
        :class:`Busy` and :class:`QuotaUsedUp` mean that no call was made.
        """
        longest = Deadline.after(self.transport.timeout)
        soonest = longest if deadline is None else min(deadline, longest, key=lambda one: one.at)

        def answer(until: Deadline) -> Response:
            return self.transport.send(method, url, headers=headers, data=data, deadline=until)

        return self._make(None, answer, soonest, priority, free=free)

    def _make(
        self,
        call: Call | None,
        answer: Callable[[Deadline], T],
        deadline: Deadline,
        priority: Priority,
        *,
        free: bool,
    ) -> T:
        attempt = self.breaker.attempt(call, priority) if call else contextlib.nullcontext()
        try:
            with self.bulkhead.slot(priority, deadline), attempt:
                self.quota.spend(priority=priority, free=free)
                return answer(deadline)
        except (Paused, QuotaUsedUp, Busy) as error:
            self.report(CallNotMade(_NOT_MADE[type(error)]))
            raise


class Trustpilot:
    """Trustpilot's public API, called with the proxy's key: an :class:`~proxy.reviews.page_loader.Upstream`.

    A 404 is logged and raised as :class:`NotFound`: a product without reviews, or a wrong business unit.
    """

    def __init__(self, calls: Calls, *, api_url: str, api_key: str, report: Report = unheard) -> None:
        self._calls = calls
        self._report = report
        self._url = f"{api_url}/product-reviews/business-units/"
        self._units = f"{api_url}/business-units/"
        self._headers = {"apikey": api_key, "Accept": "application/json"}

    def reviews(
        self, business_unit: str, sku: str, filters: Filter, page: int, *, locale: str | None, priority: Priority
    ) -> Page:
        of_shop = sku == SHOP
        name, text = ("orderBy", "createdat.desc") if of_shop else products_query(sku)
        query = f"{name}={quote_plus(text)}&perPage={PER_PAGE}&page={page}" + "".join(
            [f"&stars={star}" for star in filters.stars]
        )
        if filters.language:
            query += f"&language={quote_plus(filters.language)}"
        if locale and not of_shop:
            query += f"&locale={quote_plus(locale)}"

        base, kind = self._units if of_shop else self._url, _REVIEWS[filters.source]
        url = f"{base}{quote(business_unit, safe='')}/{kind}?{query}"
        read = read_service_reviews if of_shop else read_reviews
        found = self._ask(business_unit, kind, [sku], url, read, priority)
        if found.dropped:
            self._report(ReviewsDropped(found.dropped))
            _log.warning("dropped %d malformed reviews of business unit %s", found.dropped, business_unit)
        return found

    def business_unit(self, business_unit: str, *, priority: Priority) -> Shop:
        url = f"{self._units}{quote(business_unit, safe='')}"
        return self._ask(business_unit, "business unit", [], url, read_business_unit, priority)

    def summary(self, business_unit: str, sku: str, *, source: Source, priority: Priority) -> Summary:
        path = "" if source == "trustpilot" else "/imported-reviews-summaries"
        url = f"{self._url}{quote(business_unit, safe='')}{path}?{urlencode([products_query(sku)])}"
        return self._ask(business_unit, f"{source} summary", [sku], url, read_summary, priority)

    def batch_summaries(
        self, business_unit: str, skus: Sequence[str], *, priority: Priority
    ) -> dict[str, Summary | Malformed]:
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

        def send(deadline: Deadline) -> Response:
            return self._calls.transport.send(method, url, headers=headers, data=body, deadline=deadline)

        return self._calls.ask(Call(business_unit, kind, frozenset(skus)), send, read, priority)


_PROBED = "connected-content-proxy-probe"
"""Of no product: whatever Trustpilot says of it, it says something."""


def probe(trustpilot: Trustpilot, breaker: CircuitBreaker, business_units: Sequence[str]) -> None:
    """Make one call where a pause is over and nobody else has made it: nobody has to ask to end an outage.

    The pauses between these calls grow to a minute, after a 401 or 403 to an hour, and a first success ends them. So
    an outage costs a handful of calls, and those that Trustpilot fails are not of the plan.
    """
    for unit in business_units:
        if breaker.awaits_probe(Call(unit, "summaries", frozenset([_PROBED]))):
            # What comes of it is known to the breaker.
            with contextlib.suppress(TrustpilotError):
                trustpilot.batch_summaries(unit, [_PROBED], priority=Priority.BACKGROUND)


REFUSED = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What msgspec raises for a value that is not of its type, a text too long, a lone surrogate, or no UTF-8."""

_ODD = object()
"""In the place of a value that is not of its field's type."""

_MOST_COUNTED = 2**53
"""Beyond it JSON's readers no longer count exactly, and no product has so many reviews."""

_ESSENTIAL = ("id", "content", "createdAt")
"""Of another type than text, they make a review unreadable."""

_OF_SERVICE = ("id", "title", "text", "createdAt")
"""The same of a review of the shop."""

_LONGEST_NAME = 200


class _Reviews(Struct, rename="camel"):
    product_reviews: list[Review]
    links: Raw = Raw(b"null")


class _Summaries(Struct):
    summaries: list[dict[str, Any]]


_PAGE = msgspec.json.Decoder(_Reviews)
_SUMMARIES = msgspec.json.Decoder(_Summaries)


def read_reviews(body: bytes) -> Page:
    """Read the answer of a reviews call. Raises :class:`Malformed`."""
    try:
        answer = _PAGE.decode(body)
        reviews, unreadable, links = answer.product_reviews, 0, msgspec.json.decode(answer.links)
    except REFUSED:
        # Each value is looked at by itself.
        whole = read_object(body)
        given = read_list(whole, "productReviews", "reviews")
        reviews = [fitting(review, Review) for review in _readable(given, _ESSENTIAL)]
        unreadable, links = len(given) - len(reviews), whole.get("links")
    return _page(reviews, unreadable, links)


def read_service_reviews(body: bytes) -> Page:
    """Read the answer of the call for the shop's own reviews. Raises :class:`Malformed`."""
    answer = read_object(body)
    given = read_list(answer, "reviews", "reviews")
    reviews = [_service_review(review) for review in _readable(given, _OF_SERVICE)]
    return _page(reviews, len(given) - len(reviews), answer.get("links"))


def _readable(given: list[Any], essential: Sequence[str]) -> Iterator[dict[str, Any]]:
    for review in given:
        if isinstance(review, dict) and all(isinstance(review.get(name), str | None) for name in essential):
            yield review


def _service_review(given: dict[str, Any]) -> ServiceReview:
    """Give the fields of a service review the names that those of a product review have."""
    reply = given.get("companyReply")
    named = {**given, "content": given.get("text")}
    if isinstance(reply, dict):
        named["firstCompanyComment"] = {"comment": reply.get("text"), "createdAt": reply.get("createdAt")}
    review = fitting(named, ServiceReview)
    review.is_verified = given.get("isVerified") is True
    return review


def read_business_unit(body: bytes) -> Shop:
    """Read the answer of the call for a business unit. Raises :class:`Malformed`."""
    answer = read_object(body)
    name, score, numbers = answer.get("name"), answer.get("score"), answer.get("numberOfReviews")
    domain = name.get("identifying") if isinstance(name, dict) else None
    shown = answer.get("displayName")
    counts = [_count(numbers.get(each)) for each in ("total", *STAR_WORDS)] if isinstance(numbers, dict) else [0] * 6
    rated = score if isinstance(score, dict) else {}
    return Shop(
        shown[:_LONGEST_NAME] if isinstance(shown, str) else "",
        domain if isinstance(domain, str) and re.fullmatch(r"[\w.-]{1,253}", domain) else "",
        _rating(rated.get("trustScore")),
        _rating(rated.get("stars")),
        counts,
    )


def _rating(value: object) -> float | None:
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 5 else None
    )


def _page(reviews: Sequence[Review], unreadable: int, links: object) -> Page:
    if not isinstance(links, list | dict | None):
        raise Malformed("Trustpilot's answer holds no list of links")
    given = len(reviews) + unreadable
    if isinstance(links, list):
        has_next = any(map(_leads_on, links))
    else:
        # Without a list of links a full page may have a next one: claiming completeness would be a guess.
        has_next = given >= PER_PAGE or (links is not None and _names_next(links))
    page = Page.of(reviews, complete=not (has_next and given), dropped=unreadable)
    if given and not page.index:
        raise Malformed("Trustpilot's answer holds no review that can be read")
    return page


def read_batch_summaries(body: bytes) -> dict[str, Summary | Malformed]:
    """Read the answer of a batch-summaries call, by SKU. Raises :class:`Malformed` when nothing of it can be read.

    A summary that can't be read is an error in its own SKU's place, so that it fails nobody who shares the call.
    """
    try:
        listed = _SUMMARIES.decode(body).summaries
    except REFUSED:
        listed = read_list(read_object(body), "summaries", "summaries")
    read: dict[str, Summary | Malformed] = {}
    for summary in listed:
        if isinstance(summary, dict) and isinstance(sku := summary.get("sku"), str):
            try:
                read[sku] = counts_of(summary)
            except Malformed as error:
                read[sku] = error
    unreadable = [summary for summary in read.values() if isinstance(summary, Malformed)]
    if unreadable and len(unreadable) == len(read):
        raise unreadable[0]
    return read


def read_summary(body: bytes) -> Summary:
    """Read the answer of a summary call. Raises :class:`Malformed`."""
    return counts_of(read_object(body))


def _leads_on(link: object) -> bool:
    return isinstance(link, dict) and link.get("rel") == "next-page"


def _names_next(links: dict[str, Any]) -> bool:
    """Tell whether an object in the place of the list of links is the next page's link, or holds it."""
    return _leads_on(links) or bool(links.get("next-page")) or any(map(_leads_on, links.values()))


def counts_of(summary: dict[str, Any]) -> Summary:
    """Return what a summary says. Raises :class:`Malformed`."""
    numbers = summary.get("numberOfReviews")
    average = summary.get("starsAverage")
    if not isinstance(numbers, dict):
        raise Malformed("Trustpilot's summary holds no counts")
    total, *stars = (_count(numbers.get(name)) for name in ("total", *STAR_WORDS))
    if average is not None and (isinstance(average, bool) or not isinstance(average, int | float)):
        raise Malformed("Trustpilot's summary holds no average")
    known = float(average) if average is not None and total and 0 < average <= 5 else None
    return Summary.of_counts(known, total, tuple(stars))


def _count(value: object) -> int:
    """Return a count, also one written ``5.0`` as in Trustpilot's own samples; 0 where there is none."""
    if value is None:
        return 0
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
    if not 0 <= number <= _MOST_COUNTED or number != int(number):
        raise Malformed("Trustpilot's summary holds a count that is none")
    return int(number)


def read_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object, nothing looser than JSON. Raises :class:`Malformed`."""
    with contextlib.suppress(*REFUSED):
        # Much the faster way. What it refuses is no JSON, or holds a lone surrogate.
        answer = msgspec.json.decode(body)
        if isinstance(answer, dict):
            return answer
    try:
        answer = json.loads(body, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_scrubbed)
    except (ValueError, RecursionError) as error:
        raise Malformed("what Trustpilot sent is not JSON") from error
    if not isinstance(answer, dict):
        raise Malformed("what Trustpilot sent is not a JSON object")
    return answer


def read_list(answer: dict[str, Any], name: str, what: str) -> list[Any]:
    """Return the list ``name`` of an answer. Raises :class:`Malformed` where there is none of ``what``."""
    listed = answer.get(name)
    if not isinstance(listed, list):
        raise Malformed(f"Trustpilot's answer holds no list of {what}")
    return listed


def value_of(raw: msgspec.Raw) -> object:
    """Return what ``raw`` says, ``None`` where that can't be read."""
    try:
        return msgspec.json.decode(raw)
    except REFUSED:
        with contextlib.suppress(Malformed):
            return read_object(bytes(raw))
    return None


def fitting(value: dict[str, Any], kind: type[S]) -> S:
    """Return of ``value`` what is of the types that ``kind`` has, its texts and lists bounded."""
    return msgspec.convert(_fitting(value, _type_info(kind)), kind)


_type_info = cache(types.type_info)


def _fitting(value: Any, kind: types.Type, *, wholly: bool = False) -> Any:
    """Return what of ``value`` is of ``kind``, or :data:`_ODD`.

    Fields that are not fit are left out of an object; ``wholly``: the object with them.
    """
    if isinstance(kind, types.UnionType):
        if value is None:
            return None if any(isinstance(one, types.NoneType) for one in kind.types) else _ODD
        kind = kind.types[0]
    if isinstance(kind, types.StructType):
        if not isinstance(value, dict):
            return _ODD
        given = {field.encode_name: field.type for field in kind.fields if field.encode_name in value}
        read = {name: _fitting(value[name], type_) for name, type_ in given.items()}
        fit = {name: one for name, one in read.items() if one is not _ODD}
        return _ODD if wholly and len(fit) < len(read) else fit
    if isinstance(kind, types.ListType):
        if not isinstance(value, list):
            return _ODD
        items = (_fitting(item, kind.item_type, wholly=True) for item in value[:LONGEST_LIST])
        return [item for item in items if item is not _ODD]
    if isinstance(kind, types.StrType):
        return value[:LONGEST_TEXT] if isinstance(value, str) else _ODD
    # A float holds no greater number, and msgspec reads none.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) <= sys.float_info.max else _ODD


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("a number is out of range")
    return number


def _scrubbed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Replace lone surrogates, which JSON can escape but UTF-8 cannot write."""
    return {_utf8(name): _in_utf8(value) for name, value in pairs}


def _in_utf8(value: Any) -> Any:
    if isinstance(value, str):
        return _utf8(value)
    # The objects in a list have been through here already.
    return [_in_utf8(item) for item in value] if isinstance(value, list) else value


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
