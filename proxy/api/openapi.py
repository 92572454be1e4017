"""``/openapi.json``: the contract as OpenAPI 3.1, made from the definitions that validate.

Paths that are there under a condition are in it when the condition holds, marked with ``x-requires``.

It is a collection for testers too, in Postman's format 2.1, which Bruno and Insomnia import as well.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import click
from flask import Blueprint, Response, current_app, jsonify
from flask.cli import with_appcontext

from proxy.api import (
    DROP_IN_BATCH_SUMMARIES,
    DROP_IN_BUSINESS_UNIT,
    DROP_IN_IMPORTED,
    DROP_IN_IMPORTED_SUMMARY,
    DROP_IN_INVITATIONS,
    DROP_IN_REVIEWS,
    DROP_IN_SERVICE_REVIEWS,
    DROP_IN_SUMMARY,
    RIGHT_FOR,
    SECRET_IN_QUERY,
    TOKEN,
)
from proxy.api import parameters as p
from proxy.api.pages import register_docs
from proxy.api.parameters import ListParameter, Parameter
from proxy.api.schemas import SCHEMAS
from proxy.invitations import UNRENDERED
from proxy.settings import Settings

Json = dict[str, Any]
_Given = tuple[Parameter[Any] | ListParameter, ...]

_VIEW: _Given = (p.STARS, p.LANGUAGE, *p.VIEW.values(), p.LOCALE, p.ON_ERROR)
_SUMMARY = (p.SKU, p.PRODUCT_URL, p.DISPLAY_LOCALE, p.LOCALE, p.ON_ERROR)
_DROP_IN_SUMMARY = (p.SKU, p.TRUSTPILOTS_PRODUCT_URL, p.LOCALE)
_DROP_IN_REVIEWS = (*_DROP_IN_SUMMARY, p.STARS, p.LANGUAGE, p.PAGE, p.PER_PAGE)
_BUSINESS: _Given = (p.STARS, p.LANGUAGE, *p.BUSINESS_VIEW.values(), p.ON_ERROR)
_TEXT: Json = {"type": "string"}
_UNDER_LOAD = (503, 504)
_SENDING = (404, 413, 415, 422, 429, 500, 501, 502, 503, 504)
_TOKEN_STATUSES = (413, 429, 501, 502, 503, 504)


def describing(settings: Settings) -> Blueprint:
    """Return the endpoints."""
    endpoints = Blueprint("describing", __name__)
    document = described(settings)
    register_docs(endpoints, document)

    @endpoints.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(document)

    return endpoints


def described(settings: Settings) -> Json:
    """Return the document for what ``settings`` turn on."""
    unit = p.of_business_units(settings.business_units)
    imported = p.of_imported(default=settings.imported_reviews)
    product = (p.SKU, p.PRODUCT_URL, imported, *_VIEW, unit)
    document = _content("application/json", {"type": "object"})
    html = _content("text/html", _TEXT)
    paths: Json = {
        "/v1/reviews": _get("One product block", "Block", product),
        "/v1/products": _get("A block per SKU", "Blocks", (p.SKUS, imported, *_VIEW, unit)),
        "/v1/summary": _get("Stars only", "ProductRating", (*_SUMMARY, imported, unit)),
        "/v1/fragment": _read(
            "Ready to insert; empty when there is nothing to show",
            {"content": {"text/html": {"schema": _TEXT}, "text/plain": {"schema": _TEXT}}},
            (*(one for one in product if one is not p.FORMAT), p.STYLE, p.CHANNEL),
        ),
        DROP_IN_REVIEWS: _drop_in("Reviews in", "TrustpilotReviews", *_DROP_IN_REVIEWS),
        DROP_IN_SUMMARY: _drop_in("A summary in", "TrustpilotSummary", *_DROP_IN_SUMMARY),
        "/v1/business": _get("The shop itself", "BusinessAnswer", (*_BUSINESS, unit)),
        DROP_IN_BUSINESS_UNIT: _drop_in("A business unit in", "TrustpilotBusinessUnit"),
        DROP_IN_SERVICE_REVIEWS: _drop_in(
            "Reviews of the shop in", "TrustpilotServiceReviews", p.STARS, p.LANGUAGE, p.PAGE, p.PER_PAGE
        ),
        DROP_IN_BATCH_SUMMARIES: _post(
            "Summaries of several products in Trustpilot's own shape",
            {200: _json("TrustpilotSummaries")},
            statuses=(404, 413, 415, *_UNDER_LOAD),
            body=_json("Batch"),
        ),
        DROP_IN_IMPORTED: _drop_in("Imported reviews in", "TrustpilotReviews", *_DROP_IN_REVIEWS),
        DROP_IN_IMPORTED_SUMMARY: _drop_in(
            "A summary of imported reviews in", "TrustpilotSummary", *_DROP_IN_SUMMARY
        ),
        "/v1/invitations": _invitation("Send an invitation, once", (unit,)),
        DROP_IN_INVITATIONS: _invitation("Trustpilot's own invitation call", ()),
        "/v1/invitation-links": _post(
            "A link to write a review, once",
            {200: _json("Link")},
            (unit,),
            _SENDING,
            body={"content": _link_bodies(settings.business_units)},
        ),
        "/v1/cache/purge": _post(
            "Forget a product", {200: _json("Purged")}, (p.SKU, p.PRODUCT_URL, p.LOCALE, unit), (503,)
        ),
        "/hooks/trustpilot": _post(
            "Take Trustpilot's webhook", {200: _json("Applied")}, (unit,), (413, 415, 503), _json("Webhook")
        ),
        "/healthz": _open("Alive", {200: _json("Alive")}),
        "/readyz": _open("Configured, and the store reachable", {200: _json("Readiness"), 503: _problem(503)}),
        "/metrics": {"get": _operation("For Prometheus", {200: _content("text/plain", _TEXT)})},
        "/": {"get": _operation("What this is, for browsers; 404 for all others", {200: html}, (), (404,))},
        "/status": {
            "get": _operation(
                "What goes on now; a page for browsers",
                {200: {"content": {**_json("Status")["content"], **html["content"]}}},
            )
        },
        "/openapi.json": {"get": _operation("This document", {200: document})},
        "/docs": {"get": _operation("This document, to read", {200: html})},
    }
    if settings.token_endpoint:
        token = _operation("Trustpilot's own token call", {200: _json("Token")}, (), _TOKEN_STATUSES)
        body = _content("application/x-www-form-urlencoded", _ref("Grant"))
        paths[TOKEN] = {"post": {**token, "x-requires": "TOKEN_ENDPOINT=true", "requestBody": body}}
    if settings.preview:
        page = _operation("The page that previews messages", {200: html})
        paths["/preview"] = {"get": {**page, "x-requires": "PREVIEW=true"}}
    for path, operations in paths.items():
        if known := _security(path, settings):
            operations["post" if path == DROP_IN_BATCH_SUMMARIES else "get"]["security"] = known
        if "{bu}" in path:
            operations["parameters"] = [_unit_in_path(settings.business_units)]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Connected Content proxy",
            "version": version("connected-content-proxy"),
            "description": "Trustpilot's product reviews for Braze: small, cached, and in time.",
        },
        "security": [{name: []} for name in _SCHEMES if name != _IN_QUERY],
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": _SCHEMES},
    }


_IN_QUERY = "apikey-in-query"

_SCHEMES: Json = {
    "basic": {"type": "http", "scheme": "basic", "description": "a name and its secret"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "the secret alone"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "the secret alone"},
    "apikey": {"type": "apiKey", "in": "header", "name": "apikey", "description": "the secret alone"},
    _IN_QUERY: {
        "type": "apiKey",
        "in": "query",
        "name": "apikey",
        "description": "the secret alone; on the drop-in URLs that read, and nowhere else",
    },
}


def _security(path: str, settings: Settings) -> list[Json]:
    """Return how the path's reading may be asked for, where that differs from the whole document."""
    drop_in = path in SECRET_IN_QUERY
    anonymous = settings.allow_anonymous and path in _ANONYMOUS
    if not (drop_in or anonymous):
        return []
    known: list[Json] = [{name: []} for name in _SCHEMES if drop_in or name != _IN_QUERY]
    return [*known, {}] if anonymous else known


