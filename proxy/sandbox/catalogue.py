"""The sandbox's products: believable, the same on every start, and with the odd ones that break templates."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

Review = Any
"""A raw review. The catalogue holds malformed ones on purpose, so it is anything that JSON can hold."""
Catalogue = dict[str, list[Review]]

_NEWEST = datetime(2024, 10, 14, 17, 42, 40, 286_000, tzinfo=UTC)

_OPENINGS = {
    "en": ["Really happy with this", "Arrived sooner than promised", "Bought it for my sister", "It does the job"],
    "fr": ["Très content de cet achat", "Livraison rapide", "Acheté pour ma mère", "Fait ce qu'on lui demande"],
    "de": ["Bin sehr zufrieden", "Kam schneller als gedacht", "Für meinen Vater gekauft", "Tut, was es soll"],
    "es": ["Muy contento con la compra", "Llegó antes de lo previsto", "Lo compré para mi hijo", "Cumple de sobra"],
    "nl": ["Heel blij mee", "Sneller bezorgd dan beloofd", "Gekocht voor een vriend", "Doet wat het moet doen"],
    "ja": ["とても気に入りました", "思ったより早く届きました", "母への贈り物です", "十分に役立っています"],
    "he": ["מרוצה מאוד מהקנייה", "הגיע מהר מהצפוי", "קניתי מתנה לאחי", "עושה את העבודה"],
}
_CLOSINGS = {
    "en": ["and the quality is better than I expected.", "but the box was damaged.", "and I would buy it again."],
    "fr": ["et la qualité est au rendez-vous.", "mais l'emballage était abîmé.", "je le rachèterais volontiers."],
    "de": ["und die Qualität überzeugt.", "aber der Karton war eingedrückt.", "ich würde es wieder kaufen."],
    "es": ["y la calidad es excelente.", "aunque la caja llegó rota.", "y volvería a comprarlo."],
    "nl": ["en de kwaliteit valt mee.", "maar de doos was kapot.", "ik zou het zo weer kopen."],
    "ja": ["品質も良いです。", "箱が少しつぶれていました。", "また買いたいです。"],
    "he": ["והאיכות מעולה.", "אבל הקופסה הגיעה פגומה.", "והייתי קונה שוב."],
}
_NAMES = ["Kevin Bob", "Ana Souza", "Jürgen Weiß", "Chloé M.", "田中 優", "נועה לוי", "Sanne de Vries", "O'Neil"]
_PRODUCTS = ["KETTLE", "LAMP", "RUCKSACK", "SCARF", "MUG", "BIKE", "CHAIR", "PUZZLE", "DRONE", "TENT"]


def make_catalogue() -> Catalogue:
    """Return all products, newest review first."""
    chance = random.Random(7)  # noqa: S311  # sample data
    catalogue: Catalogue = {
        "TRUCK-01": _truck(chance),
        "NEW-00": [],
        "BLENDER-450": product(chance, 450, stars=lambda place: 1 if place < 120 else 2 + place % 4),
        "HOSTILE-01": _hostile(),
        "SPARSE-01": _sparse(),
    }
    for number in range(40):
        name = f"{_PRODUCTS[number % 10]}-{number // 10 + 1:02d}"
        catalogue[name] = product(chance, chance.randint(1, 60))
    return catalogue


def product(chance: random.Random, count: int, stars: Any = None) -> list[Review]:
    """Return ``count`` believable reviews, newest first; ``stars`` maps a place to a rating."""
    moment = _NEWEST
    reviews = []
    for place in range(count):
        rating = stars(place) if stars else chance.choice((1, 2, 3, 4, 4, 5, 5, 5))
        reviews.append(_review(chance, moment, rating))
        moment -= timedelta(hours=chance.randint(1, 90), seconds=chance.randint(0, 3599))
    return reviews


def _review(chance: random.Random, moment: datetime, stars: int) -> dict[str, Review]:
    language = chance.choice(["en", "en", "en", *_OPENINGS])
    review: dict[str, Review] = {
        "id": f"{chance.getrandbits(96):024x}",
        "createdAt": moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z",
        "stars": stars,
        "content": f"{chance.choice(_OPENINGS[language])}, {chance.choice(_CLOSINGS[language])} ",
        "consumer": {"id": f"{chance.getrandbits(96):024x}", "displayName": chance.choice(_NAMES)},
        "language": language,
        "attributeRatings": [],
        "attachments": [],
        "firstCompanyComment": None,
    }
    if chance.random() < 0.3:
        review["attributeRatings"] = [_attribute(chance.randint(1, 5))]
    if chance.random() < 0.1:
        name = f"{chance.getrandbits(64):016x}"
        review["attachments"] = [_photo(name)]
    if chance.random() < 0.2:
        review["firstCompanyComment"] = {"comment": "Thank you for telling us!", "createdAt": review["createdAt"]}
    return review


def _attribute(rating: int) -> dict[str, Review]:
    return {
        "attributeId": "value",
        "attributeName": "Value for money",
        "attributeType": "range_1to5",
        "rating": rating,
    }


def _photo(name: str) -> dict[str, Review]:
    files = [
        {"mimeType": "image/jpeg", "dimension": dimension, "url": f"https://images.example/{name}/{dimension}.jpg"}
        for dimension in ("150pxWide", "360pxWide", "720pxWide", "original")
    ]
    return {"id": name, "state": "approved", "processedFiles": files}


def _truck(chance: random.Random) -> list[Review]:
    """Return the seed's product: its newest review is the seed's, its stars are the contract's example."""
    ratings = [4] * 20 + [3] * 8 + [2] * 3 + [1] * 2 + [5] * 119
    chance.shuffle(ratings)
    reviews = product(chance, 153, stars=lambda place: 5 if place == 0 else ratings[place - 1])
    reviews[0] |= {
        "id": "670d5810ba62e6b31de97de9",
        "content": "Such a great toy truck, my kids really enjoy it! ",
        "consumer": {"id": "6176c0ffee", "displayName": "Kevin Bob"},
        "language": "en",
        "attributeRatings": [_attribute(4)],
        "attachments": [],
        "firstCompanyComment": None,
    }
    return reviews


