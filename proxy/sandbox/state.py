"""Everything the sandbox knows while it runs: products, calls made, tokens, invitations, faults told."""

import math
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from proxy.sandbox import BUSINESS_UNIT, SECOND_BUSINESS_UNIT
from proxy.sandbox.faults import Behaviours, Kind, Wire
from proxy.sandbox.shop import generated, sample_products, second_products

RATINGS: Mapping[str, int] = {"oneStar": 1, "twoStars": 2, "threeStars": 3, "fourStars": 4, "fiveStars": 5}
"""Trustpilot's names in ``numberOfReviews``."""

_UNDATED = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Generated:
    """A product whose reviews are composed when they are read."""

    sku: str
    count: int


class Products:
    """SKUs and their raw reviews: any JSON at all, since a stand-in must be able to hand out malformed ones.

    Reviews are served newest first by ``createdAt``; those of one moment stay in the order given, those without
    a readable date come last.
    """

    def __init__(self, sample: Mapping[str, list[object]]) -> None:
        self._held: dict[str, list[object] | _Generated] = dict(sample)

    def __contains__(self, sku: str) -> bool:
        return sku in self._held

    def reviews_of(self, sku: str) -> Sequence[object]:
        """Return the reviews of a SKU, newest first; none for a SKU nobody sells."""
        held = self._held.get(sku, [])
        return held if isinstance(held, list) else generated(held.sku, held.count)

    def put(self, sku: str, reviews: Iterable[object]) -> None:
        """Set the reviews of a SKU, given in any order."""
        self._held[sku] = newest_first(reviews)

    def generate(self, products: int, reviews: int, prefix: str = "SKU-") -> list[str]:
        """Add ``products`` of so many believable reviews each; return their SKUs, ``{prefix}1`` onwards."""
        skus = [f"{prefix}{number}" for number in range(1, products + 1)]
        self._held.update({sku: _Generated(sku, reviews) for sku in skus})
        return skus

    def sizes(self) -> dict[str, int]:
        """Return how many reviews each SKU has."""
        return {sku: len(held) if isinstance(held, list) else held.count for sku, held in self._held.items()}


def newest_first(reviews: Iterable[object]) -> list[object]:
    """Return reviews by ``createdAt``, newest first and stable, those without a readable one last."""
    return sorted(reviews, key=_moment, reverse=True)


def matching(reviews: Sequence[object], stars: Collection[int], language: str | None) -> Sequence[object]:
    """Return the reviews a call's filters let through, in their order; an empty ``stars`` lets all pass."""
    if not stars and language is None:
        return reviews
    return [
        review
        for review in reviews
        if isinstance(review, dict)
        and (not stars or _rating(review) in stars)
        and (language is None or review.get("language") == language)
    ]


def summary_of(reviews: Sequence[object]) -> dict[str, object]:
    """Return ``{"starsAverage", "numberOfReviews": {"total", "oneStar", …}}``.

    Only whole ratings from 1 to 5 count. The average has one decimal, halves rounded up, and is 0.0 without reviews.
    """
    ratings = [rating for review in reviews if (rating := _rating(review))]
    total = len(ratings)
    # In whole numbers, since 4.25 is as much 4.2 as 4.3 to a float.
    average = (20 * sum(ratings) + total) // (2 * total) / 10 if total else 0.0
    counts = {name: ratings.count(rating) for name, rating in RATINGS.items()}
    return {"starsAverage": average, "numberOfReviews": {"total": total, **counts}}


def _rating(review: object) -> int:
    """Return 1 to 5, or 0 for what is no rating."""
    stars = review.get("stars") if isinstance(review, dict) else None
    return stars if type(stars) is int and 1 <= stars <= 5 else 0


def _moment(review: object) -> datetime:
    created = review.get("createdAt") if isinstance(review, dict) else None
    if not isinstance(created, str):
        return _UNDATED
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return _UNDATED
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


TOKEN_SECONDS = 360_000
"""About 100 hours, which is what Trustpilot's tokens last."""

_KEPT = 20_000


class Ledger:
    """Calls by kind, how many were under way at once, and what the last 20,000 asked for.

    Every call counts, also those that are refused or misbehave: that is how Trustpilot counts.
    """

    def __init__(self) -> None:
        self.by_kind: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._most: Counter[str] = Counter()
        self._most_at_once = 0
        self._calls: deque[dict[str, object]] = deque(maxlen=_KEPT)

    def begin(self, kind: Kind, skus: Collection[str], query: Mapping[str, list[str]]) -> None:
        """Note a call that has arrived."""
        self.by_kind[kind] += 1
        self._under_way[kind] += 1
        self._most[kind] = max(self._most[kind], self._under_way[kind])
        self._most_at_once = max(self._most_at_once, self._under_way.total())
        self._calls.append({"at": time.time(), "kind": kind, "skus": list(skus), "query": query})

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


class State:
    """The shop's two business units, what has been called, how to answer, and the connections kept waiting."""

    def __init__(self) -> None:
        self._samples = {BUSINESS_UNIT: sample_products(), SECOND_BUSINESS_UNIT: second_products()}
        self.held: set[Wire] = set()
        self.reset()

    def reset(self) -> None:
        """Be as on the first day, with nothing counted, told, limited or stored; waiting callers are let go."""
        self.units = {unit: Products(sample) for unit, sample in self._samples.items()}
        self.behaviours = Behaviours()
        self.ledger = Ledger()
        self.limit: Limit | None = None
        self.tokens = Tokens()
        self.invitations: deque[dict[str, object]] = deque(maxlen=_KEPT)
        for wire in tuple(self.held):
            wire.drop()