_ANONYMOUS = {route for route, right in RIGHT_FOR.items() if right == "read" and route.startswith("/v1/")} | {
    "/openapi.json",
    "/docs",
}


def _get(summary: str, schema: str, given: _Given, statuses: tuple[int, ...] = _UNDER_LOAD) -> Json:
    return _read(summary, _json(schema), given, statuses)


def _drop_in(what: str, schema: str, *given: Parameter[Any] | ListParameter) -> Json:
    return _get(f"{what} Trustpilot's own shape", schema, given, (404, *_UNDER_LOAD))


def _read(summary: str, answer: Json, given: _Given, statuses: tuple[int, ...] = ()) -> Json:
    headers: Json = {name: {"required": True, "schema": schema} for name, schema in _FRESHNESS.items()}
    headers["X-Ignored-Parameters"] = {"schema": _TEXT}
    return {"get": _operation(summary, {200: {**answer, "headers": headers}}, given, statuses)}


def _post(
    summary: str,
    answers: dict[Any, Json],
    given: _Given = (),
    statuses: tuple[int, ...] = (),
    body: Json | None = None,
) -> Json:
    operation = _operation(summary, answers, given, statuses)
    return {"post": {**operation, "requestBody": {"required": True, **body}} if body else operation}


_FRESHNESS: Json = {
    "X-Cache": {"type": "string", "enum": ["hit", "stale", "miss"]},
    "Age": {"type": "integer", "minimum": 0},
    "Cache-Control": {"type": "string", "pattern": "^private, max-age=[0-9]+$"},
    "X-Request-Id": _TEXT,
    "Server-Timing": _TEXT,
}


