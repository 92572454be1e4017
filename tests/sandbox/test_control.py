from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from tests.running import RunningSandbox
from tests.sandbox.callers import REVIEWS_PATH, all_reviews, call, reviews, summary

NAN = float("nan")


def _review(name: str, created: object = "2024-01-01T00:00:00Z", stars: object = 5) -> dict[str, object]:
    return {"id": name, "createdAt": created, "stars": stars}


def _ids(sandbox: RunningSandbox, sku: str, **params: Any) -> list[Any]:
    return [review["id"] for review in all_reviews(sandbox, sku, **params)]


def test_calls_are_counted_by_kind(sandbox: RunningSandbox) -> None:
    reviews(sandbox, "TRUCK-01")
    summary(sandbox, "TRUCK-01")
    call(sandbox, REVIEWS_PATH, headers={"apikey": "wrong"})
    assert sandbox.calls() == {"reviews": 2, "summary": 1}
    ledger = sandbox.ledger()
    assert (ledger.total, ledger.most_at_once, ledger.under_way) == (3, 1, 0)


def test_reviews_calls_are_remembered_with_what_they_asked_for(sandbox: RunningSandbox) -> None:
    before = time.time()
    reviews(sandbox, "TRUCK-01", stars=[4, 5], perPage=100)
    (remembered,) = sandbox.ledger().calls
    assert (remembered.kind, remembered.skus) == ("reviews", ["TRUCK-01"])
    assert remembered.query == {"sku": ["TRUCK-01"], "stars": ["4", "5"], "perPage": ["100"]}
    assert before <= remembered.at <= time.time()


def test_batch_calls_are_remembered_with_their_skus(sandbox: RunningSandbox) -> None:
    path = REVIEWS_PATH.removesuffix("/reviews") + "/batch-summaries"
    call(sandbox, path, "POST", json={"skus": ["B", "A"]})
    assert [called.skus for called in sandbox.ledger().calls] == [["B", "A"]]


def test_control_calls_do_not_count(sandbox: RunningSandbox) -> None:
    sandbox.control("GET", "/")
    assert sandbox.calls() == {}


def test_a_products_reviews_come_newest_first_in_whatever_order_they_were_given(sandbox: RunningSandbox) -> None:
    given = [
        _review("undated", None),
        _review("old", "2023-12-31T23:59:59Z"),
        _review("new", "2024-05-01T00:00:00.500Z"),
        _review("twin a", "2024-03-01T12:00:00.000Z"),
        _review("twin b", "2024-03-01T14:00:00+02:00"),
        _review("nonsense", "yesterday"),
    ]
    sandbox.put_product("MIXED", given)
    assert _ids(sandbox, "MIXED") == ["new", "twin a", "twin b", "old", "undated", "nonsense"]


@pytest.mark.parametrize("sku", ["with space", "a/b//c", "50% & more", "größe?x=1#y", "日本", "a+b"])
def test_a_product_can_have_odd_skus(sandbox: RunningSandbox, sku: str) -> None:
    sandbox.put_product(sku, [_review("it")])
    assert _ids(sandbox, sku) == ["it"]


def test_a_products_reviews_may_be_anything_json_can_hold(sandbox: RunningSandbox) -> None:
    given: list[object] = [_review("sound"), None, 5, "text", [], {"stars": "5"}, {"content": "\ud800"}]
    sandbox.put_product("ODD", given)
    assert all_reviews(sandbox, "ODD") == given
    assert _ids(sandbox, "ODD", stars=5) == ["sound"]
    assert summary(sandbox, "ODD")["numberOfReviews"]["total"] == 1


def test_averages_have_one_decimal_with_halves_rounded_up(sandbox: RunningSandbox) -> None:
    sandbox.put_product("HALF", [_review(str(stars), stars=stars) for stars in (5, 4, 4, 4)])
    assert summary(sandbox, "HALF")["starsAverage"] == 4.3


def test_the_second_business_units_products_can_be_set_too(sandbox: RunningSandbox) -> None:
    sandbox.put_product("TRUCK-01", [], business_unit=sandbox.second_business_unit)
    assert len(all_reviews(sandbox, "TRUCK-01")) == 153
    path = REVIEWS_PATH.replace(sandbox.business_unit, sandbox.second_business_unit)
    assert call(sandbox, path, params={"sku": "TRUCK-01"}).json()["productReviews"] == []


def test_many_products_can_be_generated(sandbox: RunningSandbox) -> None:
    skus = sandbox.generate(2000, 100, "GEN-")
    assert (len(skus), skus[0], skus[-1]) == (2000, "GEN-1", "GEN-2000")
    first, last = all_reviews(sandbox, "GEN-1"), all_reviews(sandbox, "GEN-2000")
    assert (len(first), len(last)) == (100, 100)
    assert first != last
    assert len({review["content"] for review in first}) > 30
    assert len({review["id"] for review in first + last}) == 200
    assert all_reviews(sandbox, "GEN-1") == first


def test_a_reset_forgets_everything(sandbox: RunningSandbox) -> None:
    reviews(sandbox, "TRUCK-01")
    sandbox.behave("fail")
    sandbox.limit(0, 60)
    sandbox.put_product("TRUCK-01", [])
    sandbox.generate(1, 1, "NEW-00")
    sandbox.reset()
    assert sandbox.calls() == {}
    assert len(all_reviews(sandbox, "TRUCK-01")) == 153


