"""The document as a collection for testers, in Postman's format 2.1, which Bruno and Insomnia import as well."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import click
from flask import current_app
from flask.cli import with_appcontext

from proxy.api.openapi import described

Json = dict[str, Any]

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
