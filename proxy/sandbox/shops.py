"""The shops: what the samples sell and what people wrote about it, alike on every start; and how that changes."""

from __future__ import annotations

import json
import random
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, TypeVar
from urllib.parse import quote

_DATA: Mapping[str, Any] = json.loads(files("proxy.sandbox").joinpath("sample.json").read_text("utf-8"))

ATTRIBUTE_NAMES: Mapping[str, Mapping[str, str]] = _DATA["attributes"]
"""``attributeId`` to its name by language. Languages that are not here fall back to English."""

STAR_WORDS: Mapping[str, Sequence[str]] = _DATA["stars"]
VALUE_FOR_MONEY = "5f6a1c9be2d0a40001a1b201"


def attribute_rating(attribute_id: str, rating: float) -> dict[str, object]:
    """Return one entry of ``attributeRatings``, named in English."""
    return {
        "attributeId": attribute_id,
        "attributeName": ATTRIBUTE_NAMES[attribute_id]["en"],
        "attributeType": "range_1to5",
        "rating": rating,
    }


def named_for(locale: str, review: object) -> object:
    """Return the review with the attribute names a ``locale`` such as ``fr`` or ``fr-FR`` asks for.

    The review itself is left alone; what is malformed, or has no known attribute, comes back as it is.
    """
    language = locale.replace("_", "-").partition("-")[0].lower()
    ratings = review.get("attributeRatings") if isinstance(review, dict) else None
    if not isinstance(review, dict) or not isinstance(ratings, list) or not ratings:
        return review
    return review | {"attributeRatings": [_renamed(rating, language) for rating in ratings]}


def _renamed(rating: object, language: str) -> object:
    if not isinstance(rating, dict):
        return rating
    names = ATTRIBUTE_NAMES.get(str(rating.get("attributeId")), {})
    return rating | {"attributeName": names[language]} if language in names else rating


_PHRASES: Mapping[str, Mapping[str, Any]] = _DATA["languages"]
"""Names and sentences by ISO 639-1 code. ``joiner`` stands between two sentences."""

NEWEST = datetime(2024, 10, 14, 17, 42, 40, 286_000, tzinfo=UTC)
"""When the seed's review was written; no sample review is newer."""

_DIMENSIONS = ("64x64", "150pxWide", "360pxWide", "720pxWide", "original")
_USUAL_RATINGS = (5, 5, 5, 5, 5, 4, 4, 4, 3, 2, 1)


def compose(
    chance: random.Random, *, languages: Sequence[str], ratings: Sequence[int], newest: datetime = NEWEST
) -> list[dict[str, Any]]:
    """Return one review per rating, newest first, with all of Trustpilot's fields.

    ``languages`` are drawn from evenly: name one twice to hear it more often.
    """
    written = []
    moment = newest
    for rating in ratings:
        written.append(_review(chance, chance.choice(languages), rating, moment))
        moment -= timedelta(hours=chance.random() * 90, seconds=1, milliseconds=chance.randrange(1000))
    return written


def usual_ratings(chance: random.Random, count: int) -> list[int]:
    """Return ``count`` ratings, spread as a product people like gets them."""
    return chance.choices(_USUAL_RATINGS, k=count)


@lru_cache(maxsize=256)
def generated(sku: str, count: int) -> Sequence[object]:
    """Return the reviews of one generated product, composed when first asked for.

    Thousands of products thus cost nothing until they are read, and only the last few hundred stay in memory.
    """
    chance, languages, newest, ratings = _drawn(sku, count)
    return compose(chance, languages=languages, ratings=ratings, newest=newest)


@lru_cache(maxsize=100_000)
def generated_ratings(sku: str, count: int) -> Sequence[int]:
    """Return the ratings alone of what :func:`generated` composes."""
    return _drawn(sku, count)[3]


def _drawn(sku: str, count: int) -> tuple[random.Random, Sequence[str], datetime, Sequence[int]]:
    chance = random.Random(sku)  # noqa: S311  # sample data, nothing secret
    languages = ("en", "en", "en", *chance.sample(sorted(_PHRASES), 2))
    newest = NEWEST - timedelta(hours=chance.random() * 200)
    return chance, languages, newest, usual_ratings(chance, count)


