"""The tools that the tests have from npm."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_TOOLS = {"axe-core", "caniemail", "html-validate"}


@cache
def modules() -> Path:
    """Return the folder they are installed in: of this tree or, in a copy inside it, of the tree around."""
    for folder in Path(__file__).parents:
        installed = folder / ".venv/npm/node_modules"
        if all((installed / name).is_dir() for name in _TOOLS):
            return installed
    subprocess.run(["make", "--silent", "npm"], cwd=_ROOT, check=True, timeout=300)
    return _ROOT / ".venv/npm/node_modules"
