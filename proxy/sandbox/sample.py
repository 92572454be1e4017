"""The sample shop: what its two business units sell and what people wrote about it, the same on every start."""

import random
from collections.abc import Mapping

from proxy.sandbox.attributes import VALUE_FOR_MONEY, attribute_rating
from proxy.sandbox.composing import NEWEST, compose, usual_ratings, written_at
from proxy.sandbox.odd import hostile_reviews, sparse_reviews

_THINGS = ("KETTLE", "LAMP", "RUCKSACK", "SCARF", "MUG", "BIKE", "CHAIR", "PUZZLE", "DRONE", "TENT")

# Where a product is sold decides what its reviewers speak; some are at home in one language only.
_MARKETS = (
    ("en", "en", "fr", "de"),
    ("fr", "fr", "en", "nl"),
    ("de", "de", "da", "en"),
    ("es", "en"),
    ("nl", "en", "de"),
    ("da",),
    ("ja", "ja", "en"),
    ("ar", "he", "en"),
)


def sample_products() -> Mapping[str, list[object]]:
    """Return the first business unit's reviews by SKU, newest first: 48 products, about 2,500 reviews."""
    chance = random.Random(7)  # noqa: S311  # sample data
    products: dict[str, list[object]] = {
        "TRUCK-01": _truck(chance),
        "NEW-00": [],
        "BLENDER-450": _blender(chance),
        "HOSTILE-01": hostile_reviews(),
        "SPARSE-01": sparse_reviews(),
        # Exactly one page of a hundred, and one review more than that: where paging goes wrong.
        "SCARF-100": _product(chance, 0, 100),
        "SCARF-101": _product(chance, 1, 101),
        'Größe 42/rot & "blau" + 50%': _product(chance, 2, 5),
    }
    for number in range(40):
        sku = f"{_THINGS[number % len(_THINGS)]}-{number // len(_THINGS) + 1:02d}"
        products[sku] = _product(chance, number, chance.randint(1, 80))
    return products


def second_products() -> Mapping[str, list[object]]:
    """Return the second business unit's: a few products, one SKU of which the first sells too."""
    chance = random.Random(8)  # noqa: S311  # sample data
    return {"TRUCK-01": _product(chance, 1, 12), "TRUCK-02": _product(chance, 2, 25), "NEW-00": []}


def _product(chance: random.Random, market: int, count: int) -> list[object]:
    return compose(chance, languages=_MARKETS[market % len(_MARKETS)], ratings=usual_ratings(chance, count))


def _truck(chance: random.Random) -> list[object]:
    """Return the seed's product: its newest review is the seed's, its ratings are those of the contract's example."""
    ratings = [5] * 119 + [4] * 20 + [3] * 8 + [2] * 3 + [1] * 2
    chance.shuffle(ratings)
    older = compose(chance, languages=_MARKETS[0], ratings=[5, *ratings])[1:]
    seed: dict[str, object] = {
        "id": "670d5810ba62e6b31de97de9",
        "createdAt": written_at(NEWEST),
        "stars": 5,
        "content": "Such a great toy truck, my kids really enjoy it! ",
        "consumer": {"id": "6176xxxx", "displayName": "Kevin Bob"},
        "language": "en",
        "attributeRatings": [attribute_rating(VALUE_FOR_MONEY, 4.0)],
        "attachments": [],
        "firstCompanyComment": None,
    }
    return [seed, *older]


def _blender(chance: random.Random) -> list[object]:
    """Return a product gone bad: the newest 120 of 450 have one star, so its newest page holds no other."""
    before = [rating for rating in usual_ratings(chance, 1000) if rating > 1][:330]
    return compose(chance, languages=_MARKETS[0], ratings=[1] * 120 + before)
