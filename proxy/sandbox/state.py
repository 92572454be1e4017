"""What the sandbox knows while it runs: shops with their products, calls made, tokens, invitations, faults."""

from __future__ import annotations

import math
import random
import secrets
import time
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any, TypeVar
from urllib.parse import quote

from proxy.sandbox import BUSINESS_UNIT, SECOND_BUSINESS_UNIT
from proxy.sandbox.faults import Behaviours, Kind, Wire
from proxy.sandbox.shop import (
    NEWEST,
    compose,
    generated,
    generated_ratings,
    imported_products,
    sample_products,
    second_products,
    service_reviews,
    usual_ratings,
    written_at,
)

RATINGS: Mapping[str, int] = {"oneStar": 1, "twoStars": 2, "threeStars": 3, "fourStars": 4, "fiveStars": 5}
"""Trustpilot's names in ``numberOfReviews``."""

_Item = TypeVar("_Item")
_UNDATED = datetime.min.replace(tzinfo=UTC)


class Order(StrEnum):
    """How a list comes, of which Trustpilot documents no order."""

    NEWEST = "newest"
    OLDEST = "oldest"
    SHUFFLED = "shuffled"


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
        self._reviews: dict[str, list[object] | _Generated] = dict(sample)
        self._order: list[tuple[float, str, int]] | None = None

    def __contains__(self, sku: str) -> bool:
        return sku in self._reviews

    def __iter__(self) -> Iterator[str]:
        return iter(self._reviews)

    def reviews_of(self, *skus: str) -> Sequence[object]:
        """Return the reviews of SKUs as one list, newest first; none for a SKU nobody sells.

        A review that several of the SKUs have is in it once.
        """
        lists = [self._listed(sku) for sku in dict.fromkeys(skus)]
        return lists[0] if len(lists) == 1 else newest_first(once_each(review for one in lists for review in one))

    def _listed(self, sku: str) -> Sequence[object]:
        reviews = self._reviews.get(sku, [])
        return reviews if isinstance(reviews, list) else generated(reviews.sku, reviews.count)

    def summary_of(self, *skus: str) -> dict[str, object]:
        """Return the summary of all reviews of the SKUs, each counted once."""
        reviews = self._reviews.get(skus[0], [])
        if len(skus) == 1 and isinstance(reviews, _Generated):
            return summary(generated_ratings(reviews.sku, reviews.count))
        return summary(map(_rating, self.reviews_of(*skus)))

    def put(self, sku: str, reviews: Iterable[object]) -> None:
        """Set the reviews of a SKU, given in any order."""
        listed = newest_first(reviews)
        if self._order is not None:
            for position in _positions(sku, self._listed(sku)):
                del self._order[bisect_left(self._order, position)]
            for position in _positions(sku, listed):
                insort(self._order, position)
        self._reviews[sku] = listed

    def generate(self, products: int, reviews: int, prefix: str = "SKU-") -> list[str]:
        """Add ``products`` of so many believable reviews each; return their SKUs, ``{prefix}1`` onwards."""
        skus = [f"{prefix}{number}" for number in range(1, products + 1)]
        self._reviews.update({sku: _Generated(sku, reviews) for sku in skus})
        self._order = None
        return skus

    def sizes(self) -> dict[str, int]:
        return {sku: len(found) if isinstance(found, list) else found.count for sku, found in self._reviews.items()}

    def all_reviews(
        self, language: str | None, sku: str | None, order: Order, start: int, stop: int
    ) -> list[tuple[str, object]]:
        """Return a part of the list of all reviews, or one SKU's, each with its SKU. Composes no more than that."""
        if self._order is None:
            self._order = sorted(position for sku in self for position in _positions(sku, self._listed(sku)))
        found: Sequence[tuple[float, str, int]] = self._order
        if sku is not None:
            found = [position for position in found if position[1] == sku]
        if language is not None:
            found = [
                position for position in found if matching([self._listed(position[1])[position[2]]], (), language)
            ]
        return [(sku, self._listed(sku)[position]) for _, sku, position in ordered(found, order)[start:stop]]


def _positions(sku: str, reviews: Iterable[object]) -> Iterator[tuple[float, str, int]]:
    return ((-_moment(review).timestamp(), sku, position) for position, review in enumerate(reviews))


def newest_first(reviews: Iterable[object]) -> list[object]:
    """Return reviews by ``createdAt``, newest first and stable, those without a readable one last."""
    return sorted(reviews, key=_moment, reverse=True)


def ordered(newest: Sequence[_Item], order: Order) -> Sequence[_Item]:
    """Return what comes newest first in another order; shuffled alike each time."""
    if order is Order.SHUFFLED:
        return random.Random(1).sample(newest, len(newest))  # noqa: S311  # sample data
    return newest[::-1] if order is Order.OLDEST else newest


def once_each(reviews: Iterable[object]) -> Iterator[object]:
    """Yield the reviews, those with an id that has come before left out."""
    seen: set[object] = set()
    for review in reviews:
        name = review.get("id") if isinstance(review, dict) else None
        if not isinstance(name, str) or name not in seen:
            yield review
        if isinstance(name, str):
            seen.add(name)


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


