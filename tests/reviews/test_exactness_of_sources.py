"""Questions at a real proxy about shops with variants, imported reviews and pages: each answer is the full lists'.

A few in every ``make test``; ``make exact`` asks thousands, of shops drawn anew.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from proxy.reviews.view import STAR_WORDS
from tests.reviews.model import expected_ids, rating
from tests.running import SECRET, UNIT, RunningProxy, RunningSandbox

CASES = int(os.environ.get("EXACT_CASES", "0"))
QUESTIONS = 60
"""Of each shop."""

_DAY = 86_400
_NAMES = ("one_star", "two_stars", "three_stars", "four_stars", "five_stars")
_DROP_IN = f"/v1/product-reviews/business-units/{UNIT}"
_PHOTO = [
    {"id": "p", "processedFiles": [{"mimeType": "image/png", "dimension": "360pxWide", "url": "https://i.example/p"}]}
]

Lists = dict[str, list[dict[str, Any]]]
"""Reviews by SKU, newest first."""


class Shop:
    """Families of variants, and what Trustpilot knows of them; each family has one page in the shop."""

    def __init__(self, chance: random.Random, sandbox: RunningSandbox, prefix: str) -> None:
        self._chance = chance
        self._sandbox = sandbox
        self._written = 0
        self._ties = chance.random() < 0.3
        self._now = time.time()
        headers = {"apikey": sandbox.api_key}
        shop = requests.get(f"{sandbox.api_url}/business-units/{UNIT}", headers=headers, timeout=20).json()
        self.rated: int = shop["numberOfReviews"]["total"]
        # Trustpilot documents no order; as a rule it is this one.
        sandbox.lists(reviews_order=chance.choice(["newest", "newest", "newest", "oldest", "shuffled"]))
        self.families = [
            [f"{prefix}{family}-{variant}" for variant in range(chance.choice([1, 2, 3, 5, 24]))] for family in "abcd"
        ]
        self.own: Lists = {}
        self.imported: Lists = {}
        self.skus = [sku for family in self.families for sku in family]
        for family in self.families:
            sizes = [0, 1, 3, 20, 99, 100, 101, 180] if len(family) < 20 else [0, 1, 2, 9]
            for lists, share in ((self.own, 1.0), (self.imported, 0.5)):
                lists |= self._family(family, sizes if chance.random() < share else [0])
            for sku in family:
                self.tell(sku)

    def _family(self, family: list[str], sizes: Sequence[int]) -> Lists:
        """Draw a family's lists, in which some reviews are under several variants."""
        sharing = self._chance.choice([0, 0.3, 1])
        lists: Lists = {sku: [] for sku in family}
        for sku in family:
            for _ in range(self._chance.choice(sizes) // (len(family) if sharing else 1)):
                review = self.review()
                for also in family:
                    if also == sku or self._chance.random() < sharing:
                        lists[also].append(review)
        return {sku: self._sorted(reviews) for sku, reviews in lists.items()}

    def review(self) -> dict[str, Any]:
        """Write a review, at a moment of its own unless the shop has ties."""
        chance = self._chance
        self._written += 1
        # An hour from the full day, so that "in the last so many days" is never a matter of when it is asked.
        hours = 25 + 7 * (self._written // 5 if self._ties else chance.randrange(1500))
        moment = self._now - _DAY * (hours // 24) - 3600 - (0 if self._ties else self._written / 1000)
        return {
            "id": f"r{self._written}-{chance.getrandbits(40):x}",
            "createdAt": datetime.fromtimestamp(moment, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "stars": chance.choice([1, 2, 3, 4, 5, 5]),
            "language": chance.choice(["en", "en", "de", "fr"]),
            "content": chance.choice(["", "x", "fine and well", "x" * 200]),
            "attachments": _PHOTO if chance.random() < 0.2 else [],
        }

    def _sorted(self, reviews: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(reviews, key=lambda review: review["createdAt"], reverse=True)

    def change(self, sku: str) -> None:
        """Let one of a variant's lists gain a review and lose one."""
        lists = self._chance.choice([self.own, self.imported])
        kept = lists[sku][:]
        if kept and self._chance.random() < 0.5:
            del kept[self._chance.randrange(len(kept))]
        lists[sku] = self._sorted([*kept, self.review()])
        self.tell(sku)

    def tell(self, sku: str) -> None:
        """Put a SKU into the sandbox."""
        [family] = [family for family in self.families if sku in family]
        page = self.page(family)
        self._sandbox.put_product(sku, self.own[sku], imported=self.imported[sku], product_url=page)

    def page(self, family: list[str]) -> str:
        """Return the address of a family's page."""
        return f"https://shop.example/{family[0]}"

    def lists(self, skus: Sequence[str], *, imported: bool) -> list[list[dict[str, Any]]]:
        """Return the full lists of ``skus``."""
        return [lists[sku] for lists in (self.own, self.imported)[: 2 if imported else 1] for sku in skus]


def _once(lists: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return list({review["id"]: review for reviews in lists for review in reviews}.values())


def _counts(lists: list[list[dict[str, Any]]]) -> tuple[float, int, list[int]]:
    """Return the average, how many reviews there are, and of each rating, every review counted once."""
    reviews = _once(lists)
    average, total = rating(reviews)
    counted = Counter(review["stars"] for review in reviews)
    return float(average), total, [counted[stars] for stars in range(1, 6)]


class Asking:
    """Asks questions about one shop, and compares."""

    def __init__(self, chance: random.Random, shop: Shop, proxy: RunningProxy) -> None:
        self._chance = chance
        self._shop = shop
        self._proxy = proxy
        self.asked = ""

    def one(self) -> None:
        """Ask one question, or let something change."""
        kinds: list[Callable[[], None]] = [
            *[self._reviews] * 6,
            *[self._cart, self._summary] * 2,
            *[self._page_of_list, self._trustpilots_summary, self._batch, self._changed],
        ]
        self._chance.choice(kinds)()

    def _get(self, path: str, params: dict[str, Any]) -> Any:
        self.asked = f"{path} {params}"
        answer = self._proxy.get(path, **params)
        assert answer.status_code == 200, answer.text
        if self._chance.random() < 0.1:
            again = self._proxy.get(path, **params)
            assert (again.content, again.headers["X-Cache"]) == (answer.content, "hit")
        return answer.json()

    def _which(self) -> tuple[dict[str, Any], list[str]]:
        """Draw variants of one product, in any order, or its page."""
        family = self._chance.choice(self._shop.families)
        if self._chance.random() < 0.2:
            return {"product_url": self._shop.page(family)}, family
        skus = self._chance.sample(
            family, self._chance.choice([1, len(family), self._chance.randint(1, len(family))])
        )
        return {"sku": ",".join(skus)}, skus

    def _imported(self) -> tuple[dict[str, Any], bool]:
        imported = self._chance.random() < 0.5
        return ({"imported": "true"} if imported else {}), imported

    def _chosen(self) -> dict[str, Any]:
        possible: dict[str, list[Any]] = {
            "stars": ["5", "4,5", "1", "2,3"],
            "language": ["en", "fr", "en,fr", "ja"],
            "limit": [1, 2, 7, 20],
            "sort": ["newest", "highest"],
            "min_chars": [0, 1, 10, 150],
            "max_age_days": [3, 40, 200, 3650],
            "with_image": ["true", "false"],
        }
        names = self._chance.sample(list(possible), self._chance.randint(0, 4))
        return {name: self._chance.choice(possible[name]) for name in names}

    def _same(self, shown: list[dict[str, Any]], lists: list[list[dict[str, Any]]], params: dict[str, Any]) -> None:
        """Compare reviews with what filtering the full lists gives; those of one moment may come in any order.

        Which one Trustpilot puts first, where it merges variants, is documented nowhere.
        """
        limit = params.get("limit", 3)
        matching = expected_ids(lists, {**params, "limit": 10**6}, time.time())
        known = {review["id"]: review for review in _once(lists)}

        def place(name: str) -> tuple[int, str]:
            review = known[name]
            return (-review["stars"] if params.get("sort") == "highest" else 0), review["createdAt"]

        ids = [review["id"] for review in shown]
        assert len(set(ids)) == len(ids) == min(limit, len(matching))
        assert set(ids) <= set(matching)
        assert [place(name) for name in ids] == [place(name) for name in matching[:limit]]
        brought = {review["id"] for reviews in self._shop.imported.values() for review in reviews}
        assert all((review["source"] == "imported") == (review["id"] in brought) for review in shown)

    def _rated(self, told: dict[str, Any], lists: list[list[dict[str, Any]]]) -> None:
        average, total, stars = _counts(lists)
        assert told["total"] == total
        assert [told["distribution"][name] for name in _NAMES] == stars
        assert told["average"] == (average if total else None)

    def _reviews(self) -> None:
        (which, skus), (more, imported), chosen = self._which(), self._imported(), self._chosen()
        lists = self._shop.lists(skus, imported=imported)
        if self._chance.random() < 0.2:
            more["fallback"] = "business"
        block = self._get("/v1/reviews", which | more | chosen)
        if "fallback" in more and not expected_ids(lists, chosen, time.time()):
            assert (block["scope"], block["summary"]["total"]) == ("business", self._shop.rated)
            return
        assert block["scope"] == "product"
        self._same(block["reviews"], lists, chosen)
        self._rated(block["summary"], lists)

    def _cart(self) -> None:
        skus = self._chance.sample(self._shop.skus, 3)
        (more, imported), chosen = self._imported(), self._chosen()
        body = self._get("/v1/products", {"skus": ",".join(skus)} | more | chosen)
        assert [block["sku"] for block in body["products"]] == skus
        for block in body["products"]:
            lists = self._shop.lists([block["sku"]], imported=imported)
            self._same(block["reviews"], lists, chosen)
            self._rated(block["summary"], lists)

    def _summary(self) -> None:
        (which, skus), (more, imported) = self._which(), self._imported()
        self._rated(self._get("/v1/summary", which | more), self._shop.lists(skus, imported=imported))

    def _page_of_list(self) -> None:
        """Trustpilot's own calls for reviews, of one list: its pages together are the list."""
        which, skus = self._which()
        which = {"productUrl" if name == "product_url" else name: value for name, value in which.items()}
        imported = self._chance.random() < 0.5
        per_page = self._chance.choice([7, 50, 100])
        stars = self._chance.choice([{}, {"stars": "4,5"}, {"stars": "1"}])
        listed: list[str] = []
        for page in itertools.count(1):
            params = {**which, **stars, "perPage": per_page, "page": page}
            body = self._get(f"{_DROP_IN}/{'imported-' if imported else ''}reviews", params)
            listed += [review["id"] for review in body["productReviews"]]
            if not body["links"]:
                break
        lists = self._shop.lists(skus, imported=True)[len(skus) if imported else 0 :][: len(skus)]
        matching = expected_ids(lists, {**stars, "limit": 10**6, "min_chars": 0})
        moments = {review["id"]: review["createdAt"] for review in _once(lists)}
        assert [moments[name] for name in listed] == [moments[name] for name in matching][: len(listed)]
        assert len(set(listed)) == len(listed) >= min(len(matching), 1000)

    def _trustpilots_summary(self) -> None:
        which, skus = self._which()
        which = {"productUrl" if name == "product_url" else name: value for name, value in which.items()}
        imported = self._chance.random() < 0.5
        told = self._get(_DROP_IN + ("/imported-reviews-summaries" if imported else ""), which)
        self._same_counts(told, self._shop.lists(skus, imported=True)[len(skus) if imported else 0 :][: len(skus)])

    def _batch(self) -> None:
        skus = self._chance.sample(self._shop.skus, 3)
        self.asked = f"batch-summaries {skus}"
        url, headers = f"{self._proxy.url}{_DROP_IN}/batch-summaries", {"X-Api-Key": SECRET}
        answer = requests.post(url, json={"skus": skus}, headers=headers, timeout=20).json()
        for sku, told in zip(skus, answer["summaries"], strict=True):
            assert told["sku"] == sku
            self._same_counts(told, self._shop.lists([sku], imported=False))

    def _same_counts(self, told: dict[str, Any], lists: list[list[dict[str, Any]]]) -> None:
        average, total, stars = _counts(lists)
        numbers = told["numberOfReviews"]
        assert (numbers["total"], [numbers[word] for word in STAR_WORDS]) == (total, stars)
        assert told["starsAverage"] == average

    def _changed(self) -> None:
        """Let a variant change and have it forgotten: whatever held a review of it is to be right afterwards."""
        family = self._chance.choice(self._shop.families)
        sku = self._chance.choice(family)
        self.asked = f"purge {sku}"
        self._shop.change(sku)
        for which in ({"sku": sku}, {"product_url": self._shop.page(family)}):
            headers = {"X-Api-Key": SECRET}
            purged = requests.post(f"{self._proxy.url}/v1/cache/purge", params=which, headers=headers, timeout=20)
            assert purged.status_code == 200


def test_each_answer_is_what_the_full_lists_say(sandbox: RunningSandbox) -> None:
    seed = int(os.environ.get("EXACT_SEED", "0")) or (random.SystemRandom().getrandbits(32) if CASES else 18)
    chance = random.Random(seed)
    plenty = {f"TRUSTPILOT_CALLS_PER_{time_}": "1000000" for time_ in ("5_MINUTES", "HOUR")}
    asked = 0
    # More time than a stand-in needs on a busy machine: what is asked here is whether answers are right.
    with RunningProxy(
        sandbox, keep_alive=5, DEADLINE_SECONDS="20", TRUSTPILOT_CALLS_PER_YEAR="unlimited", **plenty
    ) as proxy:
        while asked < (CASES or 2 * QUESTIONS):
            shop = Shop(chance, sandbox, f"S{asked}")
            asking = Asking(chance, shop, proxy)
            for _ in range(QUESTIONS):
                asked += 1
                try:
                    asking.one()
                except AssertionError as error:
                    pytest.fail(f"EXACT_SEED={seed}, question {asked}: {asking.asked}: {error}")
    print(f"{asked} questions, every answer exact (EXACT_SEED={seed})")
