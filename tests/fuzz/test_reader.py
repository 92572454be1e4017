"""Any answer of Trustpilot's: well-typed reviews and counts, or the error that says it is malformed."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from proxy.api.schemas import SCHEMAS
from proxy.reviews.models import Page, Review, Source, read_review
from proxy.reviews.view import Summary, View, product_block
from proxy.trustpilot import Malformed
from proxy.trustpilot.client import read_batch_summaries, read_reviews
from proxy.trustpilot.private import LONGEST_SECONDS, read_token
from tests.fuzz.effort import fuzzed
from tests.fuzz.outside import ANY_JSON, NUMBERS, REVIEWS, TEXT, damaged, mostly, written
from tests.reviews.trustpilot import NoAssets

LINKS = st.lists(
    st.one_of(st.just({"rel": "next-page"}), st.fixed_dictionaries({"rel": ANY_JSON}), ANY_JSON), max_size=3
)
ANSWERS = st.fixed_dictionaries(
    {"productReviews": mostly(st.lists(st.one_of(REVIEWS, REVIEWS, ANY_JSON), max_size=6))},
    optional={"links": mostly(LINKS), "more": ANY_JSON},
)
BODIES = st.one_of(ANSWERS.map(written), damaged(ANSWERS.map(written)), ANY_JSON.map(written), st.binary(max_size=60))
VIEWS = st.builds(
    View,
    limit=st.integers(1, 20),
    min_chars=st.integers(0, 5),
    max_chars=st.one_of(st.none(), st.integers(20, 40)),
    languages=st.frozensets(st.sampled_from(["en", "da"])),
    html=st.booleans(),
)
FIELDS = {field.encode_name for field in msgspec.structs.fields(Review)}
VALIDATOR = jsonschema.Draft202012Validator(
    {"$ref": "#/components/schemas/Block", "components": {"schemas": SCHEMAS}}
)


def check_review(review: Review) -> None:
    assert type(review.stars) is int
    assert 1 <= review.stars <= 5
    assert not review.content or isinstance(review.content, str)
    moment = review.moment
    assert moment is None or moment.utcoffset() is not None


def read(body: bytes) -> Page:
    try:
        return read_reviews(body)
    except Malformed:
        assume(False)
        raise


@fuzzed
@given(BODIES)
@example(b'{"productReviews": [{"stars": 5, "createdAt": "0001-01-01T00:00:00+23:59"}]}')
@example(b'{"productReviews": [], "n": 1e999}')
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 100_000)
@example(b'{"productReviews": [{"stars": 5, "content": "\xff"}]}')
@example(b'{"productReviews": [{"stars": 5, "attributeRatings": [{"rating": %s}]}]}' % (b"9" * 400))
def test_any_answer_gives_well_typed_reviews_or_is_malformed(body: bytes) -> None:
    page = read(body)
    for raw in page.raw:
        check_review(read_review(raw))
    assert page.dropped >= 0
    assert page.raw or not page.dropped
    assert Page.decode(page.encode()) == page


@fuzzed
@given(ANSWERS)
@example({"productReviews": [{"stars": 1, "attributeRatings": [{"rating": 2.0**53 + 2}]}, None]})
@example({"productReviews": [{"stars": 1, "attributeRatings": [{"rating": 2**70}]}, None]})
def test_each_review_is_kept_or_counted_as_dropped_also_among_others_that_are_odd(answer: dict[str, Any]) -> None:
    page = read(written(answer))
    assert len(page.raw) + page.dropped == len(answer["productReviews"])
    fine = {"stars": 5, "id": "fine"}
    # One at a time, so that an odd one does not have the others read the slow way.
    alone = [read_reviews(written({"productReviews": [one, fine]})) for one in answer["productReviews"]]
    assert [raw for one in alone for raw in one.raw[:-1]] == page.raw
    assert [review for one in alone for review in one.index[:-1]] == page.index
    assert all(set(json.loads(raw)) <= FIELDS for raw in page.raw)


@fuzzed
@given(ANSWERS, VIEWS)
@example({"productReviews": [{"stars": 5, "content": "x", "createdAt": "0999-01-01T00:00:00Z"}]}, View())
@example({"productReviews": [{"stars": 5, "content": "x", "unheardOf": ["\ud800"]}]}, View())
def test_whatever_is_kept_can_be_answered_as_the_contract_says(answer: dict[str, Any], view: View) -> None:
    page = read(written(answer))
    reviews = [read_review(raw) for review, raw in page.items if view.accepts(review)][: view.limit]
    shown: list[tuple[Review, Source]] = [(review, "imported") for review in reviews]
    block = product_block("A", Summary.of_reviews(page.index), shown, view, NoAssets(), "u")
    sent = json.loads(json.dumps(block, allow_nan=False, ensure_ascii=False).encode())
    VALIDATOR.validate(sent)
    for review in sent["reviews"]:
        assert view.max_chars is None or not view.max_chars < len(review["content"]) or view.html
        assert review["image"] is None or review["image"].startswith(("http://", "https://"))
        if review["date"] is not None:
            assert len(review["date"]) == 10
            assert review["created_at"].startswith(review["date"])
            assert len(review["created_at"]) == 20


COUNTS = st.fixed_dictionaries(
    {},
    optional={
        name: mostly(st.one_of(st.integers(0, 9), NUMBERS))
        for name in ("total", "oneStar", "twoStars", "threeStars", "fourStars", "fiveStars")
    },
)
SUMMARIES = st.fixed_dictionaries(
    {
        "summaries": mostly(
            st.lists(
                st.fixed_dictionaries(
                    {"sku": mostly(TEXT)},
                    optional={"starsAverage": mostly(NUMBERS), "numberOfReviews": mostly(COUNTS)},
                ),
                max_size=4,
            )
        )
    }
)


def _five_times(count: int) -> dict[str, Any]:
    return {"summaries": [{"sku": "A", "numberOfReviews": {"total": count, "oneStar": count, "twoStars": count}}] * 5}


@fuzzed
@given(st.one_of(SUMMARIES.map(written), damaged(SUMMARIES.map(written)), st.binary(max_size=40)))
@example(written(_five_times(9 * 10**4299)))
def test_any_batch_of_summaries_gives_counts_that_can_be_answered_or_is_malformed(body: bytes) -> None:
    try:
        counted = read_batch_summaries(body)
    except Malformed:
        return
    assert all(isinstance(sku, str) for sku in counted)
    summaries = [summary for summary in counted.values() if isinstance(summary, Summary)]
    for summary in [*summaries, Summary.merged([*summaries, *summaries])] if summaries else []:
        assert Summary.decode(summary.encode()) == summary
        sent = json.loads(json.dumps(product_block("A", summary, [], View(), NoAssets(), "u"), allow_nan=False))
        VALIDATOR.validate(sent)
        json.dumps(summary.in_trustpilots_shape(), allow_nan=False)


TOKENS = st.fixed_dictionaries(
    {},
    optional={
        "access_token": mostly(TEXT),
        "expires_in": mostly(
            st.one_of(st.integers(0, 10**6).map(str), NUMBERS, st.sampled_from(["nan", "1e999", "-1"]))
        ),
    },
)


@fuzzed
@given(st.one_of(TOKENS.map(written), damaged(TOKENS.map(written)), st.binary(max_size=40)), st.integers(0, 2**33))
@example(b'{"access_token": "t", "expires_in": Infinity}', 0)
@example(b"\xff\xfe", 0)
def test_any_answer_gives_a_token_that_fits_a_header_and_ends_or_is_malformed(body: bytes, now: int) -> None:
    try:
        token = read_token(body, now)
    except Malformed:
        return
    assert token.text
    assert all("!" <= character <= "~" for character in token.text)
    assert now <= token.renew_at <= token.expires_at <= now + LONGEST_SECONDS


@pytest.mark.parametrize("kind", ["Block"])
def test_the_schema_that_answers_are_held_against_refuses_a_wrong_block(kind: str) -> None:
    assert kind in SCHEMAS
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({**product_block("A", None, [], View(), NoAssets(), "u"), "found": 1})
