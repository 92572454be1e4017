"""g. What a miss, a view and a hit cost: the worker's processor time, of which there is one core."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
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
_SLICES = 5


def cpu(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Measure the worker alone, beside the same at the commit before, and a stale answer beside a hit."""
    sandbox.reset()
    skus = stock(sandbox, scale.skus)
    views = [(f"/v1/reviews?sku={sku}&{view}",) for view in _VIEWS for sku in skus]
    asked = {"miss": [(f"/v1/reviews?sku={sku}",) for sku in skus], "view": views, "hit": views * 4}
    now, before = ({kind: list[float]() for kind in asked} for _ in range(2))
    floors = []
    with ExitStack() as over:
        place = over.enter_context(TemporaryDirectory(dir=folder))
        environment = proxy_environment(sandbox, CACHE_URL="memory://", **_checked_out(Path(place)))
        over.callback(_git, "worktree", "remove", "--force", f"{place}/tree")
        for _ in range(scale.burst_rounds):
            with (
                proxy(sandbox, CACHE_URL="memory://") as server,
                Gunicorn("wsgi:app", environment, folder=Path(place) / "tree") as other,
            ):
                for each in (server, other):
                    # So that nothing is done for the first time while it is measured.
                    _cpu(each, [(f"/v1/reviews?sku=NONE-{number}",) for number in range(_AT_ONCE)])
                for kind, renders in asked.items():
                    if kind == "hit":
                        _in_turn(server, other, [views])
                    slices = [renders[number::_SLICES] for number in range(_SLICES)]
                    for costs, more in zip((now, before), _in_turn(server, other, slices), strict=True):
                        costs[kind] += more
                body = body_on_the_wire(server)
            with bare(sandbox, body, folder) as server:
                floors.append(_cpu(server, [("/",)] * (4 * len(skus))))
    floor, miss = statistics.median(floors), statistics.median(now["miss"])
    return [
        Line("cpu", "processor time, the bare function's request", floor, "µs"),
        *(
            Line("cpu", f"processor time, a {kind}, {state}", statistics.median(costs[kind]), "µs")
            for kind in asked
            for state, costs in (("now", now), ("before", before))
        ),
        Line("cpu", "a miss beyond the bare request", miss - floor, "µs", ceiling=1200),
        Line("cpu", f"a miss, of {BEFORE}'s", _ratio(now["miss"], before["miss"]), "times", ceiling=0.35),
        Line("cpu", f"a view, of {BEFORE}'s", _ratio(now["view"], before["view"]), "times", ceiling=0.5),
        Line("cpu", "a hit, of a stale answer in an outage", _hit_of_stale(sandbox, skus), "times", floor=0.8),
    ]


def _hit_of_stale(sandbox: RunningSandbox, skus: Sequence[str]) -> float:
    """Return what a hit costs, of what the same answer costs while Trustpilot fails and all copies are stale."""
    renders = [(f"/v1/reviews?sku={sku}",) for sku in skus[:_AT_ONCE]] * 500
    with (
        proxy(sandbox, CACHE_URL="memory://") as fresh,
        proxy(sandbox, CACHE_URL="memory://", CACHE_FRESH_SECONDS="10") as stale,
    ):
        for server in (fresh, stale):
            _cpu(server, renders)
        sandbox.behave("fail")
        time.sleep(10)
        costs = _in_turn(fresh, stale, [renders] * 2 * _SLICES)
        sandbox.behave("ok")
    return _ratio(*costs)


def _in_turn(one: Gunicorn, other: Gunicorn, slices: Iterable[Sequence[Render]]) -> tuple[list[float], list[float]]:
    """Return what each slice costs each of the two, one right after the other: the machine drifts."""
    costs: tuple[list[float], list[float]] = [], []
    for number, renders in enumerate(slices):
        # Forwards and backwards, so that nobody always comes second.
        for server, its in ((one, costs[0]), (other, costs[1]))[:: -1 if number % 2 else 1]:
            its.append(_cpu(server, renders))
    return costs


def _ratio(costs: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(cost / other for cost, other in zip(costs, others, strict=True))


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
