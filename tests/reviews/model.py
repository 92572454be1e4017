"""A brute-force model of the contract: filter and sort the full list, nothing cached, nothing clever."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


def expected_ids(reviews: list[dict[str, Any]], params: dict[str, Any]) -> list[str]:
    """Return the ids that ``/v1/reviews`` must answer for ``reviews``, which are newest first."""
    stars = {int(s) for s in str(params.get("stars", "1,2,3,4,5")).split(",")}
    languages = set(str(params["language"]).split(",")) if "language" in params else None
    matching = [
        review
        for review in reviews
        if review["stars"] in stars
        and (languages is None or review["language"] in languages)
        and len(review["content"].strip()) >= params.get("min_chars", 1)
    ]
    if params.get("sort") == "highest":
        matching.sort(key=lambda review: -review["stars"])
    return [review["id"] for review in matching[: params.get("limit", 3)]]


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
