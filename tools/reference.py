"""Writes what the code knows better than a person into the pages: ``python -m tools.reference``.

Into docs/reference.md the settings, addresses, parameters, fields and statuses; into README.md a real answer;
``.env.example`` whole.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from proxy.api import RIGHT_FOR, parameters
from proxy.api.openapi import described
from proxy.api.pages import EXAMPLES, fields_of, takes
from proxy.api.parameters import ListParameter, Parameter
from proxy.settings import Settings, documented

Json = dict[str, Any]

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / ".env.example"
PAGES = (ROOT / "docs/reference.md", ROOT / "README.md")
_FILLED_IN = {"TRUSTPILOT_API_KEY", "TRUSTPILOT_BUSINESS_UNIT_ID", "PROXY_CREDENTIALS"}
_EXAMPLE_HEAD = """\
# Settings of the proxy; docs/reference.md says more. Lines that begin with # are defaults.
# Single quotes keep odd characters as they are, for docker compose too: PROXY_CREDENTIALS='braze:Pa$$ &#word'
"""
_UNIT = "UNIT"
_WIDEST = 118


def with_generated(page: str) -> str:
    """Return ``page`` with what stands between its markers as it has to be."""

    def filled(marker: re.Match[str]) -> str:
        return f"{marker[1]}{_GENERATED[marker[2]]()}{marker[3]}"

    return re.sub(r"(<!-- (\w+) begin -->\n).*?(<!-- \2 end -->)", filled, page, flags=re.DOTALL)


def example() -> str:
    """Return ``.env.example``."""
    lines = [_EXAMPLE_HEAD]
    for name, default, meaning in documented():
        if name != "PROXY_ENV_FILE":
            lines.append(f"# {re.sub('`', '', meaning)}")
            lines.append(f"{'' if name in _FILLED_IN else '#'}{name}={default}")
    return "\n".join(lines) + "\n"


def _settings() -> str:
    rows = ((f"`{name}`", f"`{default}`" if default else "–", meaning) for name, default, meaning in documented())
    return _table(("variable", "default", "meaning"), rows)


def _operations() -> Iterator[tuple[str, str, Json]]:
    paths = described(Settings(api_key="", business_units=(_UNIT,), token_endpoint=True, preview=True))["paths"]
    for path, operations in paths.items():
        for method in ("get", "post"):
            if method in operations:
                yield method.upper(), path, operations[method]


def _addresses() -> str:
    rows = []
    for method, path, operation in _operations():
        condition = f"; with `{operation['x-requires']}`" if "x-requires" in operation else ""
        is_open = operation.get("security") == []
        right = "open to everyone" if is_open else f"`{RIGHT_FOR[path]}`" if RIGHT_FOR[path] else "any"
        rows.append((f"`{method} {path}`", operation["summary"] + condition, right))
    return _table(("address", "what it is", "right"), rows)


def _parameters() -> str:
    words = {
        known.name: re.sub("^(?:takes|give) ", "", known.takes.words)
        for _, known in inspect.getmembers(parameters)
        if isinstance(known, Parameter | ListParameter)
    }
    where: dict[str, list[str]] = {}
    described_as: dict[str, Json] = {}
    for _, path, operation in _operations():
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "query":
                described_as.setdefault(parameter["name"], parameter)
                where.setdefault(parameter["name"], []).append(path)
    rows = []
    for name, parameter in described_as.items():
        default = (
            "required"
            if parameter.get("required")
            else _code(parameter["schema"].get("default"), {_UNIT: "the first", "None": "–"})
        )
        taken = words.get(name) or takes(parameter["schema"]).replace(_UNIT, "one of `TRUSTPILOT_BUSINESS_UNIT_ID`")
        rows.append((f"`{name}`", parameter["description"], taken, default, _everywhere(where[name])))
    return _table(("parameter", "meaning", "takes", "default", "at"), rows)


def _everywhere(paths: list[str]) -> str:
    short = [path.replace("/v1/product-reviews/business-units/{bu}", "drop-in") for path in paths]
    return ", ".join(dict.fromkeys(path.removeprefix("/v1/") for path in short))


def _fields() -> str:
    rows = [(f"`{field.name}`", field.kind, field.meaning) for field in fields_of("Block") if field.meaning]
    return _table(("key", "kind", "meaning"), rows)


def _statuses() -> str:
    meanings: dict[str, str] = {}
    for _, _, operation in _operations():
        for status, answer in operation["responses"].items():
            if status[0] in "45":
                meanings[status] = answer["description"]
    return _table(("status", "when"), ((status, meanings[status]) for status in sorted(meanings)))


def _commands() -> str:
    # Not what is installed here, which may be older.
    package = ConfigParser()
    package.read(ROOT / "setup.cfg")
    lines = package["options.entry_points"]["flask.commands"].split("\n")
    known = {
        name.strip(): resolve_name(place.strip())
        for name, _, place in (line.partition("=") for line in lines if line)
    }
    rows = ((f"`{name}`", known[name].get_short_help_str(200)) for name in sorted(known))
    return _table(("command", "does"), rows)


def _answer() -> str:
    """Return an answer of ``/v1/reviews``, a line for each key where it does not fit into one."""
    return f"```json\n{_written(EXAMPLES['/v1/reviews'], '')}\n```\n"


def _written(value: object, indent: str) -> str:
    short = json.dumps(value, ensure_ascii=False)
    if len(indent + short) <= _WIDEST - 4 or not isinstance(value, dict | list) or not value:
        return short
    within = f"{indent}  "
    if isinstance(value, list):
        return "[" + ", ".join(_written(one, indent) for one in value) + "]"
    lines = [f"{within}{json.dumps(key)}: {_written(one, within)}" for key, one in value.items()]
    return "{\n" + ",\n".join(_joined(lines)) + f"\n{indent}}}"


def _joined(lines: list[str]) -> Iterator[str]:
    """Put short lines beside each other."""
    line = ""
    for one in lines:
        if line and "\n" not in line + one and len(line + one.lstrip()) + 2 <= _WIDEST:
            line = f"{line}, {one.lstrip()}"
            continue
        if line:
            yield line
        line = one
    yield line


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def _code(value: object, words: dict[str, str]) -> str:
    return words.get(str(value), f"`{value}`")


_GENERATED = {
    "settings": _settings,
    "addresses": _addresses,
    "parameters": _parameters,
    "fields": _fields,
    "statuses": _statuses,
    "commands": _commands,
    "answer": _answer,
}


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_generated(page.read_text("utf-8")), "utf-8")
    EXAMPLE.write_text(example(), "utf-8")
