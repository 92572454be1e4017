"""Purge and webhook on real sockets: what changed at Trustpilot is in the next answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.exposition import value
from tests.running import SECRET, UNIT, RunningProxy, RunningRedis, RunningSandbox


@pytest.fixture(scope="module")
def started_proxies(started_sandbox: RunningSandbox) -> Iterator[dict[str, RunningProxy]]:
    started_sandbox.reset()
    with (
        RunningRedis() as redis,
        RunningProxy(started_sandbox) as alone,
        RunningProxy(started_sandbox, CACHE_URL=redis.patient_url, WEB_CONCURRENCY="1") as shared,
    ):
        yield {"memory": alone, "redis": shared}


@pytest.fixture(params=["memory", "redis"])
def proxy(
    request: pytest.FixtureRequest, sandbox: RunningSandbox, started_proxies: dict[str, RunningProxy]
) -> RunningProxy:
    """A proxy that holds nothing of the products of this file."""
    proxy = started_proxies[request.param]
    assert _post(proxy, "/v1/cache/purge?sku=LAMP,OTHER,NEW-00,MUG-01,BLENDER-450").status_code == 200
    # A refresh that the test before has begun would be counted in this one.
    while value(proxy, "ccproxy_upstream_in_flight"):
        time.sleep(0.01)
    sandbox.reset()
    return proxy


def _review(name: str, stars: int, day: int, content: str = "Good") -> dict[str, Any]:
    return {
        "id": name,
        "createdAt": f"2024-10-{day:02d}T10:00:00Z",
        "stars": stars,
        "content": content,
        "consumer": {"id": "c", "displayName": "Ann"},
        "language": "en",
        "attributeRatings": [],
        "attachments": [],
        "firstCompanyComment": None,
    }


def _event(what: str, review: dict[str, Any], sku: str = "LAMP") -> dict[str, Any]:
    data = {**review, "product": {"sku": sku}, "state": "published"}
    return {"eventName": f"product-review-{what}", "version": "1", "eventData": data}


def _post(proxy: RunningProxy, path: str, **how: Any) -> requests.Response:
    return requests.post(proxy.url + path, headers={"X-Api-Key": SECRET}, timeout=20, **how)


def _tell(proxy: RunningProxy, *events: dict[str, Any]) -> None:
    answer = _post(proxy, "/hooks/trustpilot", json={"events": list(events)})
    assert (answer.status_code, answer.json()) == (200, {"applied": len(events), "ignored": 0})


def _ids(proxy: RunningProxy, sku: str = "LAMP", **params: Any) -> list[str]:
    return [review["id"] for review in proxy.get("/v1/reviews", sku=sku, limit=20, **params).json()["reviews"]]


@pytest.fixture
def lamp(sandbox: RunningSandbox, proxy: RunningProxy) -> RunningProxy:
    """A proxy that holds the three reviews of LAMP."""
    sandbox.put_product("LAMP", [_review("c", 5, 3), _review("b", 4, 2), _review("a", 1, 1)])
    assert _ids(proxy) == ["c", "b", "a"]
    assert sandbox.calls() == {"reviews": 1}
    return proxy


def test_a_deleted_review_is_gone_from_the_very_next_read_without_a_call(
    sandbox: RunningSandbox, lamp: RunningProxy
) -> None:
    _tell(lamp, _event("deleted", {"id": "b"}))
    answer = lamp.get("/v1/reviews", sku="LAMP").json()
    assert [review["id"] for review in answer["reviews"]] == ["c", "a"]
    assert (answer["summary"]["total"], answer["summary"]["average"]) == (2, 3.0)
    assert _ids(lamp, stars=4) == []
    assert lamp.get("/v1/summary", sku="LAMP").json()["total"] == 2
    assert sandbox.calls() == {"reviews": 1}


def test_a_created_review_is_in_its_place_without_a_call(sandbox: RunningSandbox, lamp: RunningProxy) -> None:
    _tell(lamp, _event("created", _review("d", 2, 4)), _event("created", _review("between", 3, 2, "Yes")))
    assert _ids(lamp) == ["d", "c", "between", "b", "a"]
    _tell(lamp, _event("created", _review("d", 2, 4)))
    assert _ids(lamp) == ["d", "c", "between", "b", "a"], "told twice, held once"
    assert sandbox.calls() == {"reviews": 1}


def test_an_updated_review_is_changed_without_a_call(sandbox: RunningSandbox, lamp: RunningProxy) -> None:
    _tell(lamp, _event("updated", _review("b", 1, 2, "Broke after a week")))
    [bad, worst] = lamp.get("/v1/reviews", sku="LAMP", stars=1).json()["reviews"]
    assert (bad["id"], bad["content"], bad["author"], worst["id"]) == ("b", "Broke after a week", "Ann", "a")
    assert sandbox.calls() == {"reviews": 1}


def test_an_updated_review_of_which_the_event_lacks_fields_is_changed_and_fetched(
    sandbox: RunningSandbox, lamp: RunningProxy
) -> None:
    reply = {"comment": "Sorry", "createdAt": "2024-10-20T10:00:00Z"}
    sandbox.put_product("LAMP", [{**_review("b", 1, 2, "Broke after a week"), "firstCompanyComment": reply}])
    _tell(lamp, _as_trustpilot_sends("updated", _review("b", 1, 2, "Broke after a week")))
    answer = lamp.get("/v1/reviews", sku="LAMP", stars=1)
    bad = answer.json()["reviews"][0]
    assert (answer.headers["X-Cache"], bad["content"], bad["reply"]) == ("stale", "Broke after a week", None)
    while lamp.get("/v1/reviews", sku="LAMP", stars=1).json()["reviews"][0]["reply"] != "Sorry":
        assert sandbox.calls()["reviews"] <= 2
    assert sandbox.calls() == {"reviews": 2}


def _await_the_fetch_beside_the_answer(sandbox: RunningSandbox) -> None:
    """Or the next test would count it."""
    while sandbox.calls() != {"reviews": 2}:
        time.sleep(0.01)


def _as_trustpilot_sends(what: str, review: dict[str, Any]) -> dict[str, Any]:
    """Return the event in Trustpilot's own shape: poorer than the API's, and with personal data."""
    lacking = ("language", "attributeRatings", "attachments", "firstCompanyComment")
    told = {name: value for name, value in review.items() if name not in lacking}
    consumer = {"id": "c", "name": "Bo", "email": "bo@reviewer.example"}
    return _event(what, {**told, "consumer": consumer, "referenceId": "ORDER-77"})


def test_a_webhook_in_trustpilots_own_shape_shows_the_author_and_no_personal_data(
    sandbox: RunningSandbox, lamp: RunningProxy
) -> None:
    sandbox.put_product("LAMP", [_review("d", 5, 4)])
    _tell(
        lamp, _as_trustpilot_sends("created", _review("d", 5, 4)), _as_trustpilot_sends("updated", _review("b", 1, 2))
    )
    drop_in = lamp.get(f"/v1/product-reviews/business-units/{UNIT}/reviews", sku="LAMP")
    assert [review["consumer"] for review in drop_in.json()["productReviews"]] == [
        {"id": "c", "displayName": name} for name in ("Bo", "Ann", "Bo", "Ann")
    ]
    assert "bo@reviewer.example" not in drop_in.text
    assert "ORDER-77" not in drop_in.text
    _await_the_fetch_beside_the_answer(sandbox)


def test_an_update_without_an_author_keeps_the_known_one(sandbox: RunningSandbox, lamp: RunningProxy) -> None:
    _tell(lamp, _event("updated", {"id": "b", "content": "Meh", "consumer": {"id": "c", "name": None}}))
    review = lamp.get("/v1/reviews", sku="LAMP", limit=20).json()["reviews"][1]
    assert (review["author"], review["content"]) == ("Ann", "Meh")
    _await_the_fetch_beside_the_answer(sandbox)


def test_a_new_review_whose_language_no_event_tells_is_fetched_with_the_next_read(
    sandbox: RunningSandbox, lamp: RunningProxy
) -> None:
    sandbox.put_product("LAMP", [_review("d", 5, 4)])
    _tell(lamp, _as_trustpilot_sends("created", _review("d", 5, 4)))
    assert lamp.get("/v1/reviews", sku="LAMP", language="en").headers["X-Cache"] == "stale"
    while _ids(lamp, language="en") != ["d"]:
        assert sandbox.calls()["reviews"] <= 2
    assert sandbox.calls() == {"reviews": 2}


def test_a_deletion_that_names_the_review_only_finds_it_among_what_is_held(
    sandbox: RunningSandbox, lamp: RunningProxy
) -> None:
    sandbox.put_product("OTHER", [_review('"odd" id', 5, 3), _review("x", 5, 2)])
    assert _ids(lamp, sku="OTHER", format="text") == ['"odd" id', "x"]
    names = ("b", '"odd" id', "never seen")
    _tell(lamp, *({"eventName": "product-review-deleted", "eventData": {"id": name}} for name in names))
    assert _ids(lamp) == ["c", "a"]
    assert _ids(lamp, sku="OTHER", format="text") == ["x"]
    assert sandbox.calls() == {"reviews": 2}


def test_a_deletion_that_names_the_review_only_reaches_the_other_workers(
    sandbox: RunningSandbox, redis_server: RunningRedis
) -> None:
    sandbox.put_product("LAMP", [_review("b", 4, 2), _review("a", 1, 1)])
    with (
        RunningProxy(sandbox, CACHE_URL=redis_server.url, WEB_CONCURRENCY="1") as one,
        RunningProxy(sandbox, CACHE_URL=redis_server.url, WEB_CONCURRENCY="1") as other,
    ):
        assert _ids(one) == ["b", "a"]
        # The one that is told has never read the product itself.
        _tell(other, {"eventName": "product-review-deleted", "eventData": {"id": "b"}})
        assert _ids(other) == ["a"]
        while _ids(one) != ["a"]:
            pass
    assert sandbox.calls() == {"reviews": 1}


def test_an_empty_test_event_is_taken(proxy: RunningProxy) -> None:
    answer = _post(proxy, "/hooks/trustpilot", json={})
    assert (answer.status_code, answer.json()) == (200, {"applied": 0, "ignored": 0})


def test_thousands_of_events_in_one_webhook_are_applied(sandbox: RunningSandbox, lamp: RunningProxy) -> None:
    events = [_event("updated", {"id": "b", "stars": 1 + place % 5}) for place in range(2_999)]
    events.append(_event("updated", _review("b", 5, 2)))
    products = [_event("deleted", {"id": "b"}, sku=f"P-{place}") for place in range(300)]
    _tell(lamp, *events, *products)
    assert lamp.get("/v1/reviews", sku="LAMP", limit=20).json()["reviews"][1]["stars"] == 5
    assert sandbox.calls() == {"reviews": 1}


def test_a_review_that_was_taken_down_is_gone(lamp: RunningProxy) -> None:
    event = _event("updated", _review("c", 5, 3))
    event["eventData"]["state"] = "underModeration"
    _tell(lamp, event)
    assert _ids(lamp) == ["b", "a"]


def test_an_event_that_tells_too_little_has_the_page_fetched_with_the_next_read(
    sandbox: RunningSandbox, lamp: RunningProxy
) -> None:
    sandbox.put_product("LAMP", [_review("d", 5, 4)])
    _tell(lamp, _event("created", {"id": "d", "stars": 5}))
    assert lamp.get("/v1/reviews", sku="LAMP").headers["X-Cache"] == "stale"
    while _ids(lamp) != ["d"]:
        assert sandbox.calls()["reviews"] <= 2
    assert sandbox.calls() == {"reviews": 2}


@pytest.mark.parametrize("what", ["created", "updated", "deleted"])
def test_an_event_that_names_its_product_only_has_it_fetched(
    sandbox: RunningSandbox, lamp: RunningProxy, what: str
) -> None:
    sandbox.put_product("LAMP", [_review("d", 5, 4)])
    _tell(lamp, _event(what, {}))
    answer = lamp.get("/v1/reviews", sku="LAMP", limit=20)
    assert (answer.headers["X-Cache"], answer.json()["count"]) == ("stale", 3)
    while _ids(lamp) != ["d"]:
        assert sandbox.calls()["reviews"] <= 2
    assert sandbox.calls() == {"reviews": 2}


def test_the_first_review_of_a_product_without_reviews_appears(sandbox: RunningSandbox, proxy: RunningProxy) -> None:
    assert _ids(proxy, sku="NEW-00") == []
    _tell(proxy, _event("created", _review("first", 5, 1), sku="NEW-00"))
    assert _ids(proxy, sku="NEW-00") == ["first"]
    assert sandbox.calls() == {"reviews": 1}


def test_of_a_product_with_more_than_a_page_the_next_read_is_right_and_the_rest_is_fetched(
    sandbox: RunningSandbox, proxy: RunningProxy
) -> None:
    newest, second = _ids(proxy, sku="BLENDER-450")[:2]
    _tell(proxy, _event("deleted", {"id": newest}, sku="BLENDER-450"))
    answer = proxy.get("/v1/reviews", sku="BLENDER-450", limit=1)
    assert answer.json()["reviews"][0]["id"] == second
    assert answer.headers["X-Cache"] == "stale"


def test_events_about_products_that_are_not_held_change_nothing(sandbox: RunningSandbox, proxy: RunningProxy) -> None:
    _tell(proxy, _event("created", _review("x", 5, 1), sku="MUG-01"))
    assert "x" not in _ids(proxy, sku="MUG-01")
    assert sandbox.calls()["reviews"] == 1


def test_other_events_are_counted_and_ignored(lamp: RunningProxy) -> None:
    events = [{"eventName": "service-review-created", "eventData": {"id": "x"}}, _event("deleted", {"id": "a"}), 7]
    answer = _post(lamp, "/hooks/trustpilot", json={"events": events})
    assert answer.json() == {"applied": 1, "ignored": 2}
    assert _ids(lamp) == ["c", "b"]


def test_a_purge_forgets_the_product_and_the_next_read_fetches_it(
    sandbox: RunningSandbox, lamp: RunningProxy
) -> None:
    sandbox.put_product("LAMP", [_review("z", 5, 9)])
    assert _ids(lamp) == ["c", "b", "a"]
    answer = _post(lamp, "/v1/cache/purge?sku=LAMP,MUG-01")
    assert (answer.status_code, answer.json()) == (200, {"purged": ["LAMP", "MUG-01"]})
    fetched = lamp.get("/v1/reviews", sku="LAMP")
    assert (fetched.headers["X-Cache"], fetched.json()["reviews"][0]["id"]) == ("miss", "z")
    assert sandbox.calls() == {"reviews": 2}


def test_a_purge_names_the_address_it_was_given(shared_proxy: RunningProxy) -> None:
    answer = _post(shared_proxy, "/v1/cache/purge?product_url=https://shop.example/lamp")
    assert answer.json() == {"purged": ["https://shop.example/lamp"]}


def test_anonymous_callers_change_nothing_of_what_is_held(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, PROXY_ALLOW_ANONYMOUS="true") as proxy:
        for path in ("/v1/cache/purge?sku=A", "/hooks/trustpilot"):
            assert requests.post(proxy.url + path, json={"events": []}, timeout=20).status_code == 401


@pytest.mark.parametrize(
    ("how", "status", "says"),
    [
        ({"json": {"events": {}}}, 400, "no list of events"),
        ({"json": []}, 400, "not a JSON object"),
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "not JSON"),
        ({"data": {"events": "x"}}, 415, ""),
        ({"json": {"events": ["x" * 2_000_000]}}, 413, ""),
    ],
)
def test_a_body_that_is_no_webhook_is_a_clear_problem(
    shared_proxy: RunningProxy, how: dict[str, Any], status: int, says: str
) -> None:
    headers = {"X-Api-Key": SECRET, **how.pop("headers", {})}
    answer = requests.post(f"{shared_proxy.url}/hooks/trustpilot", headers=headers, timeout=20, **how)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/cache/purge", "sku: required"),
        ("/v1/cache/purge?sku=", "rendered to nothing"),
        ("/v1/cache/purge?sku=A&business_unit=x", "business_unit is 'x'"),
        ("/hooks/trustpilot?business_unit=x", "business_unit is 'x'"),
    ],
)
def test_a_wrong_parameter_is_named(shared_proxy: RunningProxy, path: str, says: str) -> None:
    answer = _post(shared_proxy, path, json={"events": []})
    assert answer.status_code == 400
    assert says in answer.json()["detail"]


def test_another_configured_business_unit_is_meant_by_its_parameter(sandbox: RunningSandbox) -> None:
    other = sandbox.second_business_unit
    with RunningProxy(sandbox, TRUSTPILOT_BUSINESS_UNIT_ID=f"{UNIT},{other}") as proxy:
        for unit in (UNIT, other):
            sandbox.put_product("LAMP", [_review("a", 5, 1)], business_unit=unit)
            assert _ids(proxy, business_unit=unit) == ["a"]
        event = {"events": [_event("deleted", {"id": "a"})]}
        assert _post(proxy, f"/hooks/trustpilot?business_unit={other}", json=event).status_code == 200
        assert _ids(proxy, business_unit=other) == []
        assert _ids(proxy, business_unit=UNIT) == ["a"]


def test_without_redis_the_caller_is_told_that_others_were_not(
    sandbox: RunningSandbox, redis_server: RunningRedis
) -> None:
    with RunningProxy(sandbox, CACHE_URL=redis_server.url, WEB_CONCURRENCY="2") as proxy:
        redis_server.kill()
        answer = _post(proxy, "/v1/cache/purge?sku=LAMP")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "this worker only" in answer.json()["detail"]
        assert proxy.get("/readyz").status_code == 503
