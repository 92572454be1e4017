"""The calls about a whole shop: what they ask, with which token, and what a refusal means."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from proxy.clock import Priority
from proxy.reviews.view import Summary
from proxy.trustpilot import NoAccess, TurnedAway
from proxy.trustpilot.changes import NO_ACCESS, DeletionCalls, ShopCalls
from tests.trustpilot.upstream import Upstream, Walk

_SUMMARY = {"sku": "A", "starsAverage": 4.5, "numberOfReviews": {"total": 2, "fourStars": 1, "fiveStars": 1}}
_REVIEW = {
    "id": "r1",
    "stars": 5,
    "content": "Fine",
    "createdAt": "2024-10-14T17:42:40Z",
    "referenceId": "ORDER-77",
    "consumer": {"id": "c1", "displayName": "Ann", "email": "ann@b.example"},
    "product": {"sku": " A ", "productUrl": "https://shop.example/a"},
}
_BASE = "/v1/private/product-reviews/business-units/un%2Fit"


def _token(number: int) -> tuple[int, object]:
    return 200, {"access_token": f"token-{number}", "expires_in": 360_000}


@pytest.fixture
def shop(upstream: Upstream, walk: Walk) -> ShopCalls:
    return ShopCalls(walk.calls, walk.tokens, api_url=upstream.url)


def test_a_page_of_the_feed_is_read_with_the_token_and_without_personal_data(
    upstream: Upstream, walk: Walk, shop: ShopCalls
) -> None:
    upstream.answers = [_token(1), (200, {"productReviews": [_REVIEW, {**_REVIEW, "product": None}]})]
    [item], given = shop.feed("un/it", 3, priority=Priority.FEED)
    assert (item.sku, item.product_url, item.written, given) == ("A", "https://shop.example/a", 1728927760.0, 2)
    assert (item.review.id, item.review.stars, item.review.content) == ("r1", 5, "Fine")
    assert "ann@" not in repr(item)
    assert "ORDER" not in repr(item)
    page = upstream.asked[1]
    assert (page.method, page.path, page.query) == ("GET", f"{_BASE}/reviews", [("page", "3"), ("perPage", "100")])
    assert (page.headers["Authorization"], page.headers["Accept"]) == ("Bearer token-1", "application/json")
    assert walk.used == 2


def test_the_summaries_of_a_shop_are_read_a_thousand_a_page(upstream: Upstream, shop: ShopCalls) -> None:
    unreadable = {"sku": "B", "numberOfReviews": 7}
    upstream.answers = [_token(1), (200, {"summaries": [unreadable, 7, {"sku": 8}, _SUMMARY]})]
    summaries, given = shop.summaries("un/it", 2, priority=Priority.FEED)
    assert (list(summaries), given) == ([("A", Summary(4.5, 2, (0, 0, 0, 1, 1)))], 4)
    assert upstream.asked[1].path == f"{_BASE}/summaries"
    assert upstream.asked[1].query == [("page", "2"), ("perPage", "1000")]


def test_a_token_that_is_refused_is_renewed_once_and_the_call_made_again(
    upstream: Upstream, walk: Walk, shop: ShopCalls
) -> None:
    upstream.answers = [_token(1), (401, {}), _token(2), (200, {"productReviews": []})]
    assert shop.feed("un/it", 1, priority=Priority.FEED) == ([], 0)
    assert [each.headers["Authorization"] for each in upstream.asked[1::2]] == ["Bearer token-1", "Bearer token-2"]
    assert shop.feed("un/it", 1, priority=Priority.FEED) == ([], 0)
    assert upstream.asked[-1].headers["Authorization"] == "Bearer token-2"
    assert not walk.breaker.pauses()


def test_a_new_token_that_is_refused_too_is_not_renewed_again(upstream: Upstream, shop: ShopCalls) -> None:
    upstream.answers = [_token(1), (401, {}), _token(2), (401, {})]
    with pytest.raises(NoAccess, match=f"^{NO_ACCESS} with 401$"):
        shop.feed("un/it", 1, priority=Priority.FEED)
    with pytest.raises(NoAccess, match="refuses new access tokens too"):
        shop.feed("un/it", 1, priority=Priority.FEED)
    assert [each.method for each in upstream.asked] == ["POST", "GET", "POST", "GET", "GET"]


def test_a_403_is_no_access_and_pauses_nobody(upstream: Upstream, walk: Walk, shop: ShopCalls) -> None:
    upstream.answers = [_token(1), (403, {})]
    for _ in range(20):
        with pytest.raises(NoAccess, match=f"^{NO_ACCESS} with 403$"):
            shop.feed("un/it", 1, priority=Priority.FEED)
    assert not walk.breaker.pauses()
    assert [each.method for each in upstream.asked].count("POST") == 1


def test_wrong_credentials_are_no_access_too(upstream: Upstream, shop: ShopCalls) -> None:
    upstream.answers = [(400, {})]
    with pytest.raises(NoAccess, match="refuses the proxy's API key and secret with 400"):
        shop.feed("un/it", 1, priority=Priority.FEED)


def test_a_firewalls_page_is_no_refusal_of_the_shop(upstream: Upstream, shop: ShopCalls) -> None:
    upstream.answers = [_token(1), (403, b"<html>go away</html>")]
    with pytest.raises(TurnedAway):
        shop.feed("un/it", 1, priority=Priority.FEED)


@pytest.fixture
def deletions(upstream: Upstream, walk: Walk) -> DeletionCalls:
    return DeletionCalls(walk.calls, api_url=upstream.url, api_key="the key")


def test_deletions_are_listed_page_by_page_and_cost_nothing_of_the_plan(
    upstream: Upstream, walk: Walk, deletions: DeletionCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = []
    spend = walk.quota.spend

    def counted(*, priority: Priority, free: bool = False) -> None:
        spent.append((priority, free))
        spend(priority=priority, free=free)

    monkeypatch.setattr(walk.quota, "spend", counted)
    listed = {"reviews": [{"reviewId": "r1"}, {"reviewId": ""}, {"reviewId": 7}, 7, {}], "nextToken": "next"}
    upstream.answers = [(200, listed), (200, {"consumers": [{"consumerId": "c1"}], "nextToken": ""})]
    assert deletions.reviews(1728927760.9, None) == (["r1"], "next")
    assert deletions.consumers(1728927760.9, "next") == (["c1"], None)
    first, second = upstream.asked
    assert (first.method, first.path) == ("GET", "/v1/reviews/deletions")
    assert first.query == [("startDate", "2024-10-14T17:42:40Z"), ("limit", "1000")]
    assert (first.headers["apikey"], first.headers["Accept"]) == ("the key", "application/json")
    assert second.path == "/v1/consumers/deletions"
    assert second.query == [*first.query, ("nextToken", "next")]
    assert spent == [(Priority.FEED, True)] * 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_list_of_deletions_pauses_nobody(
    upstream: Upstream, walk: Walk, deletions: DeletionCalls, status: int
) -> None:
    upstream.answers = [(status, {})]
    for since in range(20):
        with pytest.raises(NoAccess, match=f"^Trustpilot refuses its list of deletions with {status}$"):
            deletions.reviews(since, None)
    assert not walk.breaker.pauses()


def test_a_firewalls_page_is_no_refusal_of_the_list(upstream: Upstream, deletions: DeletionCalls) -> None:
    upstream.answers = [(403, b"<html>go away</html>")]
    with pytest.raises(TurnedAway):
        deletions.reviews(0, None)


@pytest.mark.parametrize("name", ["reviews", "consumers"])
def test_a_list_of_deletions_that_trustpilot_does_not_know_is_in_the_log(
    upstream: Upstream, walk: Walk, deletions: DeletionCalls, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    call: Callable[[float, str | None], object] = getattr(deletions, name)
    upstream.answers = [(404, {})]
    with caplog.at_level(logging.WARNING), pytest.raises(Exception, match=r"^Trustpilot does not know this$"):
        call(0, None)
    assert f"Trustpilot answered 404 for deleted_{name} of business unit " in caplog.messages
