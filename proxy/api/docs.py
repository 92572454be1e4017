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
        yield Field(whole, _kind(inner, schemas), inner.get("description", ""))
        for one in inner.get("anyOf", [inner]):
            yield from _fields(one, schemas, whole)


def _resolved(schema: Json, schemas: Json) -> Json:
    return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _kind(schema: Json, schemas: Json) -> str:
    schema = _resolved(schema, schemas)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one, schemas) for one in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
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