def _invitation(summary: str, given: _Given) -> Json:
    answers = {202: {"description": "Trustpilot has taken it"}, "2XX": {"description": "as Trustpilot answers"}}
    operation: Json = _post(summary, answers, given, _SENDING, _json("Invitation"))["post"]
    key = {"name": "Idempotency-Key", "in": "header", "schema": _KEY}
    return {"post": {**operation, "parameters": [*operation.get("parameters", []), key]}}


_KEY: Json = {
    "type": "string",
    "pattern": "^[ -~]{0,254}[!-~][ -~]{0,254}$",
    "maxLength": 255,
    "not": {"pattern": UNRENDERED},
}


def _operation(summary: str, answers: dict[Any, Json], given: _Given = (), statuses: tuple[int, ...] = ()) -> Json:
    refused = {status: _problem(status) for status in (400, 401, 403, *statuses)}
    responses = {str(status): {"description": summary, **answer} for status, answer in {**refused, **answers}.items()}
    operation: Json = {"summary": summary, "responses": responses}
    if given:
        operation["parameters"] = [_described(parameter) for parameter in given]
    return operation


def _open(summary: str, answers: dict[Any, Json]) -> Json:
    return {"get": {**_operation(summary, answers), "security": []}}


def _described(parameter: Parameter[Any] | ListParameter) -> Json:
    schema, more = parameter.takes.schema, {}
    if isinstance(parameter, ListParameter):
        more = {"required": True, "example": "TRUCK-01"} if parameter.required else {}
    elif "enum" in schema:
        schema = {**schema, "default": schema["enum"][0]}
    elif isinstance(parameter.default, int | str) and not isinstance(parameter.default, bool):
        schema = {**schema, "default": parameter.default}
    return {"name": parameter.name, "in": "query", "description": parameter.meaning, "schema": schema, **more}