@pytest.mark.parametrize(
    ("method", "path", "payload", "message"),
    [
        ("PUT", "/behaviour", {"mode": "explode"}, "mode takes one of ok, slow"),
        ("PUT", "/behaviour", {}, "mode takes one of"),
        ("PUT", "/behaviour", "hang", "the body takes a JSON object with mode"),
        ("PUT", "/behaviour", [{"mode": "ok"}, 5], "the body takes a JSON object"),
        ("PUT", "/behaviour", {"mode": ["ok"]}, "mode takes one of"),
        ("PUT", "/behaviour", {"mode": "ok", "kind": "reviews"}, "there is no kind; the body takes mode"),
        ("PUT", "/behaviour", {"mode": "ok", "kinds": "reviews"}, "kinds takes a list of reviews, summary"),
        ("PUT", "/behaviour", {"mode": "ok", "kinds": ["review"]}, "kinds takes a list of reviews, summary"),
        ("PUT", "/behaviour", {"mode": "ok", "skus": [1]}, "skus takes a list of SKUs"),
        ("PUT", "/behaviour", {"mode": "ok", "times": 0}, "times takes a whole number"),
        ("PUT", "/behaviour", {"mode": "ok", "times": True}, "times takes a whole number"),
        ("PUT", "/behaviour", {"mode": "slow", "seconds": -1}, "seconds takes seconds, from 0"),
        ("PUT", "/behaviour", {"mode": "slow", "seconds": NAN}, "seconds takes seconds, from 0"),
        ("PUT", "/behaviour", {"mode": "slow", "seconds": "1"}, "seconds takes seconds, from 0"),
        ("PUT", "/behaviour", {"mode": "fail", "status": 200}, "status takes a whole number from 300 to 599"),
        ("PUT", "/behaviour", {"mode": "rate_limit", "retry_after": 1.5}, "retry_after takes seconds or text"),
        (
            "PUT",
            "/behaviour",
            {"mode": "rate_limit", "retry_after": "1\r\nX: y"},
            "retry_after takes seconds or text that fits",
        ),
        ("PUT", "/behaviour", {"mode": "wrong_shape", "shape": "round"}, "shape takes one of list"),
        ("PUT", "/limit", {"calls": -1, "seconds": 1}, "calls takes a whole number"),
        ("PUT", "/limit", {"calls": 1}, "seconds takes seconds, from 0"),
        ("PUT", "/limit", [], "the body takes a JSON object with calls, seconds"),
        ("PUT", "/products/A", {"reviews": 5}, "reviews takes a list of reviews"),
        ("PUT", "/products/A?business_unit=unknown", [], "business_unit takes one of"),
        ("POST", "/generate", {"products": 0, "reviews": 1}, "products takes a whole number"),
        ("POST", "/generate", {"products": 1, "reviews": 1, "prefix": 5}, "prefix takes text"),
        ("PUT", "/token", {"seconds": "1"}, "seconds takes a whole number"),
        ("PUT", "/token", {"as_number": "yes"}, "as_number takes true or false"),
        ("PUT", "/lists", {"feed_order": "random"}, "feed_order takes one of newest, oldest, shuffled"),
        ("PUT", "/lists", {"lost_page": 1}, "lost_page takes a whole number from 2"),
        ("PUT", "/lists", {"order": "newest"}, "there is no order; the body takes reviews_order"),
        ("PUT", "/shops/new", {}, "name takes text"),
        ("POST", "/change", {"changes": 1}, "seed takes a whole number"),
        ("POST", "/change", {"changes": 1, "seed": 1, "kinds": ["lost"]}, "kinds takes a list of added, edited"),
        ("POST", "/change", {"changes": 1, "seed": 1, "kinds": []}, "kinds takes a list of added, edited"),
        ("POST", "/delete", {"reviewId": 5}, "reviewId takes text"),
        ("PUT", "/behaviour", {"mode": "ok", "business_units": "one"}, "business_units takes a list"),
    ],
)
def test_what_the_control_plane_cannot_use_is_refused(
    sandbox: RunningSandbox, method: str, path: str, payload: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sandbox.control(method, path, payload)
    assert sandbox.control("GET", "/").json()["behaviour"] == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_a_400(sandbox: RunningSandbox, body: bytes) -> None:
    answer = requests.put(f"{sandbox.url}/_sandbox/behaviour", data=body, timeout=20)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("the body takes JSON")


def test_unknown_paths_and_wrong_methods_answer_in_json(sandbox: RunningSandbox) -> None:
    assert requests.get(f"{sandbox.url}/_sandbox/nothing", timeout=20).json()["message"]
    answer = requests.post(f"{sandbox.url}/_sandbox/behaviour", timeout=20)
    assert (answer.status_code, "PUT" in answer.headers["Allow"]) == (405, True)
    assert answer.json()["message"]


def test_the_overview_tells_what_there_is(sandbox: RunningSandbox) -> None:
    told = sandbox.control("GET", "/").json()
    assert (told["api_url"], told["api_key"]) == (sandbox.api_url, sandbox.api_key)
    assert told["business_units"][sandbox.business_unit]["TRUCK-01"] == 153