def summary(ratings: Iterable[int]) -> dict[str, object]:
    """Return ``{"starsAverage", "numberOfReviews": {"total", "oneStar", …}}``.

    Only ratings from 1 to 5 count. The average has one decimal, halves rounded up, and is 0.0 without reviews.
    """
    counted = [rating for rating in ratings if rating]
    total = len(counted)
    # In whole numbers, since 4.25 is as much 4.2 as 4.3 to a float.
    average = (20 * sum(counted) + total) // (2 * total) / 10 if total else 0.0
    counts = {name: counted.count(rating) for name, rating in RATINGS.items()}
    return {"starsAverage": average, "numberOfReviews": {"total": total, **counts}}


def _rating(review: object) -> int:
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


def _identifiers(review: object) -> dict[str, object]:
    written = review if isinstance(review, dict) else {}
    consumer = written.get("consumer")
    return {"reviewId": written.get("id"), "consumerId": consumer.get("id") if isinstance(consumer, dict) else None}


@dataclass
class BusinessUnit:
    """One shop. ``details``: what was set of a product besides its reviews, by SKU."""

    name: str
    products: Products = field(default_factory=lambda: Products({}))
    imported: Products = field(default_factory=lambda: Products({}))
    service_reviews: list[object] = field(default_factory=list)
    details: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def profile(self) -> dict[str, object]:
        """Return the shop itself, but for its id, as Trustpilot shows it."""
        summed: Any = summary(map(_rating, self.service_reviews))
        average = summed["starsAverage"]
        return {
            "displayName": self.name,
            "name": {"identifying": self.domain, "referring": [self.domain]},
            "score": {"trustScore": average, "stars": int(average * 2 + 0.5) / 2},
            "numberOfReviews": summed["numberOfReviews"],
        }

    @property
    def domain(self) -> str:
        return f"{self.name.lower().replace(' ', '-')}.example"

    def product(self, sku: str) -> dict[str, str]:
        """Return ``id``, ``sku``, ``name`` and ``productUrl`` of a product, sold or not."""
        made = {
            "id": sha256(sku.encode(errors="surrogatepass")).hexdigest()[:24],
            "sku": sku,
            "name": sku.replace("-", " ").capitalize(),
            "productUrl": f"https://{self.domain}/products/{quote(sku, safe='', errors='replace')}",
        }
        return {**made, **self.details.get(sku, {})}

    def skus_at(self, url: str) -> list[str]:
        """Return the SKUs of a product's page: its variants."""
        return [sku for sku in self.products if self.product(sku)["productUrl"] == url]

    def arrive(self, reviews: int, now: Callable[[], datetime]) -> None:
        """Let so many new reviews be written, of any products."""
        chance = random.Random(str(now()))  # noqa: S311  # sample data
        for sku in chance.choices(list(self.products), k=reviews):
            self.change(chance, ("added",), now(), sku)

    def delete(self, name: str, identifier: str) -> int:
        """Take a review (``reviewId``), or all of a consumer (``consumerId``), away; return how many there were."""
        deleted = 0
        for products in (self.products, self.imported):
            for sku in products:
                reviews = products.reviews_of(sku)
                kept = [review for review in reviews if _identifiers(review)[name] != identifier]
                if len(kept) < len(reviews):
                    products.put(sku, kept)
                    deleted += len(reviews) - len(kept)
        return deleted

    def change(self, chance: random.Random, kinds: Sequence[str], moment: datetime, sku: str) -> dict[str, str]:
        """Change one review of a product in one of these ways; a product without reviews gets one.

        Return ``{"what", "sku", "id"}``.
        """
        reviews = list(self.products.reviews_of(sku))
        positions = [
            position for position, review in enumerate(reviews) if isinstance(review, dict) and review.get("id")
        ]
        what = chance.choice(kinds) if positions else "added"
        if what == "added":
            reviews = [
                *compose(chance, languages=("en", "fr"), ratings=usual_ratings(chance, 1), newest=moment),
                *reviews,
            ]
            position = 0
        else:
            position = chance.choice(positions)
        chosen: Any = reviews[position]
        if what in ("deleted", "hidden"):
            del reviews[position]
        elif what != "added":
            comment = {"comment": f"Thank you, {chance.getrandbits(16)} times!", "createdAt": written_at(moment)}
            edited = {"content": f"I have changed my mind {chance.getrandbits(16)} times."}
            reviews[position] = chosen | (edited if what == "edited" else {"firstCompanyComment": comment})
        self.products.put(sku, reviews)
        return {"what": what, "sku": sku, "id": chosen["id"]}


CHANGES = ("added", "edited", "answered", "deleted", "hidden")
"""What can happen to a review. Who hides one is the shop or a moderator: Trustpilot tells nobody."""


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
        self.by_kind[kind] += 1
        self._under_way[kind] += 1
        self._most[kind] = max(self._most[kind], self._under_way[kind])
        self._most_at_once = max(self._most_at_once, self._under_way.total())
        self._calls.append(
            {"at": time.time(), "kind": kind, "business_unit": unit, "skus": list(skus), "query": query}
        )

    def end(self, kind: Kind) -> None:
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
