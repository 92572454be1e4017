"""Changes the code of a room in small ways and runs the room's own tests: ``make mutants``.

mutmut makes the mutants and runs them; the type checker counts as a test, since ``make test`` runs it. A room has
some thousand mutants, so by default a sample is run, the same one each time (``SAMPLE=0``: all). A survivor that no
test can kill stands with its reason in ``tools/equivalent_mutants.toml``.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.stats import status_by_exit_code
from mutmut.utils.format_utils import get_mutant_name

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".mutants"
ROOMS = ("cache", "reviews", "trustpilot", "invitations")
GOAL = 0.85
_SEED = 12
_EQUIVALENT = ROOT / "tools" / "equivalent_mutants.toml"
_KILLED = {"killed", "timeout", "suspicious", "segfault", "caught by type check"}
_CONFIGURATION = """
[mutmut]
source_paths = proxy
only_mutate = proxy/{room}*
also_copy =
    tools
    quickest_first.py
    wsgi.py
    gunicorn.conf.py
pytest_add_cli_args =
    -q
    -p
    no:xdist
    -p
    no:cacheprovider
    -p
    quickest_first
    --hypothesis-profile
    mutants
pytest_add_cli_args_test_selection =
    tests/{tests}
process_isolation = forkserver
timeout_constant = 2
timeout_multiplier = 4
on_dependency_change = ignore
"""
_TYPES = """
type_check_command =
    {python}
    -m
    mypy
    --output
    json
    --no-warn-unused-ignores
    proxy
"""
_WITHOUT_TYPES = {"cache"}
"""mutmut stops at a type error outside a mutant, and the methods it makes of a backend no longer fit ``Backend``."""
_QUICKEST_FIRST = """
import json
from pathlib import Path
from hypothesis import Phase, settings

# What a failing example looks like when it is small helps nobody here.
settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], database=None)

def pytest_collection_modifyitems(items):
    known = Path("mutmut-stats.json")
    took = json.loads(known.read_text())["duration_by_test"] if known.exists() else {}
    items.sort(key=lambda item: took.get(item.nodeid, 0.0))
"""


@dataclass(frozen=True)
class Survivor:
    """A mutant that no test noticed: its file, and the lines that it changes, without the white space around them."""

    name: str
    file: str
    before: str
    after: str


@dataclass(frozen=True)
class Score:
    """What came of a room's mutants. ``made``: how many there are; ``run``: the size of the sample."""

    room: str
    made: int
    run: int
    by_status: Counter[str]
    survivors: Sequence[Survivor]
    equivalent: int

    @property
    def share(self) -> float:
        """The share of the mutants run that were killed, those left out that nothing can kill."""
        counted = self.run - self.equivalent
        return sum(self.by_status[status] for status in _KILLED) / counted if counted else 1.0


def mutants_of(files: Iterable[Path]) -> list[str]:
    """Return the names that mutmut gives all mutants of these files."""
    names = []
    for file in files:
        mutated = mutate_file_contents(str(file), file.read_text())
        names += [get_mutant_name(file, name) for name in mutated.mutant_names]
    return sorted(names)


def main(rooms: Sequence[str], most: int) -> int:
    """Run at most ``most`` mutants of each room, 0 for all; return 1 where a room falls short of the goal."""
    scores = []
    for room in rooms or ROOMS:
        started = time.monotonic()
        _lay_out(room)
        scores.append(_run(room, most))
        print(f"({time.monotonic() - started:.0f} s)\n", flush=True)
    for score in scores:
        sample = "all" if score.run == score.made else f"a sample of {score.run}"
        counts = ", ".join(f"{count} {status}" for status, count in sorted(score.by_status.items()))
        verdict = "holds" if score.share >= GOAL else f"FALLS SHORT of {GOAL:.0%}"
        print(f"{score.room}: {score.share:.1%} of {sample} of {score.made} mutants killed, {verdict} ({counts}, ")
        print(f"    {score.equivalent} of the survivors equivalent)")
    return int(any(score.share < GOAL for score in scores))


def _lay_out(room: str) -> None:
    """Copy the tree to where mutmut may change it."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for name in ("proxy", "tests", "tools"):
        shutil.copytree(ROOT / name, FOLDER / name, ignore=shutil.ignore_patterns("__pycache__", "artefacts"))
    for name in ("wsgi.py", "gunicorn.conf.py"):
        shutil.copy(ROOT / name, FOLDER)
    (FOLDER / "quickest_first.py").write_text(_QUICKEST_FIRST)
    setup = (ROOT / "setup.cfg").read_text()
    top = Path(room).parts[0]
    types = "" if top in _WITHOUT_TYPES else _TYPES.format(python=sys.executable)
    (FOLDER / "setup.cfg").write_text(setup + _CONFIGURATION.format(room=room, tests=top) + types)


def _run(room: str, most: int) -> Score:
    os.chdir(FOLDER)
    made = mutants_of(sorted(Path().glob(f"proxy/{room}*/**/*.py")) or [Path(f"proxy/{room}.py")])
    chosen = random.Random(_SEED).sample(made, most) if 0 < most < len(made) else made
    print(f"{room}: {len(chosen)} of {len(made)} mutants", flush=True)
    command = [str(Path(sys.executable).with_name("mutmut")), "run", *chosen]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    statuses = _statuses(room)
    by_status = Counter(statuses.get(name, "not checked") for name in chosen)
    if done.returncode or by_status["not checked"]:
        told = [line for line in done.stdout.splitlines() if not re.match("[⠀-⣿]", line)]
        print("\n".join(told[-60:]), done.stderr[-3000:])
        raise SystemExit(f"{room}: mutmut did not run all of them")
    known = {(each["file"], each["before"], each["after"]) for each in _equivalent()}
    survivors = [_survivor(name) for name in chosen if statuses[name] not in _KILLED]
    left = [each for each in survivors if (each.file, each.before, each.after) not in known]
    for each in left:
        print(f"{each.file}: {each.name.rpartition('.')[2]}\n    - {each.before}\n    + {each.after}")
    return Score(room, len(made), len(chosen), by_status, left, len(survivors) - len(left))


def _statuses(room: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for meta in Path("mutants", "proxy", Path(room).parts[0]).rglob("*.meta"):
        for name, code in json.loads(meta.read_text())["exit_code_by_key"].items():
            found[name] = status_by_exit_code[code]
    return found


def _survivor(name: str) -> Survivor:
    command = [str(Path(sys.executable).with_name("mutmut")), "show", name]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    file = next(line.removeprefix("--- ") for line in lines if line.startswith("--- "))
    before = " ".join(line[1:].strip() for line in lines if line.startswith("-") and not line.startswith("---"))
    after = " ".join(line[1:].strip() for line in lines if line.startswith("+") and not line.startswith("+++"))
    return Survivor(name, file, before, after)


def _equivalent() -> list[dict[str, str]]:
    listed: list[dict[str, str]] = tomllib.loads(_EQUIVALENT.read_text()).get("mutant", [])
    assert all(each["reason"] for each in listed)
    return listed


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], int(sys.argv[1])))