def written_at(moment: datetime) -> str:
    """Return a time as Trustpilot writes it: ``2024-10-14T17:42:40.286Z``."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def photo(name: str) -> dict[str, object]:
    """Return an attachment as Trustpilot hands it out once it is processed."""
    files = [
        {"mimeType": "image/jpeg", "dimension": dimension, "url": f"https://photos.example/{name}/{dimension}.jpg"}
        for dimension in _DIMENSIONS
    ]
    return {"id": name, "state": "approved", "processedFiles": files}


def _review(chance: random.Random, language: str, rating: int, moment: datetime) -> dict[str, Any]:
    phrases = _PHRASES[language]
    return {
        # Trustpilot's identifiers start with the time in seconds, as MongoDB's do.
        "id": f"{int(moment.timestamp()):08x}{chance.getrandbits(64):016x}",
        "createdAt": written_at(moment),
        "stars": rating,
        "content": _content(chance, phrases, rating),
        "consumer": {"id": f"{chance.getrandbits(96):024x}", "displayName": chance.choice(phrases["names"])},
        "language": language,
        "attributeRatings": _attribute_ratings(chance, rating),
        "attachments": [photo(f"{chance.getrandbits(64):016x}")] if chance.random() < 0.1 else [],
        "firstCompanyComment": _reply(chance, phrases, rating, moment),
    }


def _content(chance: random.Random, phrases: Mapping[str, Any], rating: int) -> str:
    sentences = [chance.choice(phrases["mixed" if rating == 3 else "praise" if rating > 3 else "complaints"])]
    if chance.random() < 0.5:
        sentences.append(chance.choice(phrases["remarks"]))
    # People leave stray white space behind; the seed's own review ends in a space.
    return str(phrases["joiner"].join(sentences)) + chance.choice(("", "", "", " ", "\n"))


def _attribute_ratings(chance: random.Random, rating: int) -> list[object]:
    if chance.random() > 0.35:
        return []
    rated = [name for name in ATTRIBUTE_NAMES if chance.random() < 0.6]
    return [attribute_rating(name, float(min(5, max(1, rating + chance.choice((-1, 0, 0, 1)))))) for name in rated]


def _reply(
    chance: random.Random, phrases: Mapping[str, Any], rating: int, moment: datetime
) -> dict[str, object] | None:
    if chance.random() > (0.4 if rating < 3 else 0.12):
        return None
    comment = phrases["apology" if rating < 3 else "thanks"]
    return {"comment": comment, "createdAt": written_at(moment + timedelta(hours=1 + chance.random() * 70))}


_EDGE_CASES: Mapping[str, Any] = _DATA["edge_cases"]
_HOSTILE_TEXTS = [*_EDGE_CASES["texts"][:7], "a" * 5000, *_EDGE_CASES["texts"][7:]]
_HOSTILE_AUTHORS = [*_EDGE_CASES["authors"][:6], "x" * 300, *_EDGE_CASES["authors"][6:]]


def _hostile() -> Sequence[object]:
    """Return them newest first, all five stars, so that every template meets them."""
    return [
        {
            "id": f"670d0000badc0de0000000{number:02x}",
            "createdAt": written_at(NEWEST - timedelta(days=number)),
            "stars": 5,
            "content": text,
            "consumer": {"id": None, "displayName": _HOSTILE_AUTHORS[number % len(_HOSTILE_AUTHORS)]},
            "language": "ar" if text.startswith("م") else "en",
            "attributeRatings": [attribute_rating(VALUE_FOR_MONEY, 5.0) | {"attributeName": '<i>{{ value }}</i> "'}],
            "attachments": [photo("hostile") | {"processedFiles": _EDGE_CASES["files"]}] if number == 0 else [],
            "firstCompanyComment": {"comment": f"Thanks! {text[:80]}", "createdAt": written_at(NEWEST)},
        }
        for number, text in enumerate(_HOSTILE_TEXTS)
    ]


_MARKETS: Sequence[Sequence[str]] = _DATA["markets"]
"""Where a product is sold decides what its reviewers speak; some are at home in one language only."""


def sample_products() -> Mapping[str, Sequence[object]]:
    """Return the first business unit's reviews by SKU, newest first: 48 products, about 2,500 reviews."""
    chance = random.Random(7)  # noqa: S311  # sample data
    products: dict[str, Sequence[object]] = {
        "TRUCK-01": _truck(chance),
        "NEW-00": [],
        "BLENDER-450": _blender(chance),
        "HOSTILE-01": _hostile(),
        # They lack what can be missing, and some can't be taken for reviews.
        "SPARSE-01": _DATA["sparse"],
        # Exactly one page of a hundred, and one review more than that: where paging goes wrong.
        "SCARF-100": _product(chance, 0, 100),
        "SCARF-101": _product(chance, 1, 101),
        'Größe 42/rot & "blau" + 50%': _product(chance, 2, 5),
    }
    for number in range(40):
        things = _DATA["things"]
        sku = f"{things[number % len(things)]}-{number // len(things) + 1:02d}"
        products[sku] = _product(chance, number, chance.randint(1, 80))
    return products


