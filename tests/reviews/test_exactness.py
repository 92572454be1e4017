"""Answers equal a brute-force model over the full lists, whatever was read of them and in whatever order it came."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.api.parameters import Query, selection, view
from proxy.clock import Deadline
from proxy.reviews import View
from proxy.reviews.models import PER_PAGE
from proxy.reviews.view import STAR_WORDS
from tests.reviews.model import NOW, catalogues, expected_ids, floors, odd_catalogues, parameters, rating
from tests.reviews.trustpilot import FullLists, merged, reads
from tests.running import RunningProxy, RunningSandbox

SECONDS_EACH = 2

CASES = int(os.environ.get("EXACT_CASES", "0"))
exact = settings(
    max_examples=CASES // 10 or 80,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_names = itertools.count()


def _answer(
    products: dict[str, list[dict[str, Any]]],
    params: dict[str, Any],
    imported: dict[str, list[dict[str, Any]]] | None = None,
    *,
    alone_before: bool = False,
) -> list[str]:
    """``alone_before``: each SKU was asked for by itself, so that copies of all are there."""
    text = "&".join(f"{name}={value}" for name, value in params.items())
    query = Query.parse(f"sku={','.join(products)}&{text}".encode())
    summaries = {sku: _summary(reviews) for sku, reviews in products.items()}
    proxy = reads(FullLists(products, summaries, imported))
    asked = selection(query, ("u",), imported=imported is not None)
    for sku in products if alone_before else ():
        proxy.block(replace(asked, skus=(sku,)), View(), Deadline.after(60))
    found = proxy.block(asked, view(query, lambda: NOW), Deadline.after(60))
    known = {review["id"] for reviews in (imported or {}).values() for review in reviews}
    assert all((review["source"] == "imported") == (review["id"] in known) for review in found.body["reviews"])
    return [str(review["id"]) for review in found.body["reviews"]]


def _lists(own: list[list[dict[str, Any]]], *more: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """Return the lists that are read where there is a copy of each: Trustpilot merges those that no page holds whole.

    It decides the order of reviews of one moment only.
    """
    groups = [own, *more]
    if all(len(each) <= PER_PAGE for group in groups for each in group):
        return [each for group in groups for each in group]
    return [merged(group) for group in groups]


def _summary(reviews: list[dict[str, Any]]) -> dict[str, Any]:
    average, total = rating(reviews)
    counted = Counter(review["stars"] for review in reviews)
    return {
        "starsAverage": float(average),
        "numberOfReviews": {"total": total, **{word: counted[n] for n, word in enumerate(STAR_WORDS, start=1)}},
    }


@given(catalogues(), parameters, floors)
@exact
def test_one_sku_answers_as_filtering_the_full_list_would(
    reviews: list[dict[str, Any]], params: dict[str, Any], floor: dict[str, Any]
) -> None:
    assert _answer({"A": reviews}, params | floor) == expected_ids([reviews], params | floor)


@given(catalogues("a"), catalogues("b"), parameters, floors)
@exact
def test_merged_skus_answer_as_merging_the_full_lists_would(
    one: list[dict[str, Any]], other: list[dict[str, Any]], params: dict[str, Any], floor: dict[str, Any]
) -> None:
    products, params = {"A": one, "B": other}, params | floor
    assert _answer(products, params, alone_before=True) == expected_ids(_lists([one, other]), params)
    assert _answer(products, params) == expected_ids([merged([one, other])], params)


@given(catalogues("a"), catalogues("b"), catalogues("c"), catalogues("d"), parameters, floors)
@exact
def test_imported_reviews_are_merged_as_merging_the_full_lists_would(
    one: list[dict[str, Any]],
    other: list[dict[str, Any]],
    one_imported: list[dict[str, Any]],
    other_imported: list[dict[str, Any]],
    params: dict[str, Any],
    floor: dict[str, Any],
) -> None:
    params |= floor
    products, imported = {"A": one, "B": other}, {"A": one_imported, "B": other_imported}
    assert _answer({"A": one}, params, imported) == expected_ids([one, one_imported], params)
    lists = _lists([one, other], [one_imported, other_imported])
    assert _answer(products, params, imported, alone_before=True) == expected_ids(lists, params)
    both = [merged([one, other]), merged([one_imported, other_imported])]
    assert _answer(products, params, imported) == expected_ids(both, params)


@given(odd_catalogues(), parameters)
@exact
def test_lists_in_no_order_with_equal_moments_and_reviews_that_come_twice_are_answered_exactly(
    lists: list[list[dict[str, Any]]], params: dict[str, Any]
) -> None:
    products = dict(zip("ABC", lists, strict=False))
    assert _answer(products, params, alone_before=True) == expected_ids(_lists(lists), params)


def test_a_sample_is_exact_through_real_http(sandbox: RunningSandbox, proxy: RunningProxy) -> None:
    @given(st.tuples(catalogues()) | st.tuples(catalogues("a"), catalogues("b")), parameters, floors)
    @settings(exact, max_examples=CASES // 10 or 40, database=None)
    def is_exact(lists: Sequence[list[dict[str, Any]]], params: dict[str, Any], floor: dict[str, Any]) -> None:
        params |= floor
        skus = [f"RANDOM-{next(_names)}" for _ in lists]
        for sku, reviews in zip(skus, lists, strict=True):
            sandbox.put_product(sku, reviews)
        answer = proxy.get("/v1/reviews", sku=",".join(skus), **params).json()
        assert [review["id"] for review in answer["reviews"]] == expected_ids([merged(lists)], params, time.time())

    is_exact()
