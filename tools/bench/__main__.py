"""``make bench``: all benches, the table, the chart. Ends with status 1 when a promise is not kept."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.running import RunningSandbox
from tools.bench.bad_day import bad_day
from tools.bench.burst import burst
from tools.bench.cpu import cpu
from tools.bench.growth import growth
from tools.bench.hit import PATH, hit
from tools.bench.instructions import instructions_per_hit
from tools.bench.kills import kills
from tools.bench.machine import machine
from tools.bench.plan import plan
from tools.bench.report import Line, chart, markdown, put_into, terminal
from tools.bench.scale import FULL, SMOKE, Scale
from tools.bench.send import send
from tools.bench.store import store
from tools.bench.sync import backfill, sync

_ROOT = Path(__file__).parents[2]
_ARTEFACTS = _ROOT / "tests" / "artefacts"
_PAGE = _ROOT / "docs" / "speed.md"


def instructions(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """e. Instructions per hit, of the whole worker."""
    sandbox.reset()
    own, on_sqlite, floor = instructions_per_hit(sandbox, folder, PATH, hits=scale.counted_hits)
    return [
        Line("instructions", "a hit", own),
        Line("instructions", "a hit on SQLite", on_sqlite),
        Line("instructions", "the bare function", floor),
        Line("instructions", "bare of hit", floor / own, "times"),
        Line("instructions", "memory of SQLite", own / on_sqlite, "times"),
    ]


def main(wanted: list[str]) -> int:
    """Run the benches named, all of them without a name; ``quick`` measures next to nothing."""
    scale = SMOKE if "quick" in wanted else FULL
    names = [name for name in wanted if name != "quick"]
    lines: list[Line] = []
    told = machine()
    print(f"{told}\n", flush=True)
    with TemporaryDirectory() as kept, RunningSandbox() as sandbox:
        folder = Path(kept)
        benches: dict[str, Callable[[], list[Line]]] = {
            "hit": lambda: hit(sandbox, folder, scale),
            "send": lambda: send(sandbox, folder, scale),
            "burst": lambda: burst(sandbox, folder, scale),
            "cpu": lambda: cpu(sandbox, folder, scale),
            "bad_day": lambda: bad_day(sandbox, scale),
            "growth": lambda: growth(sandbox, scale),
            "store": lambda: store(sandbox, folder, scale),
            "kills": lambda: kills(sandbox, folder, scale),
            "plan": lambda: plan(scale),
            "backfill": lambda: backfill(sandbox, folder, scale),
            "sync": lambda: sync(folder, scale),
            "instructions": lambda: instructions(sandbox, folder, scale),
        }
        if unknown := [name for name in names if name not in benches]:
            print(f"no bench {', '.join(unknown)}; there are quick, {', '.join(benches)}", file=sys.stderr)
            return 2
        for name in names or benches:
            started = time.monotonic()
            measured = benches[name]()
            print(f"{terminal(measured)}\n({time.monotonic() - started:.0f} s)\n", flush=True)
            lines += measured
    if scale is FULL:
        _ARTEFACTS.mkdir(exist_ok=True)
        (_ARTEFACTS / "speed.svg").write_text(chart(lines, told))
        print(f"chart: {_ARTEFACTS / 'speed.svg'}")
        if not names:
            put_into(_PAGE, markdown(lines, told))
    return int(any(line.holds is False for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
