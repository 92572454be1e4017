"""Answers equal a brute-force model over the full lists, whatever was read of them and in whatever order it came."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings

from proxy.api.parameters import Query, selection, view
from proxy.clock import Deadline
from proxy.reviews.summary import STAR_WORDS
from tests.reviews.model import NOW, catalogues, expected_ids, floors, odd_catalogues, parameters, rating
from tests.reviews.trustpilot import FullLists, reads
from tests.running import RunningProxy, RunningSandbox

_names = itertools.count()


def _answer(products: dict[str, list[dict[str, Any]]], params: dict[str, Any]) -> list[str]:
    text = "&".join(f"{name}={value}" for name, value in params.items())
    query = Query.parse(f"sku={','.join(products)}&{text}".encode())
    summaries = {sku: _summary(reviews) for sku, reviews in products.items()}
    found = reads(FullLists(products, summaries)).block(
        selection(query, ("u",)), view(query, lambda: NOW), Deadline.after(10)
    )
    return [review["id"] for review in found.body["reviews"]]


def _summary(reviews: list[dict[str, Any]]) -> dict[str, Any]:
    average, total = rating(reviews)
    counted = Counter(review["stars"] for review in reviews)
    return {
        "starsAverage": float(average),
        "numberOfReviews": {"total": total, **{word: counted[n] for n, word in enumerate(STAR_WORDS, start=1)}},
    }


@given(catalogues(), parameters, floors)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_one_sku_answers_as_filtering_the_full_list_would(
    reviews: list[dict[str, Any]], params: dict[str, Any], floor: dict[str, Any]
) -> None:
    assert _answer({"A": reviews}, params | floor) == expected_ids([reviews], params | floor)


@given(catalogues("a"), catalogues("b"), parameters)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_merged_skus_answer_as_merging_the_full_lists_would(
    one: list[dict[str, Any]], other: list[dict[str, Any]], params: dict[str, Any]
) -> None:
    assert _answer({"A": one, "B": other}, params) == expected_ids([one, other], params)


@given(odd_catalogues(), parameters)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_lists_in_no_order_with_equal_moments_and_reviews_that_come_twice_are_answered_exactly(
    lists: list[list[dict[str, Any]]], params: dict[str, Any]
) -> None:
    products = dict(zip("ABC", lists, strict=False))
    assert _answer(products, params) == expected_ids(lists, params)


def test_a_sample_is_exact_through_real_http(sandbox: RunningSandbox, proxy: RunningProxy) -> None:
    @given(catalogues(), parameters, floors)
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    def is_exact(reviews: list[dict[str, Any]], params: dict[str, Any], floor: dict[str, Any]) -> None:
        params |= floor
        sku = f"RANDOM-{next(_names)}"
        sandbox.put_product(sku, reviews)
        answer = proxy.get("/v1/reviews", sku=sku, **params).json()
        assert [review["id"] for review in answer["reviews"]] == expected_ids([reviews], params, time.time())

    is_exact()
