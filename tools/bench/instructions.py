"""Instructions per hit, which do not depend on the machine's mood: a whole gunicorn worker under callgrind."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
import time
from pathlib import Path

import gunicorn_h1c

from tests.running import RunningSandbox
from tools.bench.driver import Driver
from tools.bench.hit import body_on_the_wire
from tools.bench.servers import HEADERS, Gunicorn, bare, proxy

_PATIENT = ("--timeout", "300")
_AT_ONCE, _BURST = 16, 250


def instructions_per_hit(
    sandbox: RunningSandbox, folder: Path, path: str, *, hits: int
) -> tuple[float, float, float]:
    """Return the instructions that a hit costs a worker in memory, one on SQLite, and the bare function's."""
    counts = []
    # The same seed: where names lie in dictionaries differs from start to start, and with it what a look costs.
    settings = {"PYTHONHASHSEED": "0", "PYTHONPATH": str(_parser(folder))}
    for store in ("memory://", f"sqlite:///{folder}/counted.sqlite3"):
        settings |= {"CACHE_URL": store, "DEADLINE_SECONDS": "30", "UPSTREAM_TIMEOUT_SECONDS": "20"}
        with proxy(sandbox, *_PATIENT, under=_callgrind(folder), **settings) as server:
            body = body_on_the_wire(server)
            counts.append(_counted(server, folder, path, hits))
    with bare(sandbox, body, folder, *_PATIENT, under=_callgrind(folder), **settings) as server:
        floor = _counted(server, folder, path, hits)
    in_memory, on_sqlite = counts
    return in_memory, on_sqlite, floor


def _parser(folder: Path) -> Path:
    """Make gunicorn's C parser anew without SSE 4.2, of which valgrind does not know all; return where it is."""
    installed = Path(gunicorn_h1c.__file__).parent
    made = folder / "parser"
    shutil.copytree(installed, made / installed.name)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    pico = installed / "picohttpparser"
    compiler = ["cc", "-O3", "-shared", "-fPIC", "-I", sysconfig.get_path("include"), "-I", str(pico)]
    for name, source in (("_parser", "pico_parser_module"), ("_parser_fast", "pico_parser_fast")):
        library = made / installed.name / f"{name}{suffix}"
        library.unlink()
        sources = [str(installed / f"{source}.c"), str(pico / "picohttpparser.c")]
        subprocess.run([*compiler, *sources, "-o", str(library)], check=True)
    return made


def _callgrind(folder: Path) -> list[str]:
    options = ["--instr-atstart=no", "--trace-children=yes", f"--callgrind-out-file={folder}/callgrind.%p"]
    return ["valgrind", "--tool=callgrind", *options, _meeting(folder)]


def _meeting(folder: Path) -> str:
    # Where callgrind_control finds the worker; by default it is TMPDIR, and the proxy has one of its own.
    return f"--vgdb-prefix={folder}/vgdb"


def _counted(server: Gunicorn, folder: Path, path: str, hits: int) -> float:
    """Return the instructions per request."""
    driver = Driver(server.url, HEADERS)

    def ask(times: int) -> None:
        for _ in range(times // _BURST):
            came = driver.burst([(path,)] * _BURST, _AT_ONCE)
            assert set(came.statuses) == {200}, came.statuses

    def control(action: str) -> None:
        subprocess.run(["callgrind_control", _meeting(folder), action, worker], check=True, capture_output=True)

    worker = str(server.worker)
    ask(hits)
    control("--instr=on")
    # Once more with instrumentation: what is translated for it is not counted among the hits.
    ask(hits)
    control("--dump")
    began = time.monotonic()
    ask(hits)
    control("--dump")
    # As long again without a hit: what a worker does by the clock is no hit's.
    time.sleep(time.monotonic() - began)
    control("--dump")
    # From the second dump on: each holds what was counted since the one before.
    busy, idle = (_total(folder / f"callgrind.{worker}.{number}") for number in (2, 3))
    return (busy - idle) / hits


def _total(dump: Path) -> int:
    total = re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.MULTILINE)
    assert total is not None, "callgrind's dump has no total"
    return int(total[1])