def _unit_in_path(units: tuple[str, ...]) -> Json:
    return {"name": "bu", "in": "path", "required": True, "schema": {"type": "string", "enum": list(units)}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(media_type: str, schema: Json) -> Json:
    return {"content": {media_type: {"schema": schema}}}


def _json(name: str) -> Json:
    return _content("application/json", _ref(name))


def _link_bodies(units: tuple[str, ...]) -> Json:
    def body(name: str, takes: list[str | None]) -> Json:
        unit: Json = {"type": "object", "properties": {"business_unit": {"enum": takes}}}
        return {"schema": {"allOf": [_ref(name), unit]}}

    return {
        "application/json": body("LinkRequest", [*units, None]),
        "application/x-www-form-urlencoded": body("LinkForm", [*units]),
    }


def _problem(status: int) -> Json:
    answer: Json = {"description": _MEANINGS[status], **_content("application/problem+json", _ref("Problem"))}
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": {"required": True, "schema": _TEXT}}
    if status in (429, 502, 503, 504):
        answer["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 0}}}
    return answer


_MEANINGS = {
    400: "A parameter or the body is wrong; the detail names it, its value and what it takes",
    401: "No or a wrong credential",
    403: "Not from this address; the credential lacks the right; or a page of another site would change something",
    404: "Nothing at this address; or not a configured business unit",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The invitation can't be sent",
    429: "Trustpilot's rate limit is reached",
    500: "A bug",
    501: "Invitations are not set up",
    502: "Trustpilot refuses the proxy's own credentials",
    503: "Trustpilot is failing, or the call budget is used up, and no copy is held; or the store can't be reached",
    504: "Trustpilot did not answer within the deadline, and no copy is held",
}


_FORMAT = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"


@click.command("collection")
@click.option("--host", default="http://127.0.0.1:8000", show_default=True, help="where the proxy answers")
@with_appcontext
def print_collection(host: str) -> None:
    """Print a collection of requests for Postman, Bruno or Insomnia."""
    click.echo(json.dumps(collection(described(current_app.extensions["proxy"].settings), host), indent=1))


def collection(document: Json, host: str) -> Json:
    """Return one request per operation. The secret is a variable that each tester fills in."""
    items = [
        _item(method, path, operation, operations.get("parameters", []))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in ("get", "post")
    ]
    return {
        "info": {"name": document["info"]["title"], "schema": _FORMAT},
        "variable": [{"key": "host", "value": host.rstrip("/")}, {"key": "secret", "value": ""}],
        "item": items,
    }


def _item(method: str, path: str, operation: Json, shared: list[Json]) -> Json:
    for given in shared:
        path = path.replace(f"{{{given['name']}}}", given["schema"]["enum"][0])
    query = [
        {
            "key": given["name"],
            "value": str(given.get("example", "")),
            "description": given["description"],
            "disabled": not given.get("required", False),
        }
        for given in operation.get("parameters", [])
        if given["in"] == "query"
    ]
    asked = "&".join(f"{pair['key']}={pair['value']}" for pair in query if not pair["disabled"])
    url = {
        "raw": "{{host}}" + path + (f"?{asked}" if asked else ""),
        "host": ["{{host}}"],
        "path": urlsplit(path).path.strip("/").split("/"),
        "query": query,
    }
    request: Json = {
        "method": method.upper(),
        "header": [{"key": "X-Api-Key", "value": "{{secret}}"}],
        "url": url,
        "description": operation["summary"],
    }
    if "application/json" in operation.get("requestBody", {}).get("content", {}):
        request["body"] = {"mode": "raw", "raw": "{}", "options": {"raw": {"language": "json"}}}
    return {"name": f"{method.upper()} {path}", "request": request}
