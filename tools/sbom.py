"""Checks the bill of materials that ``make sbom`` writes: ``python -m tools.sbom sbom.json``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tools.requirements import EXTRAS, SETUP, runtime

PROJECT = "connected-content-proxy"
TOOLS = ("pytest", "mypy", "ruff", "hypothesis", "schemathesis", "playwright")


def faults(document: Any, required: Iterable[str], machine: Iterable[str]) -> list[str]:
    """Return what is wrong with a CycloneDX document.

    ``required``: packages that have to be in it. ``machine``: texts that must not, such as this machine's paths.
    """
    if not isinstance(document, Mapping) or document.get("bomFormat") != "CycloneDX":
        return ["this is no CycloneDX document"]
    versions = {_plain(part["name"]): part.get("version") for part in document.get("components", [])}
    found = [f"{name} is missing" for name in (PROJECT, *required) if _plain(name) not in versions]
    found += [f"{name} has no version" for name, version in versions.items() if not version]
    found += [f"{name} is a test tool" for name in TOOLS if name in versions]
    found += [f"{name} differs from run to run" for name in ("serialNumber",) if name in document]
    found += [f"metadata.{name} differs from run to run" for name in ("timestamp",) if name in document["metadata"]]
    text = json.dumps(document)
    return found + [f"it says {words}" for words in ("file:", "localhost", *machine) if words and words in text]


def _plain(name: str) -> str:
    """Return a name as package registries compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main(path: str) -> int:
    """Print the faults of a file and how many components it has; return the exit status."""
    document = json.loads(Path(path).read_text())
    found = faults(document, runtime(*EXTRAS), [str(SETUP.parent), str(Path.home()), sys.prefix])
    for fault in found:
        print(f"{path}: {fault}")
    print(f"{path}: {len(document['components'])} components")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
