"""docs/architecture.md: what it names is defined where it says so; and what a room may import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import proxy

ROOT = Path(proxy.__file__).parent
PAGE = (ROOT.parent / "docs" / "architecture.md").read_text()
WALKS = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", PAGE, re.MULTILINE))
ROOMS = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}


def _defined(file: Path) -> set[str]:
    """Return the names of a file's classes, of their methods as ``Class.method``, and of its functions."""
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return names


@pytest.mark.parametrize("walk", WALKS)
def test_what_a_walk_names_is_defined_in_the_file_it_names(walk: str) -> None:
    steps = re.split(r"^\d\. ", WALKS[walk], flags=re.MULTILINE)[1:]
    assert 5 <= len(steps) <= 8
    for step in steps:
        names = re.findall(r"`([^`]+)`", step)
        files = [ROOT / name for name in names if name.endswith(".py")]
        defined = set().union(*map(_defined, files))
        assert [name for name in names if not name.endswith(".py") and name not in defined] == []


def test_the_diagram_shows_rooms_and_only_arrows_that_are_imports() -> None:
    [diagram] = re.findall(r"```mermaid\n(.*?)```", PAGE, re.DOTALL)
    for line in diagram.splitlines()[1:]:
        places = re.split(r" --- | -- [^>]*--> | --> ", re.sub(r"[\[(]+.*?[\])]+", "", line).strip())
        for left, right in pairwise(places):
            # The metrics import what they hear; who tells it knows nothing of them.
            if {left, right} <= ROOMS and left != "middleware" and right != "telemetry":
                code = "".join(file.read_text() for file in (ROOT / left).rglob("*.py"))
                assert f"from proxy.{right}" in code, f"{left} --> {right}"


@pytest.mark.parametrize("room", ["reviews", "cache", "invitations", "preview.braze"])
def test_the_heart_and_brazes_liquid_need_neither_flask_nor_requests(room: str) -> None:
    """They are read, tested and used in a terminal alone; HTTP is passed in."""
    imports = f"import sys, proxy.{room}; print({{'flask', 'requests', 'urllib3', 'gevent'}} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", imports], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_all_walks_are_there() -> None:
    assert list(WALKS) == ["A hit", "A miss", "A refresh", "A webhook", "An invitation"]


def test_a_hit_and_a_miss_pass_few_files() -> None:
    """A miss passed 36 files and 170 hops once, and nobody could hold that in mind."""
    done = subprocess.run([sys.executable, "-m", "tools.walks"], capture_output=True, text=True, check=True)
    counted = re.findall(r"^(\w+): (\d+) files, (\d+) hops", done.stdout, re.MULTILINE)
    walked = {name: (int(files), int(hops)) for name, files, hops in counted}
    assert walked["hit"][0] <= 8
    assert walked["miss"][0] <= 20
    assert walked["miss"][1] <= 85