def _hostile() -> list[Review]:
    texts = [
        "<script>alert(1)</script><img src=x onerror=alert(2)> \"quoted\" & 'single'",
        "{{ ${email_address} }} {% abort_message('gone') %}",
        "Family 👨‍👩‍👧‍👦 approved 👍🏽 " + "é" * 3,
        "\u202egnidaer desrever\u202c then \u2066isolated",
        "bell\u0007 null\u0000 tab\t line\n escape\u001b[31m",
        "a" * 5000,
        "lone \ud800 surrogate",
    ]
    return [_review(random.Random(n), _NEWEST - timedelta(days=n), 5) | {"content": t} for n, t in enumerate(texts)]  # noqa: S311  # sample data


def _sparse() -> list[Review]:
    sound = {"stars": 4, "createdAt": "2024-05-01T00:00:00Z"}
    return [
        {"stars": 5, "createdAt": "2024-06-01T00:00:00Z", "content": "Only what is needed", "id": "sparse-1"},
        {**sound, "id": None, "content": None, "consumer": None, "language": None, "attributeRatings": None},
        {**sound, "content": "Nobody said this", "consumer": {"displayName": None}, "attachments": None},
        {**sound, "content": "Odd parts", "attachments": [None, {"processedFiles": "x"}], "attributeRatings": [7]},
        "not an object",
        {**sound, "stars": "5", "content": "stars as text"},
        {**sound, "stars": 9, "content": "nine stars"},
        {**sound, "content": 12},
        {**sound, "createdAt": "yesterday", "content": "no real date"},
        {"stars": 3, "content": "Without a date"},
    ]


def summary_of(reviews: list[Review]) -> dict[str, Review]:
    """Return Trustpilot's summary object of a product."""
    counts = Counter(review["stars"] for review in reviews if isinstance(review, dict) and is_rating(review))
    total = sum(counts.values())
    words = ("oneStar", "twoStars", "threeStars", "fourStars", "fiveStars")
    average = (20 * sum(star * n for star, n in counts.items()) + total) // (2 * total) / 10 if total else 0
    numbers = {"total": total, **{word: counts[star] for star, word in enumerate(words, start=1)}}
    return {"starsAverage": average, "numberOfReviews": numbers}


def is_rating(review: dict[str, Review]) -> bool:
    """Tell whether a review has one of the five ratings."""
    return review.get("stars") in (1, 2, 3, 4, 5)
