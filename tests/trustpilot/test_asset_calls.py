"""The calls for pictures and the shop's page: at nobody's cost, and only what may stand in a message comes back."""

from __future__ import annotations

import pytest

from proxy.clock import Priority
from proxy.trustpilot import Busy, Failing, NotFound
from proxy.trustpilot.brand_assets import AssetCalls
from proxy.trustpilot.circuit_breaker import RUN, Call
from tests.trustpilot.upstream import Attempt, Upstream, Walk


def _assets(upstream: Upstream, walk: Walk) -> AssetCalls:
    return AssetCalls(walk.calls, api_url=upstream.url, api_key="the key")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://cdn.example/a_1.png?x=1", "https://cdn.example/a_1.png?x=1"),
        ("//cdn.example/a.png", "https://cdn.example/a.png"),
        ("http://cdn.example/a.png", None),
        ('https://cdn.example/a.png" onload="x', None),
        ("https:///a.png", None),
        (7, None),
        (None, None),
    ],
)
def test_a_picture_of_stars_is_an_address_that_may_stand_in_a_message(
    upstream: Upstream, walk: Walk, url: object, shown: str | None
) -> None:
    upstream.answers = [(200, {"star256x48": {"url": url}})]
    assert _assets(upstream, walk).stars_image(4.5) == shown
    [asked] = upstream.asked
    assert (asked.method, asked.path) == ("GET", "/v1/resources/images/stars/4.5")
    assert asked.headers["apikey"] == "the key"
    assert (asked.headers["Accept"], asked.headers["Priority"]) == ("application/json", "u=7")
    assert walk.used == 1


@pytest.mark.parametrize("answer", [{}, {"star256x48": "https://cdn.example/a.png"}])
def test_an_answer_without_a_picture_has_none(upstream: Upstream, walk: Walk, answer: object) -> None:
    upstream.answers = [(200, answer)]
    assert _assets(upstream, walk).stars_image(5.0) is None
    assert upstream.asked[0].path == "/v1/resources/images/stars/5"


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ({"identifying": "shop.example"}, "https://www.trustpilot.com/review/shop.example"),
        ({"identifying": "shop.example/en"}, "https://www.trustpilot.com/review/shop.example/en"),
        ({"identifying": "smörgås.example"}, "https://www.trustpilot.com/review/sm%C3%B6rg%C3%A5s.example"),
        ({"identifying": "shop.example?x"}, None),
        ({"identifying": 7}, None),
        ({}, None),
        ("shop.example", None),
        (None, None),
    ],
)
def test_a_shops_page_is_made_of_its_domain(upstream: Upstream, walk: Walk, name: object, page: str | None) -> None:
    upstream.answers = [(200, {"name": name})]
    assert _assets(upstream, walk).shop_page("un/it") == page
    assert upstream.asked[0].path == "/v1/business-units/un%2Fit"


def test_what_trustpilot_refuses_is_an_error(upstream: Upstream, walk: Walk) -> None:
    upstream.answers = [(404, {"star256x48": {"url": "https://cdn.example/a.png"}})]
    with pytest.raises(NotFound):
        _assets(upstream, walk).stars_image(4.5)
    assert not walk.breaker.is_open


@pytest.mark.parametrize(("calls", "used", "made"), [(100, 49, True), (100, 50, False), (99, 0, False)])
def test_none_is_made_when_a_window_is_half_used_or_small(
    upstream: Upstream, calls: int, used: int, made: bool
) -> None:
    walk = Walk(upstream.url, calls=calls)
    for _ in range(used):
        walk.quota.spend(priority=Priority.FOREGROUND)
    upstream.answers = [(200, {"star256x48": {"url": "https://cdn.example/a.png"}})]
    if made:
        assert _assets(upstream, walk).stars_image(4.5)
    else:
        with pytest.raises(Busy, match=r"^no calls to spare$"):
            _assets(upstream, walk).stars_image(4.5)
    assert len(upstream.asked) == made


def test_none_is_made_while_calls_are_paused(upstream: Upstream, walk: Walk) -> None:
    for number in range(RUN):
        Attempt(walk.breaker, Call("unit", "reviews", frozenset([str(number)]))).failed(Failing("down"))
    with pytest.raises(Busy):
        _assets(upstream, walk).shop_page("unit")
    assert upstream.asked == []
