"""Reads are answered past Flask, by HEAD as by GET."""

from __future__ import annotations

import pytest
from flask import Flask, request_started
from flask.testing import FlaskClient

from proxy import create_app
from proxy.api import DROP_IN_BATCH_SUMMARIES, RIGHT_FOR
from proxy.settings import Settings
from tests.running import SECRET, UNIT, RunningSandbox, proxy_environment

OWN = {"X-Request-Id", "Server-Timing"}
READS = sorted(
    route
    for route, right in RIGHT_FOR.items()
    if right == "read" and route.startswith("/v1/") and route != DROP_IN_BATCH_SUMMARIES
)


@pytest.fixture(scope="module")
def app(started_sandbox: RunningSandbox) -> Flask:
    started_sandbox.reset()
    return create_app(Settings.from_environment(proxy_environment(started_sandbox)))


def _both(client: FlaskClient, path: str, headers: dict[str, str]) -> list[tuple[int, dict[str, str]]]:
    """Return the status and the headers by GET and by HEAD, but for what is each answer's own.

    Both of one moment: how old a copy is they say in whole seconds, of which one may end between them.
    """
    client.get(path, headers=headers)  # from here on both find it cached
    for _ in range(20):
        answers = [ask(path, headers=headers) for ask in (client.get, client.head, client.get)]
        by_get, by_head, by_get_again = [
            (answer.status_code, {name: value for name, value in answer.headers if name not in OWN})
            for answer in answers
        ]
        if by_get == by_get_again:
            break
    return [by_get, by_head]


@pytest.mark.parametrize("route", READS)
@pytest.mark.parametrize("query", ["sku=TRUCK-01&skus=TRUCK-01&unknown=1", "stars=9", "sku=%ff&skus=%ff&locale=%ff"])
@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_get_and_head_say_the_same(app: Flask, route: str, query: str, coding: str) -> None:
    headers = {"X-Api-Key": SECRET, "Accept-Encoding": coding}
    by_get, by_head = _both(app.test_client(), f"{route.format(bu=UNIT)}?{query}", headers)
    assert by_get == by_head
    assert by_get[1]["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("route", READS)
def test_who_may_not_read_is_told_the_same_by_either(app: Flask, route: str) -> None:
    path = f"{route.format(bu=UNIT)}?sku=TRUCK-01"
    for headers in ({}, {"apikey": "wrong"}, {"Authorization": "Basic !"}, {"Authorization": "Bearer"}):
        by_get, by_head = _both(app.test_client(), path, headers)
        assert by_get == by_head
        assert by_get[0] == 401
        assert by_get[1]["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize("path", ["/v1/product-reviews/business-units/other", "/v1/business-units/%C3%A9%FF"])
def test_an_unknown_business_unit_is_named_by_either(app: Flask, path: str) -> None:
    by_get, by_head = _both(app.test_client(), path, {"X-Api-Key": SECRET})
    assert by_get == by_head
    assert by_get[0] == 404


def test_a_get_does_not_pass_flask(app: Flask) -> None:
    passed: list[str] = []

    def note(_sender: Flask) -> None:
        passed.append("request")

    client = app.test_client()
    with request_started.connected_to(note, app):
        for route in READS:
            answer = client.get(f"{route.format(bu=UNIT)}?sku=TRUCK-01&skus=TRUCK-01", headers={"X-Api-Key": SECRET})
            assert answer.status_code == 200
        assert passed == []
        assert client.post("/v1/reviews", headers={"X-Api-Key": SECRET}).status_code == 405
    assert passed == ["request"]


def test_a_bug_is_answered_and_logged_with_the_answers_id(
    app: Flask, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistake(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app.extensions["proxy"].reviews, "block", mistake)
    answer = app.test_client().get("/v1/reviews?sku=NEVER-ASKED", headers={"X-Api-Key": SECRET, "X-Request-Id": "it"})
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert [record.getMessage() for record in caplog.records if record.exc_info] == ["bug while answering request it"]
