"""Instructions per hit, which do not depend on the machine's mood: a whole gunicorn worker under callgrind."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import requests

from tests.running import RunningSandbox
from tools.bench.servers import HEADERS, Gunicorn, bare, proxy

# gunicorn's C parser uses an instruction that valgrind does not know; so both get its Python parser.
_OPTIONS = ("--http-parser", "python", "--timeout", "300")
_WARM = 30


def instructions_per_hit(sandbox: RunningSandbox, folder: Path, path: str, *, hits: int) -> tuple[float, float]:
    """Return the instructions that a hit costs the proxy's worker, and the bare function's."""
    with proxy(sandbox, *_OPTIONS, under=_callgrind(folder)) as server:
        own, body = _counted(server, folder, path, hits)
    with bare(sandbox, body, folder, *_OPTIONS, under=_callgrind(folder)) as server:
        floor, _ = _counted(server, folder, path, hits)
    return own, floor


def _callgrind(folder: Path) -> list[str]:
    options = ["--instr-atstart=no", "--trace-children=yes", f"--callgrind-out-file={folder}/callgrind.%p"]
    return ["valgrind", "--tool=callgrind", *options]


def _counted(server: Gunicorn, folder: Path, path: str, hits: int) -> tuple[float, bytes]:
    """Return the instructions per request, and the body as it travels."""
    with requests.Session() as session:

        def ask(times: int) -> bytes:
            for _ in range(times):
                with session.get(server.url + path, headers=HEADERS, stream=True, timeout=60) as answer:
                    answer.raise_for_status()
                    body: bytes = answer.raw.read()
            return body

        ask(_WARM)
        worker = str(server.worker)
        _control("--instr=on", worker)
        # Once more with instrumentation: what is translated for it is not counted among the hits.
        ask(_WARM)
        _control("--dump", worker)
        body = ask(hits)
        _control("--dump", worker)
    # The second dump: each holds what was counted since the one before.
    dumped = (folder / f"callgrind.{worker}.2").read_text()
    total = re.search(r"^(?:totals|summary): (\d+)", dumped, re.MULTILINE)
    assert total is not None, "callgrind's dump has no total"
    return int(total[1]) / hits, body


def _control(action: str, worker: str) -> None:
    subprocess.run(["callgrind_control", action, worker], check=True, capture_output=True)
