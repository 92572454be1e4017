"""A brute-force model of the contract: filter and sort the full list, nothing cached, nothing clever."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Any

from hypothesis import strategies as st

_PHOTO = [
    {
        "id": "p",
        "processedFiles": [{"mimeType": "image/jpeg", "dimension": "360pxWide", "url": "https://i.example/p"}],
    }
]


NOW = datetime(2024, 12, 28, 23, 30, tzinfo=UTC).timestamp()
"""Half an hour after the newest review that is drawn."""


def expected_ids(lists: list[list[dict[str, Any]]], params: dict[str, Any], now: float = NOW) -> list[str]:
    """Return the ids that ``/v1/reviews`` must answer for the full lists of some SKUs, at ``now``.

    Of one moment: in the order of the SKUs, then, where several are asked for, of the languages, then the list's.
    """
    stars = {int(s) for s in str(params.get("stars", "1,2,3,4,5")).split(",")}
    languages = set(str(params["language"]).split(",")) if "language" in params else None
    ordered = [
        (review, number, language_rank(review["language"], languages), place)
        for number, reviews in enumerate(lists)
        for place, review in enumerate(reviews)
    ]
    ordered.sort(key=lambda entry: entry[1:])
    ordered.sort(key=lambda entry: entry[0]["createdAt"], reverse=True)
    matching = [
        review
        for review, *_ in ordered
        if review["stars"] in stars
        and (languages is None or review["language"] in languages)
        and len(review["content"].strip()) >= params.get("min_chars", 1)
        and (now - _written(review) <= params.get("max_age_days", 10_000) * 86_400)
        and (bool(review["attachments"]) or params.get("with_image") != "true")
    ]
    if "min_reviews" in params or "min_average" in params:
        # A review that is listed twice counts once.
        average, total = rating(list({review["id"]: review for reviews in lists for review in reviews}.values()))
        if total < params.get("min_reviews", 0) or average < Decimal(str(params.get("min_average", 0))):
            return []
    if params.get("sort") == "highest":
        matching.sort(key=lambda review: -review["stars"])
    return list(dict.fromkeys(review["id"] for review in matching))[: params.get("limit", 3)]


def rating(reviews: list[dict[str, Any]]) -> tuple[Decimal, int]:
    """Return the average as it is shown, with one decimal, 0 without reviews; and how many there are."""
    total = len(reviews)
    mean = Decimal(sum(review["stars"] for review in reviews)) / total if total else Decimal(0)
    return mean.quantize(Decimal("0.1"), ROUND_HALF_UP), total


def _written(review: dict[str, Any]) -> float:
    return datetime.fromisoformat(review["createdAt"]).replace(tzinfo=UTC).timestamp()


def language_rank(language: str, asked: set[str] | None) -> int:
    """Return the place of ``language`` among several that are asked for."""
    several = sorted(asked) if asked and len(asked) > 1 else []
    return several.index(language) if language in several else len(several)


# Not st.randoms, which keeps each number that is drawn, to make it smaller: that took most of the time.
_randoms = st.integers(0, 2**32 - 1).map(Random)


@st.composite
def catalogues(draw: st.DrawFn, prefix: str = "a") -> list[dict[str, Any]]:
    """Draw 0 to 450 reviews, newest first, no two at the same moment."""
    count = draw(st.sampled_from([0, 1, 3, 99, 100, 101, 200, 230, 450]))
    random = draw(_randoms)
    rare = draw(st.sampled_from([0.02, 0.2, 0.5]))
    return [
        {
            "id": f"{prefix}{place:05d}",
            "createdAt": f"2024-{12 - place // 40:02d}-{28 - place % 40 // 2:02d}T{23 - place % 2 * 12:02d}:00:00Z",
            "stars": random.randint(2, 5) if random.random() < rare else 1,
            "language": "fr" if random.random() < rare else random.choice(["en", "de"]),
            "content": "x" * random.choice([0, 1, 30, 200]) if random.random() < 0.5 else "fine",
            "attachments": _PHOTO if random.random() < rare else [],
        }
        for place in range(count)
    ]


@st.composite
def odd_catalogues(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Draw the lists of 1 to 3 SKUs: in no order or newest first, many of one moment, some in two lists or twice."""
    random = draw(_randoms)
    lists: list[list[dict[str, Any]]] = []
    for prefix in "abc"[: draw(st.integers(1, 3))]:
        reviews = draw(catalogues(prefix))
        if draw(st.booleans()):
            reviews = [{**review, "createdAt": review["createdAt"][:10]} for review in reviews]
        for other in lists:
            reviews += random.sample(other, len(other) // 10)
        reviews += random.sample(reviews, len(reviews) // 20)
        if draw(st.booleans()):
            random.shuffle(reviews)
        else:
            reviews.sort(key=lambda review: review["createdAt"], reverse=True)
        lists.append(reviews)
    return lists


parameters = st.fixed_dictionaries(
    {},
    optional={
        "stars": st.sampled_from(["5", "4,5", "1", "2,3", "1,2,3,4,5"]),
        "language": st.sampled_from(["en", "fr", "en,fr", "ja"]),
        "limit": st.integers(1, 20),
        "sort": st.sampled_from(["newest", "highest"]),
        "min_chars": st.sampled_from([0, 1, 20, 150]),
        "max_age_days": st.sampled_from([1, 3, 40, 200, 3650]),
        "with_image": st.sampled_from(["true", "false"]),
    },
)

floors = st.fixed_dictionaries(
    {},
    optional={
        "min_reviews": st.sampled_from([0, 1, 3, 100, 101, 202, 231, 430]),
        "min_average": st.sampled_from(["1", "1.05", "1.1", "1.25", "2", "2.3", "4.25", "5.0"]),
    },
)
"""What the product has to have. Not for lists that share reviews: where Trustpilot counts, it counts those twice."""
