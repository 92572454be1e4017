"""Changes the code of a room in small ways and runs the room's own tests: ``make mutants``.

mutmut says which changes there are. They are made to the functions of a process that has all tests loaded already,
which forks for each of them and runs the tests that pass through the changed line, the quickest first: mutmut itself
takes minutes before it comes to the first one. A started proxy does not see a change. What no test notices is shown
to the type checker, which ``make test`` runs too.

A room has some thousand mutants, so by default a sample is run, the same one each time (``SAMPLE=0``: all,
``SEED=2``: others). A survivor that no test can kill stands with its reason in ``tools/equivalent_mutants.toml``.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any

import coverage
import libcst
import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from mutmut.mutation.file_mutation import create_mutations

from tests.running import RunningSandbox

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".mutants" / str(os.getpid())
"""Of this run: rooms may be tried side by side."""
ROOMS = ("cache", "reviews", "trustpilot", "invitations")
GOAL = 0.85
_EQUIVALENT = ROOT / "tools" / "equivalent_mutants.toml"
_SLOWER = 5
"""A test that takes so many times as long as without a mutant, and some seconds, will not end."""
_SOME_SECONDS = 10.0
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Mutant:
    """A changed file, and the function or method that the change is in, as ``Class.method``."""

    file: Path
    function: str
    source: str
    changed: str

    @property
    def diff(self) -> tuple[str, str]:
        """The lines that the change replaces and those it makes of them, without the white space around them."""
        lines = list(difflib.unified_diff(self.source.splitlines(), self.changed.splitlines(), n=0, lineterm=""))[3:]
        before, after = (" ".join(each[1:].strip() for each in lines if each[0] == sign) for sign in "-+")
        return before, after

    @property
    def lines(self) -> set[int]:
        """The lines of the statement that is changed; of its function where that is the statement."""
        pairs = zip(self.source.splitlines(), self.changed.splitlines(), strict=False)
        first = next((number for number, (one, other) in enumerate(pairs, 1) if one != other), 1)
        statements = [
            node
            for node in ast.walk(ast.parse(self.source))
            if isinstance(node, ast.stmt) and node.lineno <= first <= (node.end_lineno or 0)
        ]
        innermost = max(statements, key=lambda node: (node.lineno, -(node.end_lineno or 0)))
        last = innermost.end_lineno or 0
        inside = getattr(innermost, "body", None)
        if inside and not isinstance(innermost, ast.FunctionDef):
            last = inside[0].lineno - 1
        return {first, *range(innermost.lineno, last + 1)}

    def make(self) -> None:
        """Have this process run the changed function from now on."""
        module = ".".join(self.file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        changed: dict[str, Any] = {"__name__": module, "__file__": str(self.file)}
        exec(compile(self.changed, str(self.file), "exec"), changed)
        owner, function = _found(vars(import_module(module)), self.function)
        new = _found(changed, self.function)[1]
        try:
            function.__code__ = new.__code__
        except ValueError:
            # A method that calls super() no more.
            plain = FunctionType(new.__code__, function.__globals__, function.__name__, function.__defaults__)
            setattr(owner, function.__name__, plain)
        function.__defaults__ = tuple(map(_default, function.__defaults__ or (), new.__defaults__ or ())) or None
        named = new.__kwdefaults__ or {}
        function.__kwdefaults__ = {
            name: _default(old, named[name]) for name, old in (function.__kwdefaults__ or {}).items()
        } or None


def _found(names: Mapping[str, Any], function: str) -> tuple[Any, FunctionType]:
    """Return a function of a module and the class that it is a method of."""
    of, _, name = function.rpartition(".")
    owner = names[of] if of else None
    found = vars(owner)[name] if of else names[name]
    return owner, getattr(found, "__func__", found)


def _default(old: object, new: object) -> object:
    """Return a parameter's default; what is more than a number or a text is another object in each copy."""
    return new if isinstance(new, _PLAIN) else old


