"""Writes believable reviews from hand-written sentences; the same chance always writes the same reviews."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from proxy.sandbox.attributes import ATTRIBUTE_NAMES, attribute_rating
from proxy.sandbox.phrases import PHRASES, Phrases

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


@lru_cache(maxsize=64)
def generated(sku: str, count: int) -> Sequence[object]:
    """Return the reviews of one generated product, composed when first asked for.

    Thousands of products thus cost nothing until they are read, and only the last few dozen stay in memory.
    """
    chance = random.Random(sku)  # noqa: S311  # sample data, nothing secret
    languages = ("en", "en", "en", *chance.sample(sorted(PHRASES), 2))
    newest = NEWEST - timedelta(hours=chance.random() * 200)
    return compose(chance, languages=languages, ratings=usual_ratings(chance, count), newest=newest)


def written_at(moment: datetime) -> str:
    """Return a time as Trustpilot writes it: ``2024-10-14T17:42:40.286Z``."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def photo(name: str, dimensions: Sequence[str] = _DIMENSIONS) -> dict[str, object]:
    """Return an attachment as Trustpilot hands it out once it is processed."""
    files = [
        {"mimeType": "image/jpeg", "dimension": dimension, "url": f"https://photos.example/{name}/{dimension}.jpg"}
        for dimension in dimensions
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
