"""The document says what the proxy does: every path, and every parameter exactly as it is validated."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from proxy import create_app
from proxy.api import SECRET_IN_QUERY, parameters, route_of
from proxy.api.openapi import collection, described
from proxy.api.parameters import BadParameter, ListParameter, Parameter, Query
from proxy.settings import Credential, Settings

SETTINGS = Settings(
    api_key="key",
    api_secret="secret",
    business_units=("66ea", "77"),
    credentials=(Credential("braze", "hush-hush"),),
    token_endpoint=True,
    preview=True,
)
INSIDE_THE_PREVIEW = "/preview/"


@pytest.fixture(scope="module")
def app() -> Flask:
    return create_app(SETTINGS)


def test_every_address_is_in_the_document_with_its_methods(app: Flask) -> None:
    served: dict[str, set[str]] = {}
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<unit>", "{bu}")
        if not path.startswith((INSIDE_THE_PREVIEW, "/static/")):
            served.setdefault(path, set()).update({m.lower() for m in rule.methods or ()} - {"head", "options"})
    told = {path: set(operations) - {"parameters"} for path, operations in described(SETTINGS)["paths"].items()}
    assert told == served
    assert {route_of(path.replace("{bu}", "66ea")) for path in told} == set(told)


def test_paths_with_a_condition_are_there_when_it_holds() -> None:
    plain = described(Settings(api_key="key", business_units=("66ea",), credentials=SETTINGS.credentials))["paths"]
    conditional = {path for path in described(SETTINGS)["paths"] if path not in plain}
    assert conditional == {"/preview", "/v1/oauth/oauth-business-users-for-applications/accesstoken"}


def test_it_says_where_the_secret_may_stand_in_the_query_and_what_anonymous_callers_may_read() -> None:
    closed = described(SETTINGS)
    assert {"apikey-in-query": []} not in closed["security"]
    assert _asked_for_with(closed, {"apikey-in-query": []}) == SECRET_IN_QUERY
    opened = described(replace(SETTINGS, allow_anonymous=True))
    assert {} not in opened["security"]
    assert _asked_for_with(opened, {}) == SECRET_IN_QUERY | {
        "/v1/business",
        "/v1/reviews",
        "/v1/products",
        "/v1/summary",
        "/v1/fragment",
        "/openapi.json",
        "/docs",
    }


def _asked_for_with(document: dict[str, Any], shown: dict[str, list[str]]) -> set[str]:
    return {
        path
        for path, told in document["paths"].items()
        if any(shown in told.get(method, {}).get("security", []) for method in ("get", "post"))
    }


PARAMETERS: list[Parameter[Any] | ListParameter] = [
    given
    for given in [*vars(parameters).values(), parameters.of_business_units(SETTINGS.business_units)]
    if isinstance(given, Parameter | ListParameter)
]
NEARLY = st.text(alphabet=st.sampled_from("1205,{}$% \tAaenhtmlsxoTRUCK-_\u00a0\u0085é"), max_size=12)
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
@given(value=NEARLY | TEXT | st.integers(-5, 20_000).map(str))
@example(value="")
@example(value="{{x}}")
@example(value="A" * 201)
@example(value=",".join(map(str, range(21))))
@example(value="\ufffd")
@example(value="٣")
@example(value="4.25")
@example(value="4,25")
@example(value="nan")
@example(value="2\x1f")
def test_a_value_is_taken_exactly_when_its_description_says_so(
    parameter: Parameter[Any] | ListParameter, value: str
) -> None:
    query = Query({parameter.name: [value]})
    try:
        if not isinstance(parameter, ListParameter):
            query.one(parameter)
        elif parameter.required:
            parameters.skus(query, parameter.name)
        else:
            parameters.filters(query)
        taken = True
    except BadParameter:
        taken = False
    assert taken == _describes(parameter, value)


def _describes(parameter: Parameter[Any] | ListParameter, value: str) -> bool:
    schema = parameter.takes.schema
    if schema["type"] == "integer":
        return (
            bool(re.fullmatch("[0-9]{1,9}", value.strip()))
            and schema["minimum"] <= int(value.strip()) <= schema["maximum"]
        )
    if schema["type"] == "number":
        return (
            bool(re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,20})?", value.strip()))
            and schema["minimum"] <= float(value.strip()) <= schema["maximum"]
        )
    if isinstance(parameter, Parameter):
        # One value may stand in white space.
        value = value.strip()
    elif parameter.required and len(set(map(str.strip, value.split(",")))) < len(value.split(",")):
        # Duplicates collapse, which a regular expression can't say.
        value = ",".join(dict.fromkeys(map(str.strip, value.split(","))))
    return not list(Draft202012Validator(schema).iter_errors(value))


def test_the_document_is_sound_json_schema() -> None:
    for schema in described(SETTINGS)["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_the_page_shows_every_path_parameter_and_field_without_a_script(app: Flask) -> None:
    answer = app.test_client().get("/docs", headers={"X-Api-Key": "hush-hush"})
    assert answer.content_type == "text/html; charset=utf-8"
    page = answer.text.partition("<script")[0]
    for path, operations in described(SETTINGS)["paths"].items():
        for operation in set(operations) & {"get", "post"}:
            assert f"<code>{operation.upper()} {path}</code>" in page
            for given_ in operations[operation].get("parameters", []):
                assert f"<code>{given_['name']}</code>" in page
    for field in ("summary.distribution.five_stars", "reviews[].attributes[].rating", "products[].reviews[].content"):
        assert f"<code>{field}</code>" in page


def test_nothing_from_elsewhere_runs_in_the_page(app: Flask) -> None:
    answer = app.test_client().get("/docs", headers={"X-Api-Key": "hush-hush"})
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    nonce = re.search(r"script-src 'nonce-([^']+)'", policy)
    assert nonce
    assert all(f'nonce="{nonce[1]}"' in tag for tag in re.findall(r"<(?:script|style)[^>]*>", answer.text))
    assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text)


def test_the_collection_has_a_request_for_every_operation() -> None:
    document = described(SETTINGS)
    made = collection(document, "https://reviews.example.com")
    operations = sum(len(set(operations) & {"get", "post"}) for operations in document["paths"].values())
    assert len(made["item"]) == operations
    reviews = next(item["request"] for item in made["item"] if item["name"] == "GET /v1/reviews")
    assert reviews["url"]["raw"] == "{{host}}/v1/reviews?sku=TRUCK-01"
    assert {"key": "X-Api-Key", "value": "{{secret}}"} in reviews["header"]
    assert "hush" not in str(made)
