"""Which right opens which address: every path of the proxy, with a credential for each right and without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from jsonschema import Draft202012Validator

from proxy.api import RIGHT_FOR
from proxy.api.schemas import SCHEMAS
from tests.running import SECRET, UNIT, RunningProxy, RunningSandbox

RIGHTS = ("read", "invite", "hook", "admin")
PAIRS = ",".join([f"braze:{SECRET}", *(f"{right}:{right}-secret:{right}" for right in RIGHTS)])
POSTS = {"/hooks/trustpilot", "/v1/cache/purge"}
INVITING = {route for route, right in RIGHT_FOR.items() if right == "invite"}
OPEN = {"/healthz", "/readyz"}
PROBLEM = Draft202012Validator({"$ref": "#/components/schemas/Problem", "components": {"schemas": SCHEMAS}})


@pytest.fixture(scope="module")
def narrowed(started_sandbox: RunningSandbox) -> Iterator[RunningProxy]:
    """A proxy with a pair for each right alone, ``<right>:<right>-secret``, and one with all."""
    started_sandbox.reset()
    with RunningProxy(
        started_sandbox,
        PROXY_CREDENTIALS=f"{PAIRS},two:two-secret:read+hook",
        TOKEN_ENDPOINT="true",
        PREVIEW="true",
    ) as proxy:
        yield proxy


def _ask(proxy: RunningProxy, route: str, **how: object) -> requests.Response:
    method = "POST" if route in POSTS | INVITING else "GET"
    url = proxy.url + route.replace("{bu}", UNIT) + "?sku=TRUCK-01&skus=TRUCK-01"
    return requests.request(method, url, timeout=20, **how)  # type: ignore[arg-type]  # headers or auth


@pytest.mark.parametrize("right", RIGHTS)
@pytest.mark.parametrize("route", RIGHT_FOR)
def test_a_credential_opens_what_its_right_is_for_and_nothing_else(
    narrowed: RunningProxy, route: str, right: str
) -> None:
    answers = [_ask(narrowed, route, auth=(right, f"{right}-secret"))]
    if route == "/v1/reviews":
        for headers in ({"X-Api-Key": f"{right}-secret"}, {"Authorization": f"Bearer {right}-secret"}):
            answers.append(_ask(narrowed, route, headers=headers))
    for answer in answers:
        if RIGHT_FOR[route] in {None, right}:
            assert answer.status_code not in {401, 403}
        else:
            assert answer.status_code == 403
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json()["found"] is False
            assert answer.json()["detail"].endswith(f"the right {RIGHT_FOR[route]}")


@pytest.mark.parametrize("route", RIGHT_FOR)
def test_without_a_credential_nothing_opens_but_health(narrowed: RunningProxy, route: str) -> None:
    refused = _ask(narrowed, route)
    assert (refused.status_code == 401) is (route not in OPEN)
    if route not in OPEN:
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.headers["WWW-Authenticate"]
        PROBLEM.validate(refused.json())
    assert _ask(narrowed, route, auth=("braze", SECRET)).status_code not in {401, 403}


def test_every_address_says_that_it_may_want_a_credential(narrowed: RunningProxy) -> None:
    document = _ask(narrowed, "/openapi.json", auth=("braze", SECRET)).json()
    for operations in document["paths"].values():
        for method in operations.keys() & {"get", "post"}:
            assert {"401", "403"} <= operations[method]["responses"].keys()


def test_rights_are_joined(narrowed: RunningProxy) -> None:
    held = {"auth": ("two", "two-secret")}
    assert _ask(narrowed, "/v1/reviews", **held).status_code == 200
    assert _ask(narrowed, "/hooks/trustpilot", **held).status_code == 415
    assert _ask(narrowed, "/v1/cache/purge", **held).status_code == 403


def test_a_webhooks_secret_in_the_query_reads_nothing(narrowed: RunningProxy) -> None:
    drop_in = f"{narrowed.url}/v1/product-reviews/business-units/{UNIT}/reviews?sku=TRUCK-01"
    assert requests.get(f"{drop_in}&apikey=hook-secret", timeout=20).status_code == 403
    assert requests.get(f"{drop_in}&apikey=read-secret", timeout=20).status_code == 200


def test_an_answer_made_for_one_credential_is_not_repeated_to_another(narrowed: RunningProxy) -> None:
    for _ in range(2):
        assert _ask(narrowed, "/v1/reviews", auth=("read", "read-secret")).status_code == 200
        assert _ask(narrowed, "/v1/reviews", auth=("hook", "hook-secret")).status_code == 403


def test_every_address_has_a_right(sandbox: RunningSandbox) -> None:
    from proxy import create_app
    from proxy.settings import Settings
    from tests.running import proxy_environment

    app = create_app(Settings.from_environment(proxy_environment(sandbox, TOKEN_ENDPOINT="true", PREVIEW="true")))
    known = {rule.rule.replace("<unit>", "{bu}") for rule in app.url_map.iter_rules()}
    elsewhere = {rule for rule in known - RIGHT_FOR.keys() if not rule.startswith(("/preview/", "/static/"))}
    assert elsewhere == set()
    assert known >= RIGHT_FOR.keys()
