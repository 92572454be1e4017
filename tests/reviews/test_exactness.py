"""Answers equal a brute-force model over the full list, whatever was read of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings

from proxy.api.parameters import Query, selection, view
from proxy.app import spawn
from proxy.cache import Cache, Flights, Lifetimes, MemoryStore
from proxy.clock import Deadline, Priority
from proxy.reviews import ProductReviews
from proxy.trustpilot import ReviewsPage, SummaryCounts
from tests.reviews.model import catalogues, expected_ids, parameters
from tests.running import RunningProxy, RunningSandbox

_names = itertools.count()


class FullList:
    """Trustpilot's reviews call over full lists in memory, filtering and paging as documented."""

    def __init__(self, products: dict[str, list[dict[str, Any]]]) -> None:
        self.products = products

    def reviews(
        self,
        business_unit: str,
        sku: str,
        *,
        stars: Sequence[int],
        language: str | None,
        locale: str | None,
        page: int,
        priority: Priority,
    ) -> ReviewsPage:
        matching = [
            review
            for review in self.products[sku]
            if (not stars or review["stars"] in stars) and (not language or review["language"] == language)
        ]
        return ReviewsPage(matching[(page - 1) * 100 : page * 100], len(matching) > page * 100, 0)

    def batch_summaries(
        self, business_unit: str, skus: Sequence[str], *, priority: Priority
    ) -> dict[str, SummaryCounts]:
        return {}


def _answer(full: FullList, params: dict[str, Any]) -> list[str]:
    clock = iter(range(10**6)).__next__
    cache = Cache(MemoryStore(10**7, clock), Flights(spawn), Lifetimes(10**7, 10**7, 10**7), clock)
    reviews = ProductReviews(cache, full, clock)
    text = "&".join(f"{name}={value}" for name, value in params.items())
    query = Query.parse(f"sku={','.join(full.products)}&{text}".encode())
    found = reviews.block(selection(query, ("u",)), view(query), Deadline.after(10))
    return [review["id"] for review in found.body["reviews"]]


@given(catalogues(), parameters)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_one_sku_answers_as_filtering_the_full_list_would(
    reviews: list[dict[str, Any]], params: dict[str, Any]
) -> None:
    assert _answer(FullList({"A": reviews}), params) == expected_ids(reviews, params)


@given(catalogues("a"), catalogues("b"), parameters)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_merged_skus_answer_as_merging_the_full_lists_would(
    one: list[dict[str, Any]], other: list[dict[str, Any]], params: dict[str, Any]
) -> None:
    merged = sorted([*one, *other], key=lambda review: review["createdAt"], reverse=True)
    assert _answer(FullList({"A": one, "B": other}), params) == expected_ids(merged, params)


def test_a_sample_is_exact_through_real_http(sandbox: RunningSandbox, proxy: RunningProxy) -> None:
    @given(catalogues(), parameters)
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    def is_exact(reviews: list[dict[str, Any]], params: dict[str, Any]) -> None:
        sku = f"RANDOM-{next(_names)}"
        sandbox.put_product(sku, reviews)
        answer = proxy.get("/v1/reviews", sku=sku, **params).json()
        assert [review["id"] for review in answer["reviews"]] == expected_ids(reviews, params)

    is_exact()
