"""The sample shop: what its two business units sell and what people wrote about it, the same on every start."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Any

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """What one language has to offer. ``joiner`` stands between two sentences."""

    names: Sequence[str]
    praise: Sequence[str]
    mixed: Sequence[str]
    complaints: Sequence[str]
    remarks: Sequence[str]
    thanks: str
    apology: str
    joiner: str = " "


PHRASES: Mapping[str, Phrases] = {language: Phrases(**phrases) for language, phrases in _DATA["languages"].items()}
"""Sentences by ISO 639-1 code, the material sample reviews are composed from."""

NEWEST = datetime(2024, 10, 14, 17, 42, 40, 286_000, tzinfo=UTC)
"""When the seed's review was written; no sample review is newer."""

_DIMENSIONS = ("64x64", "150pxWide", "360pxWide", "720pxWide", "original")
_USUAL_RATINGS = (5, 5, 5, 5, 5, 4, 4, 4, 3, 2, 1)


def compose(
    chance: random.Random, *, languages: Sequence[str], ratings: Sequence[int], newest: datetime = NEWEST
) -> list[object]:
    """Return one review per rating, newest first, with all of Trustpilot's fields.

    ``languages`` are drawn from evenly: name one twice to hear it more often.
    """
    written: list[object] = []
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
    languages = ("en", "en", "en", *chance.sample(sorted(PHRASES), 2))
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


def _review(chance: random.Random, language: str, rating: int, moment: datetime) -> dict[str, object]:
    phrases = PHRASES[language]
    return {
        # Trustpilot's identifiers start with the time in seconds, as MongoDB's do.
        "id": f"{int(moment.timestamp()):08x}{chance.getrandbits(64):016x}",
        "createdAt": written_at(moment),
        "stars": rating,
        "content": _content(chance, phrases, rating),
        "consumer": {"id": f"{chance.getrandbits(96):024x}", "displayName": chance.choice(phrases.names)},
        "language": language,
        "attributeRatings": _attribute_ratings(chance, rating),
        "attachments": [photo(f"{chance.getrandbits(64):016x}")] if chance.random() < 0.1 else [],
        "firstCompanyComment": _reply(chance, phrases, rating, moment),
    }


def _content(chance: random.Random, phrases: Phrases, rating: int) -> str:
    opinions = phrases.mixed if rating == 3 else phrases.praise if rating > 3 else phrases.complaints
    sentences = [chance.choice(opinions)]
    if chance.random() < 0.5:
        sentences.append(chance.choice(phrases.remarks))
    # People leave stray white space behind; the seed's own review ends in a space.
    return phrases.joiner.join(sentences) + chance.choice(("", "", "", " ", "\n"))


def _attribute_ratings(chance: random.Random, rating: int) -> list[object]:
    if chance.random() > 0.35:
        return []
    rated = [name for name in ATTRIBUTE_NAMES if chance.random() < 0.6]
    return [attribute_rating(name, float(min(5, max(1, rating + chance.choice((-1, 0, 0, 1)))))) for name in rated]


def _reply(chance: random.Random, phrases: Phrases, rating: int, moment: datetime) -> dict[str, object] | None:
    if chance.random() > (0.4 if rating < 3 else 0.12):
        return None
    comment = phrases.apology if rating < 3 else phrases.thanks
    return {"comment": comment, "createdAt": written_at(moment + timedelta(hours=1 + chance.random() * 70))}


_EDGE_CASES: Mapping[str, Any] = _DATA["edge_cases"]
_HOSTILE_TEXTS = [*_EDGE_CASES["texts"][:7], "a" * 5000, *_EDGE_CASES["texts"][7:]]
_HOSTILE_AUTHORS = [*_EDGE_CASES["authors"][:6], "x" * 300, *_EDGE_CASES["authors"][6:]]


def hostile_reviews() -> list[object]:
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


def sample_products() -> Mapping[str, list[object]]:
    """Return the first business unit's reviews by SKU, newest first: 48 products, about 2,500 reviews."""
    chance = random.Random(7)  # noqa: S311  # sample data
    products: dict[str, list[object]] = {
        "TRUCK-01": _truck(chance),
        "NEW-00": [],
        "BLENDER-450": _blender(chance),
        "HOSTILE-01": hostile_reviews(),
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


def second_products() -> Mapping[str, list[object]]:
    """Return the second business unit's: a few products, one SKU of which the first sells too."""
    chance = random.Random(8)  # noqa: S311  # sample data
    return {"TRUCK-01": _product(chance, 1, 12), "TRUCK-02": _product(chance, 2, 25), "NEW-00": []}


def imported_products() -> Mapping[str, list[object]]:
    """Return by SKU what the first business unit brought along from an earlier platform: older, poorer reviews."""
    chance = random.Random(9)  # noqa: S311  # sample data
    before = NEWEST - timedelta(days=400)
    poorer: dict[str, object] = {"attributeRatings": [], "attachments": [], "firstCompanyComment": None}
    return {
        sku: [
            review | poorer
            for review in compose(chance, languages=("en", "fr"), ratings=usual_ratings(chance, size), newest=before)
            if isinstance(review, dict)
        ]
        for sku, size in (("TRUCK-01", 30), ("KETTLE-01", 12), ("OLD-01", 105))
    }


def service_reviews() -> list[object]:
    """Return reviews of the first business unit itself, newest first, in the shape that Trustpilot gives those."""
    chance = random.Random(10)  # noqa: S311  # sample data
    written: list[object] = []
    for review in compose(chance, languages=_MARKETS[0], ratings=usual_ratings(chance, 130)):
        if isinstance(review, dict):
            reply = review["firstCompanyComment"]
            written.append(
                {name: review[name] for name in ("id", "stars", "language", "createdAt", "consumer")}
                | {
                    "title": review["content"].strip()[:40],
                    "text": review["content"],
                    "companyReply": reply and {"text": reply["comment"], "createdAt": reply["createdAt"]},
                    "isVerified": chance.random() < 0.9,
                }
            )
    return written


def _product(chance: random.Random, market: int, count: int) -> list[object]:
    return compose(chance, languages=_MARKETS[market % len(_MARKETS)], ratings=usual_ratings(chance, count))


def _truck(chance: random.Random) -> list[object]:
    """Return the seed's product: its newest review is the seed's, its ratings are those of the contract's example."""
    ratings = [5] * 119 + [4] * 20 + [3] * 8 + [2] * 3 + [1] * 2
    chance.shuffle(ratings)
    older = compose(chance, languages=_MARKETS[0], ratings=[5, *ratings])[1:]
    return [_DATA["truck"], *older]


def _blender(chance: random.Random) -> list[object]:
    """Return a product gone bad: the newest 120 of 450 have one star, so its newest page holds no other."""
    before = [rating for rating in usual_ratings(chance, 1000) if rating > 1][:330]
    return compose(chance, languages=_MARKETS[0], ratings=[1] * 120 + before)