def second_products() -> Mapping[str, Sequence[object]]:
    """Return the second business unit's: a few products, one SKU of which the first sells too."""
    chance = random.Random(8)  # noqa: S311  # sample data
    return {"TRUCK-01": _product(chance, 1, 12), "TRUCK-02": _product(chance, 2, 25), "NEW-00": []}


def imported_products() -> Mapping[str, Sequence[object]]:
    """Return by SKU what the first business unit brought along from an earlier platform: older, poorer reviews."""
    chance = random.Random(9)  # noqa: S311  # sample data
    before = NEWEST - timedelta(days=400)
    poorer: dict[str, object] = {"attributeRatings": [], "attachments": [], "firstCompanyComment": None}
    return {
        sku: [
            review | poorer
            for review in compose(chance, languages=("en", "fr"), ratings=usual_ratings(chance, size), newest=before)
        ]
        for sku, size in (("TRUCK-01", 30), ("KETTLE-01", 12), ("OLD-01", 105))
    }


def service_reviews() -> Sequence[object]:
    """Return reviews of the first business unit itself, newest first, in the shape that Trustpilot gives those."""
    chance = random.Random(10)  # noqa: S311  # sample data
    return [
        {name: review[name] for name in ("id", "stars", "language", "createdAt", "consumer")}
        | {
            "title": review["content"].strip()[:40],
            "text": review["content"],
            "companyReply": reply and {"text": reply["comment"], "createdAt": reply["createdAt"]},
            "isVerified": chance.random() < 0.9,
        }
        for review in compose(chance, languages=_MARKETS[0], ratings=usual_ratings(chance, 130))
        for reply in [review["firstCompanyComment"]]
    ]


def _product(chance: random.Random, market: int, count: int) -> Sequence[object]:
    return compose(chance, languages=_MARKETS[market % len(_MARKETS)], ratings=usual_ratings(chance, count))


def _truck(chance: random.Random) -> Sequence[object]:
    """Return the seed's product: its newest review is the seed's, its ratings are those of the contract's example."""
    ratings = [5] * 119 + [4] * 20 + [3] * 8 + [2] * 3 + [1] * 2
    chance.shuffle(ratings)
    older = compose(chance, languages=_MARKETS[0], ratings=[5, *ratings])[1:]
    return [_DATA["truck"], *older]


def _blender(chance: random.Random) -> Sequence[object]:
    """Return a product gone bad: the newest 120 of 450 have one star, so its newest page holds no other."""
    before = [rating for rating in usual_ratings(chance, 1000) if rating > 1][:330]
    return compose(chance, languages=_MARKETS[0], ratings=[1] * 120 + before)


# ---- What is sold while the sandbox runs

RATINGS: Mapping[str, int] = {"oneStar": 1, "twoStars": 2, "threeStars": 3, "fourStars": 4, "fiveStars": 5}
"""Trustpilot's names in ``numberOfReviews``."""

_Item = TypeVar("_Item")
_UNDATED = datetime.min.replace(tzinfo=UTC)


Order = StrEnum("Order", "NEWEST OLDEST SHUFFLED")
"""How a list comes, of which Trustpilot documents no order."""


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

    def __init__(self, sample: Mapping[str, Sequence[object]]) -> None:
        self._reviews: dict[str, Sequence[object] | _Generated] = dict(sample)
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
        if len(lists) == 1:
            return lists[0]
        once: dict[object, object] = {}
        for review in (review for one in lists for review in one):
            name = review.get("id") if isinstance(review, dict) else None
            once.setdefault(name if isinstance(name, str) else object(), review)
        return newest_first(once.values())

    def _listed(self, sku: str) -> Sequence[object]:
        reviews = self._reviews.get(sku, [])
        return generated(reviews.sku, reviews.count) if isinstance(reviews, _Generated) else reviews

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
        return {sku: one.count if isinstance(one, _Generated) else len(one) for sku, one in self._reviews.items()}

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
    service_reviews: Sequence[object] = ()
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
        positions = [at for at, review in enumerate(reviews) if isinstance(review, dict) and review.get("id")]
        what = chance.choice(kinds) if positions else "added"
        if what == "added":
            reviews[:0] = compose(chance, languages=("en", "fr"), ratings=usual_ratings(chance, 1), newest=moment)
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
