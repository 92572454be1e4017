"""Thousands of random changes, asked about at random: no answer differs from the truth beyond what is promised."""

from __future__ import annotations

import random

import pytest

from tests.sync.shop import FRESH, STALE, Heart

SECONDS_EACH = 3

HOUR = 3600.0
STEP = 240.0


@pytest.mark.parametrize("mode", ["off", "summaries", "feed"])
def test_no_answer_differs_from_the_truth_beyond_the_bounds(mode: str) -> None:
    chance = random.Random(7)
    heart = Heart(sync=mode != "off", has_feed=mode == "feed")
    shop, skus = heart.shop, [f"S{number}" for number in range(40)]
    born: dict[str, float] = {}
    ended: dict[str, tuple[float, str]] = {}
    asked: dict[str, float] = {}
    for sku in skus:
        for _ in range(4):
            born[shop.add(sku)["content"]] = heart.clock.now
    heart.sync.round()
    for number in range(3000):
        heart.clock.now += chance.random() * STEP
        now = heart.clock.now
        sku = chance.choice(skus)
        reviews = shop.products[sku]
        what = chance.choice(["added", "edited", "deleted", "hidden"]) if 1 < len(reviews) < 15 else "added"
        if len(reviews) >= 15:
            what = "hidden"
        if what == "added":
            born[shop.add(sku, stars=chance.randint(1, 5))["content"]] = now
        else:
            review = chance.choice(reviews)
            ended[review["content"]] = (now, what)
            if what == "edited":
                review["content"] = f"Edited {number}"
                born[review["content"]] = now
            else:
                reviews.remove(review)
            if what == "deleted":
                shop.deleted.append((now, review["id"]))
        if mode != "off":
            heart.sync.round()
        for one in chance.choices(skus, k=3):
            shown = set(heart.ask(one))
            gap = now - asked.get(one, now)
            for text in shown:
                at, how = ended.get(text, (now, "edited"))
                assert now - at <= _bound(mode, how, gap), (number, one, how, now - at)
            for review in shop.products[one]:
                text = review["content"]
                how = "edited" if text.startswith("Edited") else "added"
                assert text in shown or now - born[text] <= _bound(mode, how, gap), (number, one, how)
            asked[one] = now
    assert len(ended) > 1500


def _bound(mode: str, how: str, gap: float) -> float:
    """Return for how long an answer may show, or lack, what changed, ``gap`` after its product was asked for."""
    if mode == "off":
        return gap + FRESH
    if how == "edited":
        return gap + STALE
    if how == "deleted":
        return HOUR + STEP
    if mode == "summaries":
        # One that came while another went may leave the counts as they were.
        return gap + STALE
    return FRESH + STEP if how == "added" else 2 * HOUR