def mutants_of(file: Path) -> list[Callable[[], Mutant]]:
    """Return all mutants of a file, each made only when asked for."""
    source = file.read_text()
    module, mutations, *_ = create_mutations(str(file), source)
    functions: dict[libcst.CSTNode, str] = {}
    for outer in module.body:
        if isinstance(outer, libcst.FunctionDef):
            functions[outer] = outer.name.value
        elif isinstance(outer, libcst.ClassDef):
            methods = (node for node in outer.body.body if isinstance(node, libcst.FunctionDef))
            functions |= {node: f"{outer.name.value}.{node.name.value}" for node in methods}

    def maker(old: libcst.CSTNode, new: libcst.CSTNode, function: str) -> Callable[[], Mutant]:
        def made() -> Mutant:
            changed = module.deep_replace(old, new)
            assert isinstance(changed, libcst.Module)
            return Mutant(file, function, source, changed.code)

        return made

    return [
        maker(each.original_node, each.mutated_node, functions[each.contained_by_top_level_function])
        for each in mutations
        if each.contained_by_top_level_function in functions
    ]


@dataclass
class Score:
    """What came of a room's mutants. ``made``: how many there are; ``run``: how many were tried, up to Ctrl-C."""

    room: str
    made: int = 0
    run: int = 0
    by_status: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        """The share of the mutants run that were noticed, those left out that nothing can notice."""
        counted = self.run - self.by_status["equivalent"]
        killed = counted - self.by_status["survived"] - self.by_status["no tests"]
        return killed / counted if counted else 1.0

    @property
    def holds(self) -> bool:
        return self.share >= GOAL

    def __str__(self) -> str:
        sample = "all" if self.run == self.made else f"a sample of {self.run}"
        counts = ", ".join(f"{count} {status}" for status, count in sorted(self.by_status.items()))
        verdict = "holds" if self.holds else f"FALLS SHORT of {GOAL:.0%}"
        return f"{self.room}: {self.share:.1%} of {sample} of {self.made} mutants killed, {verdict} ({counts})"


class Mutating:
    """A plugin of pytest that in place of running the tests once runs them for one mutant after the other."""

    def __init__(self, room: str, most: int, seed: int) -> None:
        self.score = Score(room)
        self._most = most
        self._seed = seed
        self._failed: dict[str, str] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration
        if report.failed:
            self._failed[report.nodeid] = report.longreprtext[-1000:]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        files = sorted(ROOT.glob(f"proxy/{self.score.room}*/**/*.py")) or [ROOT / f"proxy/{self.score.room}.py"]
        made = [each for file in files for each in mutants_of(file)]
        chosen = random.Random(self._seed).sample(made, self._most) if 0 < self._most < len(made) else made
        self.score.made = len(made)
        with contextlib.ExitStack() as stack:
            started = stack.enter_context(RunningSandbox())
            # One for all, which a fork leaves alone.
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr("tests.conftest.RunningSandbox", lambda: contextlib.nullcontext(started))
            passing = self._passing(session, files)
            types = stack.enter_context(_Types())
            for each in chosen:
                self._try(session, each(), passing, types)
        return True

    def _passing(self, session: pytest.Session, files: Iterable[Path]) -> Mapping[tuple[str, int], set[str]]:
        """Run all tests without a mutant; return which of them pass through each line."""
        outside = [item for item in session.items if not _starts_a_proxy(item)]
        told = FOLDER / "passing.json"

        def run() -> None:
            measured = coverage.Coverage(data_file=None, include=[str(file) for file in files])
            measured.start()
            for item in outside:
                measured.switch_context(item.nodeid)
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            measured.stop()
            data = measured.get_data()
            passing = [
                (file, line, nodes)
                for file in data.measured_files()
                for line, nodes in data.contexts_by_lineno(file).items()
            ]
            told.write_text(json.dumps([passing, self._seconds, self._failed]))

        assert _forked(run, 1200.0) == 0, "the tests did not come to an end"
        passing, seconds, failed = json.loads(told.read_text())
        self._seconds.update(seconds)
        for nodeid, why in failed.items():
            print(f"left out, as it fails without a mutant: {nodeid}\n{why}", flush=True)
        return {(file, line): {*nodes} - {"", *failed} for file, line, nodes in passing}

    def _try(
        self,
        session: pytest.Session,
        mutant: Mutant,
        passing: Mapping[tuple[str, int], set[str]],
        types: _Types,
    ) -> None:
        through = set().union(*(passing.get((str(mutant.file), line), set()) for line in mutant.lines))
        items = sorted((item for item in session.items if item.nodeid in through), key=self._took)

        def run() -> None:
            mutant.make()
            for item in items:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                if self._failed:
                    os._exit(1)

        status = "no tests"
        if items:
            ended = _forked(run, _SOME_SECONDS + _SLOWER * sum(map(self._took, items)))
            status = {None: "timeout", 0: "survived"}.get(ended, "killed")
        if status in ("survived", "no tests"):
            if types.complain(mutant):
                status = "caught by type check"
            elif _is_equivalent(mutant):
                status = "equivalent"
            else:
                before, after = mutant.diff
                place = f"{mutant.file.relative_to(ROOT)}:{min(mutant.lines)}"
                print(f"{place} {mutant.function}: {status}\n    - {before}\n    + {after}", flush=True)
        self.score.by_status[status] += 1
        self.score.run += 1

    def _took(self, item: pytest.Item) -> float:
        return self._seconds[item.nodeid]


