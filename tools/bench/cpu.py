"""g. What a miss, a view and a hit cost: the worker's processor time, of which there is one core."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.running import RunningSandbox, proxy_environment
from tools.bench.asking import Render
from tools.bench.driver import Burst, Driver
from tools.bench.hit import body_on_the_wire
from tools.bench.report import Line
from tools.bench.scale import Scale
from tools.bench.send import stock
from tools.bench.servers import HEADERS, Gunicorn, bare, proxy

BEFORE = "3ec606a"
"""The commit that the issue measured: what a miss and a view took before."""

_ROOT = Path(__file__).parents[2]
_VIEWS = ("stars=5", "stars=4,5&limit=5", "min_chars=20", "language=en&sort=highest")
_AT_ONCE = 16


def cpu(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Measure the worker alone, the same at the commit before, and a stale answer beside a hit."""
    sandbox.reset()
    skus = stock(sandbox, scale.skus)
    measured: dict[str, list[dict[str, float]]] = defaultdict(list)
    with ExitStack() as over:
        before = over.enter_context(TemporaryDirectory(dir=folder))
        environment = proxy_environment(sandbox, CACHE_URL="memory://", **_checked_out(Path(before)))
        over.callback(_git, "worktree", "remove", "--force", f"{before}/tree")
        for _ in range(scale.burst_rounds):
            with proxy(sandbox, CACHE_URL="memory://") as server:
                measured["now"].append(_cost(server, skus))
                body = body_on_the_wire(server)
            with Gunicorn("wsgi:app", environment, folder=Path(before) / "tree") as server:
                measured["before"].append(_cost(server, skus))
            with bare(sandbox, body, folder) as server:
                measured["bare"].append({"request": _cpu(server, [("/",)] * (4 * len(skus)))})

    def microseconds(state: str, kind: str) -> float:
        return statistics.median(one[kind] for one in measured[state])

    floor = microseconds("bare", "request")
    lines = [Line("cpu", "processor time, the bare function's request", floor, "µs")]
    for kind in ("miss", "view", "hit"):
        lines += [
            Line("cpu", f"processor time, a {kind}, {state}", microseconds(state, kind), "µs")
            for state in ("now", "before")
        ]
    lines += [
        Line("cpu", "a miss beyond the bare request", microseconds("now", "miss") - floor, "µs", ceiling=1200),
        Line("cpu", f"a miss, of {BEFORE}'s", microseconds("now", "miss") / microseconds("before", "miss"), "times",
             ceiling=0.35),
        Line("cpu", f"a view, of {BEFORE}'s", microseconds("now", "view") / microseconds("before", "view"), "times",
             ceiling=0.5),
        Line("cpu", "a hit, of a stale answer in an outage", _hit_of_stale(sandbox, skus), "times", floor=0.8),
    ]  # fmt: skip
    return lines


def _hit_of_stale(sandbox: RunningSandbox, skus: Sequence[str]) -> float:
    """Return what a hit costs, of what the same answer costs while Trustpilot fails and all copies are stale."""
    renders = [(f"/v1/reviews?sku={sku}",) for sku in skus[:_AT_ONCE]] * 500
    with proxy(sandbox, CACHE_URL="memory://", CACHE_FRESH_SECONDS="10") as server:
        _cpu(server, renders)
        hit = statistics.median(_cpu(server, renders) for _ in range(7))
        sandbox.behave("fail")
        time.sleep(10)
        stale = statistics.median(_cpu(server, renders) for _ in range(7))
        sandbox.behave("ok")
    return hit / stale


def _cost(server: Gunicorn, skus: Sequence[str]) -> dict[str, float]:
    # Once through everything, so that nothing is done for the first time while it is measured.
    _cpu(server, [(f"/v1/reviews?sku=NONE-{number}",) for number in range(_AT_ONCE)])
    views = [(f"/v1/reviews?sku={sku}&{view}",) for view in _VIEWS for sku in skus]
    return {
        "miss": _cpu(server, [(f"/v1/reviews?sku={sku}",) for sku in skus]),
        "view": _cpu(server, views),
        "hit": _cpu(server, views * 4),
    }


def _cpu(server: Gunicorn, renders: Sequence[Render]) -> float:
    """Return the worker's processor time for one of ``renders``, in µs."""
    before = server.cpu_seconds()
    came: Burst = Driver(server.url, HEADERS).burst(renders, _AT_ONCE)
    used = server.cpu_seconds() - before
    assert set(came.statuses) == {200}, came.statuses
    return used / len(renders) * 1e6


def _checked_out(folder: Path) -> dict[str, str]:
    """Check the commit before out; return what its process needs of an environment."""
    _git("worktree", "add", "--detach", f"{folder}/tree", BEFORE)
    # It needs one library that is needed no more.
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", f"{folder}/libraries", "limits>=5.1"]
    subprocess.run([*install, "--no-warn-conflicts"], check=True)
    return {"PYTHONPATH": f"{folder}/libraries"}


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(_ROOT), *arguments], check=True, capture_output=True)
