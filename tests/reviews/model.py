"""A brute-force model of the contract: filter and sort the full list, nothing cached, nothing clever."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


def expected_ids(lists: list[list[dict[str, Any]]], params: dict[str, Any]) -> list[str]:
    """Return the ids that ``/v1/reviews`` must answer for the full lists of some SKUs.

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
    ]
    if params.get("sort") == "highest":
        matching.sort(key=lambda review: -review["stars"])
    return list(dict.fromkeys(review["id"] for review in matching))[: params.get("limit", 3)]


def language_rank(language: str, asked: set[str] | None) -> int:
    """Return the place of ``language`` among several that are asked for."""
    several = sorted(asked) if asked and len(asked) > 1 else []
    return several.index(language) if language in several else len(several)


@st.composite
def catalogues(draw: st.DrawFn, prefix: str = "a") -> list[dict[str, Any]]:
    """Draw 0 to 450 reviews, newest first, no two at the same moment."""
    count = draw(st.sampled_from([0, 1, 3, 99, 100, 101, 200, 230, 450]))
    random = draw(st.randoms(use_true_random=False))
    rare = draw(st.sampled_from([0.02, 0.2, 0.5]))
    return [
        {
            "id": f"{prefix}{place:05d}",
            "createdAt": f"2024-{12 - place // 40:02d}-{28 - place % 40 // 2:02d}T{23 - place % 2 * 12:02d}:00:00Z",
            "stars": random.randint(2, 5) if random.random() < rare else 1,
            "language": "fr" if random.random() < rare else random.choice(["en", "de"]),
            "content": "x" * random.choice([0, 1, 30, 200]) if random.random() < 0.5 else "fine",
        }
        for place in range(count)
    ]


@st.composite
def odd_catalogues(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Draw the lists of 1 to 3 SKUs: in no order or newest first, many of one moment, some in two lists or twice."""
    random = draw(st.randoms(use_true_random=False))
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
    },
)
