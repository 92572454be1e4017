"""``/docs``: the document of ``/openapi.json`` to read, each address with a command, an answer and what is in it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, request

from proxy.api.pages import rendered
from proxy.api.schemas import SCHEMAS

Json = dict[str, Any]

EXAMPLES: Json = json.loads((files(__package__) / "examples.json").read_text("utf-8"))
"""Real answers by path, recorded from the sandbox's sample reviews by ``python -m tools.examples``."""

FIELDS = {
    "found": "whether there are reviews to show; false in every error too",
    "count": "how many there are in this answer",
    "sku": "the SKUs that were asked for, comma-separated",
    "scope": "product, or business when the shop's own reviews stand in",
    "error": "why there is nothing; only with on_error=empty",
    "summary": "the product's rating over all its reviews; null when it can't be had",
    "average": "1 to 5; null without reviews",
    "average_text": "the same as text, with one decimal",
    "stars": "in halves, as Trustpilot rounds; of a review 1 to 5",
    "stars_icons": "five signs: ★, ½, ☆",
    "stars_alt": "the rating in words, for alt",
    "stars_image": "Trustpilot's picture of it, 256×48",
    "total": "reviews in all",
    "total_text": "the same as text",
    "distribution": "how many there are of each rating",
    "reviews": "the reviews, newest first",
    "products": "a block for each SKU, in the order asked",
    "id": "Trustpilot's own",
    "source": "trustpilot, or imported from an earlier platform",
    "content": "the text, escaped unless format=text",
    "truncated": "whether max_chars cut it",
    "author": "the name that the reviewer shows",
    "date": "the day it was written, UTC",
    "date_text": "the same for people",
    "created_at": "the moment it was written",
    "language": "ISO 639-1",
    "trust_score": "Trustpilot's rating of the shop, 1 to 5; null without reviews",
    "trust_score_text": "the same as text, with one decimal",
    "label": "Trustpilot's word for it, such as Excellent",
    "title": "of a review of the shop",
    "url": "the link, for one customer and one order",
    "reply": "the shop's answer, or null",
    "image": "the address of a photo, or null",
    "attributes": "ratings of single qualities",
    "name": "what is rated",
    "rating": "1 to 5",
    "disclosure": "which reviews are shown; has to be said",
    "links": "where to read on",
    "trustpilot": "the shop's page at Trustpilot; in /readyz whether it is called",
    "detail": "what is wrong, and what would be right",
}


@dataclass(frozen=True)
class Field:
    """A key of an answer: its place in it, what it is, and what it means."""

    name: str
    kind: str
    meaning: str


def register_docs(endpoints: Blueprint, document: Json) -> None:
    """Add the page."""
    schemas = document["components"]["schemas"]
    operations = [
        _operation(method, path, operation, operations.get("parameters", []), schemas)
        for path, operations in document["paths"].items()
        for method in ("get", "post")
        if (operation := operations.get(method))
    ]

    @endpoints.get("/docs")
    def docs() -> Response:
        host = request.host_url.rstrip("/")
        return rendered("docs.html", about=document["info"]["description"], operations=operations, host=host)


def _operation(method: str, path: str, operation: Json, shared: list[Json], schemas: Json) -> Json:
    given = [*shared, *operation.get("parameters", [])]
    succeeded: Json = next(
        (answer for status, answer in operation["responses"].items() if status.startswith("2")), {}
    )
    schema: Json = next((shown["schema"] for shown in succeeded.get("content", {}).values() if "schema" in shown), {})
    return {
        "method": method.upper(),
        "path": path,
        "anchor": f"{method}-{path.strip('/').replace('/', '-').replace('{bu}', 'bu') or 'start'}",
        "summary": operation["summary"],
        "requires": operation.get("x-requires"),
        "parameters": [{**one, "takes": takes(one["schema"])} for one in given],
        "command": _command(method, path, given),
        "example": EXAMPLES.get(path) if method == "get" else None,
        "fields": list(_fields(schema, schemas, "")),
        "responses": operation["responses"],
        "tried": method == "get" and path.startswith("/v1/"),
    }


def _command(method: str, path: str, given: list[Json]) -> str:
    """Return the rest of a curl line, after the credential; ``HOST`` stands for the address."""
    for one in given:
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", one["schema"]["enum"][0])
    asked = "&".join(f"{one['name']}={one['example']}" for one in given if one.get("required") and "example" in one)
    url = "HOST" + path + (f"?{asked}" if asked else "")
    return f"-X POST {shlex.quote(url)}" if method == "post" else shlex.quote(url) if asked else url


def fields_of(schema: str) -> list[Field]:
    """Return the keys of the answers that a schema of the document describes."""
    return list(_fields(SCHEMAS[schema], SCHEMAS, ""))


def _fields(schema: Json, schemas: Json, path: str) -> Iterator[Field]:
    schema = _resolved(schema, schemas)
    if schema.get("type") == "array":
        yield from _fields(schema["items"], schemas, f"{path}[]")
    for name, inner in schema.get("properties", {}).items():
        whole = f"{path}.{name}".lstrip(".")
        inner = _resolved(inner, schemas)
        yield Field(whole, _kind(inner), inner.get("description") or FIELDS.get(name, ""))
        for one in inner.get("anyOf", [inner]):
            yield from _fields(one, schemas, whole)


def _resolved(schema: Json, schemas: Json) -> Json:
    return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _kind(schema: Json) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"]))
    if "const" in schema:
        return json.dumps(schema["const"])
    kind = schema.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def takes(schema: Json) -> str:
    """Return in words what a parameter of that schema takes."""
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema["type"] in ("integer", "number"):
        return f"{schema['minimum']} to {schema['maximum']}"
    return "text"
