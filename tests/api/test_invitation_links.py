"""Links to write a review through a real proxy: what arrives at Trustpilot, what it costs, what Braze is told."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
import requests

from tests.running import SECRET, UNIT, RunningProxy, RunningRedis, RunningSandbox, Served, served_here

SECOND = RunningSandbox.second_business_unit
_numbers = count(1)


@pytest.fixture(scope="module")
def started_linker(started_sandbox: RunningSandbox) -> Iterator[Served]:
    with served_here(
        started_sandbox,
        TRUSTPILOT_BUSINESS_UNIT_ID=f"{UNIT},{SECOND}",
        # A busy machine has all the time it takes; who tests the deadline has a proxy of its own.
        UPSTREAM_TIMEOUT_SECONDS="10",
        DEADLINE_SECONDS="10",
    ) as proxy:
        yield proxy


@pytest.fixture
def linker(sandbox: RunningSandbox, started_linker: Served) -> Served:
    return started_linker


def customer(**changed: Any) -> dict[str, Any]:
    """What is asked for a customer of its own; a change to ``None`` takes the field out."""
    number = next(_numbers)
    body = {
        "email": f"ada.lovelace{number}@example.com",
        "name": "Ada Lovelace",
        "reference": f"order-{number}",
        **changed,
    }
    return {name: value for name, value in body.items() if value is not None}


def ask(proxy: Served, body: Any, *, as_form: bool = False) -> requests.Response:
    sent = {"data": body} if as_form else {"json": body}
    headers = {"X-Api-Key": SECRET}
    return requests.post(f"{proxy.url}/v1/invitation-links", headers=headers, timeout=30, **sent)


@pytest.mark.parametrize("as_form", [False, True])
def test_a_link_for_products_names_them_to_trustpilot(
    sandbox: RunningSandbox, linker: Served, *, as_form: bool
) -> None:
    body = customer(
        sku=["TRUCK-01", "LAMP-01, MUG-01"], locale="en_us", redirect_url="https://shop.example/thanks?a=b"
    )
    answer = ask(linker, body, as_form=as_form)
    assert answer.status_code == 200
    assert answer.json()["found"] is True
    assert answer.json()["url"].startswith("https://products.trustpilot.example/")
    assert answer.headers["Cache-Control"] == "no-store"
    (arrived,) = sandbox.links()
    assert arrived["business_unit"] == UNIT
    assert arrived["body"] == {
        "consumer": {"email": body["email"], "name": "Ada Lovelace"},
        "referenceId": body["reference"],
        "locale": "en-US",
        "redirectUri": "https://shop.example/thanks?a=b",
        "products": [{"sku": "TRUCK-01"}, {"sku": "LAMP-01"}, {"sku": "MUG-01"}],
    }


def test_the_business_unit_may_stand_in_the_query_too_as_for_invitations(
    sandbox: RunningSandbox, linker: Served
) -> None:
    for query, body, status in ((SECOND, {}, 200), (SECOND, {"business_unit": UNIT}, 200), ("nope", {}, 400)):
        url = f"{linker.url}/v1/invitation-links?business_unit={query}"
        answer = requests.post(url, json=customer(**body), headers={"X-Api-Key": SECRET}, timeout=30)
        assert answer.status_code == status
    assert [link["business_unit"] for link in sandbox.links()] == [SECOND, UNIT]


def test_a_link_without_a_sku_is_for_the_shop(sandbox: RunningSandbox, linker: Served) -> None:
    body = customer(business_unit=SECOND, reference=1017)
    assert ask(linker, body).json()["url"].startswith("https://www.trustpilot.example/evaluate/")
    (arrived,) = sandbox.links()
    assert arrived["business_unit"] == SECOND
    assert arrived["body"] == {"email": body["email"], "name": "Ada Lovelace", "referenceNumber": "1017"}


def test_the_same_again_is_the_same_link_without_a_call(sandbox: RunningSandbox, linker: Served) -> None:
    body = customer(sku="TRUCK-01")
    first = ask(linker, body)
    again = ask(linker, {**body, "email": body["email"].upper(), "name": "rendered anew"}, as_form=True)
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(sandbox.links()) == 1


def test_many_at_once_cost_a_call_for_each_customer(sandbox: RunningSandbox, linker: Served) -> None:
    ask(linker, customer())  # the sandbox was reset, and knows no token of before
    sandbox.behave("slow", kinds=["product_links"], seconds=0.1)
    bodies = [customer(sku="TRUCK-01") for _ in range(10)]
    with ThreadPoolExecutor(40) as callers:
        answers = list(callers.map(lambda body: ask(linker, body), bodies * 8))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["url"] for answer in answers}) == 10
    assert sandbox.calls()["product_links"] == 10


def test_workers_that_share_a_redis_share_the_links(sandbox: RunningSandbox, redis_server: RunningRedis) -> None:
    body = customer()
    with (
        served_here(sandbox, CACHE_URL=redis_server.url) as one,
        served_here(sandbox, CACHE_URL=redis_server.url) as other,
    ):
        assert ask(one, body).json() == ask(other, body).json()
    assert sandbox.calls() == {"token": 1, "service_links": 1}


def test_without_the_store_no_link_is_asked_for_and_that_is_said(
    sandbox: RunningSandbox, redis_server: RunningRedis
) -> None:
    with served_here(sandbox, CACHE_URL=redis_server.url) as proxy:
        redis_server.kill()
        answer = ask(proxy, customer())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert answer.json()["detail"] == "the store that remembers links can't be reached; no link was asked for"
    assert sandbox.links() == []


WRONG = [
    ({"mode": "fail", "status": 500}, 503, "Trustpilot answered 500"),
    ({"mode": "rate_limit", "retry_after": 7}, 429, "rate limit"),
    ({"mode": "fail", "status": 401}, 502, "the proxy's credentials are wrong, not the caller's"),
    ({"mode": "fail", "status": 403}, 502, "the proxy's credentials are wrong, not the caller's"),
    ({"mode": "reset"}, 503, "could not be reached"),
    ({"mode": "html"}, 503, "holds no link"),
]


@pytest.mark.parametrize(("behaviour", "status", "detail"), WRONG, ids=[str(each[0]) for each in WRONG])
def test_a_failing_trustpilot_is_told_as_for_invitations_and_asked_again(
    sandbox: RunningSandbox, linker: Served, behaviour: dict[str, Any], status: int, detail: str
) -> None:
    sandbox.behave(kinds=["service_links"], **behaviour)
    body = customer()
    failed = ask(linker, body)
    assert failed.status_code == status
    assert failed.headers["Content-Type"] == "application/problem+json"
    assert detail in failed.json()["detail"]
    assert failed.json()["found"] is False
    assert failed.headers["Retry-After"] == str(behaviour.get("retry_after", 30))
    assert body["email"] not in failed.text
    sandbox.behave("ok")
    assert ask(linker, body).status_code == 200


def test_a_link_that_comes_after_the_deadline_is_for_the_next_who_asks(sandbox: RunningSandbox) -> None:
    sandbox.behave("slow", kinds=["service_links"], seconds=1.2, times=1)
    body = customer()
    with served_here(sandbox, DEADLINE_SECONDS="0.4") as proxy:
        late = ask(proxy, body)
        assert (late.status_code, late.headers["Retry-After"]) == (504, "5")
        until = time.monotonic() + 20
        while (again := ask(proxy, body)).status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
    assert again.json()["found"] is True
    assert len(sandbox.links()) == 1


def test_trustpilots_refusal_is_told_and_not_remembered(sandbox: RunningSandbox, linker: Served) -> None:
    sandbox.behave("fail", kinds=["service_links"], status=422, times=1)
    body = customer()
    refused = ask(linker, body)
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("Trustpilot refuses this link with 422: ")
    assert ask(linker, body).status_code == 200


BAD = [
    ({"email": "ada news@example.com"}, "email: not an e-mail address"),
    ({"name": None}, "name: required"),
    ({"reference": "${order}"}, "reference: unrendered Liquid"),
    ({"sku": "A,,B"}, "sku: an empty SKU"),
    ({"business_unit": "nobody"}, "business_unit: takes a configured business unit"),
]
"""More of them: tests/invitations/test_links.py."""


@pytest.mark.parametrize("as_form", [False, True])
@pytest.mark.parametrize(("changed", "detail"), BAD, ids=[each[1] for each in BAD])
def test_a_wrong_value_is_a_400_that_names_its_field_and_not_the_value(
    sandbox: RunningSandbox, linker: Served, changed: dict[str, Any], detail: str, *, as_form: bool
) -> None:
    answer = ask(linker, customer(**changed), as_form=as_form)
    assert (answer.status_code, answer.json()["found"]) == (400, False)
    assert answer.json()["detail"].startswith(detail)
    assert "@" not in answer.json()["detail"].replace("name@example.com", "")
    assert sandbox.links() == []


@pytest.mark.parametrize(
    ("sent", "content_type", "status", "detail"),
    [
        (b"{}", "text/plain", 415, "application/x-www-form-urlencoded"),
        (b"[]", "application/json", 400, "JSON object"),
        (b'{"email": 5}', "application/json", 400, "email: not text"),
        (b"name=A&name=B", "application/x-www-form-urlencoded", 400, "name: given twice"),
        (b"ada@example.com=1&ada@example.com=2", "application/x-www-form-urlencoded", 400, "email: "),
        (b"email=%ff", "application/x-www-form-urlencoded", 400, "email: not valid UTF-8"),
        (b"name=" + b"x" * 262_144, "application/x-www-form-urlencoded", 413, "262144 bytes"),
    ],
)
def test_a_body_that_is_none_is_refused(
    sandbox: RunningSandbox, linker: Served, sent: bytes, content_type: str, status: int, detail: str
) -> None:
    answer = requests.post(
        f"{linker.url}/v1/invitation-links",
        data=sent,
        headers={"X-Api-Key": SECRET, "Content-Type": content_type},
        timeout=10,
    )
    assert answer.status_code == status
    assert detail in answer.json()["detail"]
    assert "ada@" not in answer.text
    assert sandbox.calls() == {}


def test_a_field_that_means_nothing_is_ignored(sandbox: RunningSandbox, linker: Served) -> None:
    answer = requests.post(
        f"{linker.url}/v1/invitation-links",
        data=[*customer().items(), ("other", "1"), ("other", "2"), ("", b"\xff")],
        headers={"X-Api-Key": SECRET},
        timeout=10,
    )
    assert (answer.status_code, answer.json()["found"]) == (200, True)


def test_without_a_secret_links_are_not_set_up(sandbox: RunningSandbox) -> None:
    with served_here(sandbox, TRUSTPILOT_API_SECRET="") as proxy:
        assert ask(proxy, customer()).status_code == 501


def test_the_address_is_in_no_log_metric_or_url(
    sandbox: RunningSandbox, linker: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body = customer(sku="TRUCK-01", name="Augusta King")
    ask(linker, body, as_form=True)
    sandbox.behave("fail", kinds=["product_links"], status=400)
    ask(linker, customer(email=body["email"], name="Augusta King", sku="LAMP-01"))
    metrics = requests.get(f"{linker.url}/metrics", headers={"X-Api-Key": SECRET}, timeout=10).text
    assert 'route="/v1/invitation-links"' in metrics
    for told in (caplog.text, metrics):
        assert body["email"] not in told
        assert "Augusta" not in told


def test_a_narrowed_credential_needs_the_right_to_invite(sandbox: RunningSandbox) -> None:
    with served_here(sandbox, PROXY_CREDENTIALS=f"braze:{SECRET}:read") as proxy:
        assert ask(proxy, customer()).status_code == 403
    assert sandbox.calls() == {}


def test_under_gunicorn_a_link_comes_by_post_only(sandbox: RunningSandbox, proxy: RunningProxy) -> None:
    assert ask(proxy, customer()).status_code == 200
    assert proxy.get("/v1/invitation-links").status_code == 405