def _starts_a_proxy(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function):
        return False
    named = item.function.__code__.co_names if isinstance(item.function, FunctionType) else ()
    return bool({"proxy", "shared_proxy", "browser"} & {*item.fixturenames}) or "RunningProxy" in named


def _forked(run: Callable[[], None], seconds: float) -> int | None:
    """Run it in a fork of this process; return how that ended, ``None`` when the time was up."""
    if not (pid := os.fork()):
        code = 1
        try:
            # What a test has started is ended by its fixtures.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            run()
            code = 0
        finally:
            os._exit(code)
    until = time.monotonic() + seconds
    pause = 0.002
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            break
        time.sleep(pause := min(0.1, pause * 1.5))
    os.kill(pid, signal.SIGTERM)
    for _ in range(50):
        if os.waitpid(pid, os.WNOHANG)[0]:
            return None
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


class _Types:
    """The type checker, over a copy of the code, which it has read already."""

    def __enter__(self) -> _Types:
        shutil.copytree(ROOT / "proxy", FOLDER / "proxy", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "setup.cfg", FOLDER)
        assert not self._complain(), "the type checker complains without a mutant"
        return self

    def __exit__(self, *_: object) -> None:
        self._dmypy("stop")

    def complain(self, mutant: Mutant) -> bool:
        """Tell whether the type checker notices the change."""
        copy = FOLDER / mutant.file.relative_to(ROOT)
        copy.write_text(mutant.changed)
        complains = self._complain()
        copy.write_text(mutant.source)
        return complains

    def _complain(self) -> bool:
        status = self._dmypy("run", "--", "proxy")
        assert status in (0, 1), "the type checker does not work"
        return status == 1

    def _dmypy(self, *arguments: str) -> int:
        command = [str(Path(sys.executable).with_name("dmypy")), *arguments]
        return subprocess.run(command, cwd=FOLDER, capture_output=True, check=False).returncode


def _is_equivalent(mutant: Mutant) -> bool:
    """Tell whether no test can notice the change, by what is listed: it, or all that change a text's case there."""
    before, after = mutant.diff
    file = mutant.file.relative_to(ROOT)
    listed: list[dict[str, str]] = tomllib.loads(_EQUIVALENT.read_text())["mutant"]
    assert all(each["reason"] for each in listed)
    return any(
        before.lower() == after.lower() and re.search(each["case"], before)
        if "case" in each
        else (before, after) == (each["before"], each["after"])
        for each in listed
        if file.match(each["file"])
    )


def main(rooms: Sequence[str], most: int, seed: int) -> int:
    """Run at most ``most`` mutants of each room, 0 for all; return 1 where a room falls short of the goal."""
    scores = []
    for room in rooms or ROOMS:
        scores.append(_scored(room, most, seed))
    for score in scores:
        print(score)
    return int(not all(score.holds for score in scores))


def _scored(room: str, most: int, seed: int) -> Score:
    FOLDER.mkdir(parents=True)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(FOLDER / "hypothesis")
    # What a failing example looks like when it is small helps nobody here.
    hypothesis_settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], database=None)
    started = time.monotonic()
    mutating = Mutating(room, most, seed)
    options = ["-q", "-s", "-p", "no:xdist", "-p", "no:cacheprovider", "--no-header", "--no-summary"]
    options += ["--hypothesis-profile", "mutants", f"tests/{Path(room).parts[0]}"]
    try:
        pytest.main(options, plugins=[mutating])
    finally:
        shutil.rmtree(FOLDER)
    print(f"{mutating.score}\n({time.monotonic() - started:.0f} s)\n", flush=True)
    return mutating.score


if __name__ == "__main__":
    os.nice(10)
    sys.exit(main(sys.argv[2:], int(sys.argv[1]), int(os.environ.get("SEED", "12"))))
