"""Instructions per hit, which do not depend on the machine's mood: a whole gunicorn worker under callgrind."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

from tests.running import RunningSandbox
from tools.bench.driver import Driver
from tools.bench.hit import body_on_the_wire
from tools.bench.servers import HEADERS, Gunicorn, bare, proxy

# gunicorn's C parser uses an instruction that valgrind does not know; so both get its Python parser.
_OPTIONS = ("--http-parser", "python", "--timeout", "300")
_WARM, _AT_ONCE = 50, 16


def instructions_per_hit(
    sandbox: RunningSandbox, folder: Path, path: str, *, hits: int
) -> tuple[float, float, float]:
    """Return the instructions that a hit costs a worker in memory, one on SQLite, and the bare function's."""
    counts = []
    for store in ("memory://", f"sqlite:///{folder}/counted.sqlite3"):
        # The same seed: where names lie in dictionaries differs from start to start, and with it what a look costs.
        with proxy(sandbox, *_OPTIONS, under=_callgrind(folder), CACHE_URL=store, PYTHONHASHSEED="0") as server:
            body = body_on_the_wire(server)
            counts.append(_counted(server, folder, path, hits))
    with bare(sandbox, body, folder, *_OPTIONS, under=_callgrind(folder)) as server:
        floor = _counted(server, folder, path, hits)
    in_memory, on_sqlite = counts
    return in_memory, on_sqlite, floor


def _callgrind(folder: Path) -> list[str]:
    options = ["--instr-atstart=no", "--trace-children=yes", f"--callgrind-out-file={folder}/callgrind.%p"]
    return ["valgrind", "--tool=callgrind", *options]


def _counted(server: Gunicorn, folder: Path, path: str, hits: int) -> float:
    """Return the instructions per request."""
    driver = Driver(server.url, HEADERS)

    def ask(times: int) -> None:
        for _ in range(times // _WARM):
            came = driver.burst([(path,)] * _WARM, _AT_ONCE)
            assert set(came.statuses) == {200}, came.statuses

    ask(_WARM)
    worker = str(server.worker)
    _control("--instr=on", worker)
    # Once more with instrumentation: what is translated for it is not counted among the hits.
    ask(_WARM)
    _control("--dump", worker)
    began = time.monotonic()
    ask(hits)
    _control("--dump", worker)
    # As long again without a hit: what a worker does by the clock is no hit's.
    time.sleep(time.monotonic() - began)
    _control("--dump", worker)
    # From the second dump on: each holds what was counted since the one before.
    busy, idle = (_total(folder / f"callgrind.{worker}.{number}") for number in (2, 3))
    return (busy - idle) / hits


def _total(dump: Path) -> int:
    total = re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.MULTILINE)
    assert total is not None, "callgrind's dump has no total"
    return int(total[1])


def _control(action: str, worker: str) -> None:
    subprocess.run(["callgrind_control", action, worker], check=True, capture_output=True)
