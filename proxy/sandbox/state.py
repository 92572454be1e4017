"""Everything the sandbox knows while it runs: products, calls made, tokens, invitations, faults told."""

import math
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from proxy.sandbox import BUSINESS_UNIT, SECOND_BUSINESS_UNIT
from proxy.sandbox.business_unit import BusinessUnit, Order, Products
from proxy.sandbox.faults import Behaviours, Kind, Wire
from proxy.sandbox.shop import (
    NEWEST,
    imported_products,
    sample_products,
    second_products,
    service_reviews,
    written_at,
)

TOKEN_SECONDS = 360_000
"""About 100 hours, which is what Trustpilot's tokens last."""

_KEPT = 20_000


class CallRecord:
    """Calls by kind, how many were under way at once, and what the last 20,000 asked for.

    Every call counts, also those that are refused or misbehave: that is how Trustpilot counts.
    """

    def __init__(self) -> None:
        self.by_kind: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._most: Counter[str] = Counter()
        self._most_at_once = 0
        self._calls: deque[dict[str, object]] = deque(maxlen=_KEPT)

    def begin(self, kind: Kind, unit: str | None, skus: Collection[str], query: Mapping[str, list[str]]) -> None:
        """Note a call that has arrived."""
        self.by_kind[kind] += 1
        self._under_way[kind] += 1
        self._most[kind] = max(self._most[kind], self._under_way[kind])
        self._most_at_once = max(self._most_at_once, self._under_way.total())
        self._calls.append(
            {"at": time.time(), "kind": kind, "business_unit": unit, "skus": list(skus), "query": query}
        )

    def end(self, kind: Kind) -> None:
        """Note that a call has been answered, or given up."""
        self._under_way[kind] -= 1

    def written_up(self) -> dict[str, object]:
        """Return all of it as JSON; times are seconds since 1970."""
        return {
            "total": self.by_kind.total(),
            "by_kind": self.by_kind,
            "most_at_once": self._most_at_once,
            "most_at_once_by_kind": self._most,
            "under_way": self._under_way.total(),
            "calls": list(self._calls),
        }


@dataclass
class Limit:
    """Lets ``calls`` through in any ``seconds``. Refused calls use nothing up, so waiting always helps.

    Trustpilot recommends staying under 833 calls in 5 minutes ("API rate limits and usage").
    """

    calls: int
    seconds: float
    _let_through: deque[float] = field(default_factory=deque)

    def refuse(self, now: float) -> int | None:
        """Return None to let a call through, else the whole seconds after which there is room again."""
        while self._let_through and self._let_through[0] <= now - self.seconds:
            self._let_through.popleft()
        if len(self._let_through) < self.calls:
            self._let_through.append(now)
            return None
        wait = self._let_through[0] + self.seconds - now if self._let_through else self.seconds
        return max(1, math.ceil(wait))


@dataclass
class Tokens:
    """Access tokens of the client-credentials grant: hands them out and knows which still hold.

    ``expires_in`` is text, as seen most, unless ``as_number``.
    """

    seconds: int = TOKEN_SECONDS
    as_number: bool = False
    clock: Callable[[], float] = time.monotonic
    _expiry: dict[str, float] = field(default_factory=dict)

    def issue(self) -> dict[str, object]:
        """Return Trustpilot's answer."""
        token = secrets.token_hex(16)
        self._expiry[token] = self.clock() + self.seconds
        return {
            "access_token": token,
            "token_type": "BearerToken",
            "expires_in": self.seconds if self.as_number else str(self.seconds),
            "status": "approved",
        }

    def holds(self, token: str) -> bool:
        """Tell whether a token was issued and is neither expired nor revoked."""
        return self._expiry.get(token, 0.0) > self.clock()

    def revoke(self) -> None:
        """Make every token handed out so far worthless."""
        self._expiry.clear()


@dataclass(frozen=True, kw_only=True)
class Lists:
    """How lists behave where Trustpilot documents nothing.

    ``batch_skus``: the most SKUs that a batch may name. ``arrivals``: how many reviews are written between a page of
    the feed and the next. ``lost_page``: the page of the feed that nobody gets; the one after it comes in its place.
    """

    reviews_order: Order = Order.NEWEST
    feed_order: Order = Order.NEWEST
    batch_skus: int = 10**9
    arrivals: int = 0
    lost_page: int = 10**9


class State:
    """The shops, what has been called, how to answer, and the connections kept waiting."""

    def __init__(self) -> None:
        self._samples = {BUSINESS_UNIT: sample_products(), SECOND_BUSINESS_UNIT: second_products()}
        self._imported = imported_products()
        self._service_reviews = service_reviews()
        self.waiting: set[Wire] = set()
        self.reset()

    def reset(self) -> None:
        """Be as on the first day, with nothing counted, told, limited or stored; waiting callers are let go."""
        first, second = self._samples.items()
        self.units = {
            first[0]: BusinessUnit("Toy Trucks", Products(first[1]), Products(self._imported), self._service_reviews),
            second[0]: BusinessUnit("Second Shop", Products(second[1])),
        }
        self.behaviours = Behaviours()
        self.record = CallRecord()
        # Calls that nobody waits for are recorded apart: who counts reviews counts none of them.
        self.asides = CallRecord()
        self.limit: Limit | None = None
        self.lists = Lists()
        self.tokens = Tokens()
        self.invitations: deque[dict[str, object]] = deque(maxlen=_KEPT)
        self.links: deque[dict[str, object]] = deque(maxlen=_KEPT)
        self.deletions: dict[str, list[dict[str, str]]] = {"reviewId": [], "consumerId": []}
        self._last = NEWEST
        for wire in tuple(self.waiting):
            wire.drop()

    def now(self) -> datetime:
        """Return the present, each time a later one."""
        self._last = max(datetime.now(UTC), self._last + timedelta(milliseconds=1))
        return self._last

    def list_deletion(self, name: str, identifier: str) -> None:
        """List a review (``reviewId``), or a consumer (``consumerId``), as deleted."""
        self.deletions[name].append({name: identifier, "deletedAt": written_at(self.now())})

    def delete(self, name: str, identifier: str) -> int:
        """Delete a review, or all of a consumer, from all shops, and list that; return how many reviews."""
        self.list_deletion(name, identifier)
        return sum(unit.delete(name, identifier) for unit in self.units.values())
