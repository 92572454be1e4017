"""h. Sync: reading all reviews of a shop, killed on the way; what a round over many products costs those who ask."""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from proxy.cache.sqlite import SqliteBackend
from proxy.clock import spawn
from proxy.reviews.models import PER_PAGE
from proxy.sync.feed import Shops
from tests.load import percentile
from tests.running import SECRET, RunningSandbox, proxy_environment
from tools.bench.driver import Burst, Driver
from tools.bench.report import Line
from tools.bench.scale import Scale
from tools.bench.servers import HEADERS, Gunicorn, proxy

_UNIT = "5f3a8e8e8e8e8e0001b00b1e"
_KILLS = 3
_MEGABYTE = 1024 * 1024
_CALLS = {"TRUSTPILOT_CALLS_PER_5_MINUTES": "1000000", "TRUSTPILOT_CALLS_PER_HOUR": "1000000"}
_BY_COUNTS = {"SYNC": "summaries", "CACHE_FRESH_SECONDS": "10"}
_AT_ONCE = 4
_HITS = 400


def _settings(file: Path) -> dict[str, str]:
    return {
        **_CALLS,
        "SYNC": "auto",
        # The sandbox composes all reviews before it shows the first.
        "UPSTREAM_TIMEOUT_SECONDS": "100",
        "TRUSTPILOT_BUSINESS_UNIT_ID": _UNIT,
        "TRUSTPILOT_CALLS_PER_YEAR": "unlimited",
        "CACHE_URL": f"sqlite:///{file}",
    }


def _open_shop(sandbox: RunningSandbox, products: int, reviews: int) -> list[str]:
    sandbox.reset()
    sandbox.put_shop(_UNIT, "Large")
    asked = {"products": products, "reviews": reviews, "prefix": "SKU-"}
    skus: list[str] = sandbox.control("POST", f"/generate?business_unit={_UNIT}", asked).json()["skus"]
    return skus


def backfill(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Kill the command on the way again and again; then ask a proxy for any product."""
    products, reviews = scale.backfilled
    skus = _open_shop(sandbox, products, reviews)
    settings, pages = _settings(folder / "backfill.sqlite3"), products * reviews / PER_PAGE
    started = time.monotonic()
    kills = 0
    for kill in range(1, _KILLS + 1):
        with _command(sandbox, settings) as command:
            while command.poll() is None and sandbox.calls()["feed"] < pages * kill / (_KILLS + 1):
                time.sleep(0.2)
            kills += command.poll() is None
            command.send_signal(signal.SIGKILL)
    with _command(sandbox, settings) as command:
        ended = command.wait()
    seconds = time.monotonic() - started
    calls = sandbox.calls()
    with proxy(sandbox, **settings) as server:
        chance = random.Random(16)
        renders = [(f"/v1/reviews?sku={sku}",) for sku in chance.choices(skus, k=scale.renders)]
        before = sandbox.ledger().total
        came = Driver(server.url, {"X-Api-Key": SECRET}).burst(renders, scale.backfill_connections)
        after = sandbox.ledger().total - before
    name = f"{products * reviews:,} reviews over {products:,} products"
    return [
        Line("backfill", f"{name}: SIGKILLs on the way", kills, "", floor=_KILLS),
        Line("backfill", f"{name}: exit status of the last command", ended, "", ceiling=0),
        Line("backfill", f"{name}: calls for the list", calls["feed"], "", floor=pages * 0.99, ceiling=pages * 1.01),
        Line("backfill", f"{name}: calls for summaries besides", calls["shop_summaries"]),
        Line(
            "backfill", f"{name}: calls for single products", calls["reviews"] + calls["batch_summaries"], ceiling=0
        ),
        Line("backfill", f"{name}: seconds", seconds, "s"),
        Line("backfill", f"then {scale.backfill_connections:,} connections: answers", came.statuses[200]),
        Line("backfill", f"then {scale.backfill_connections:,} connections: calls", after, ceiling=0),
        Line("backfill", f"then {scale.backfill_connections:,} connections: blank", _blank(came, reviews), ceiling=0),
    ]


def _command(sandbox: RunningSandbox, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    flask = str(Path(sys.executable).with_name("flask"))
    environment = proxy_environment(sandbox, **settings)
    return subprocess.Popen([flask, "--app", "wsgi", "sync", "--wait"], env=environment, stdout=subprocess.DEVNULL)


def _blank(came: Burst, reviews: int) -> int:
    """Return how many answers were none, or did not show what the shop has of the product."""
    wrong = [
        path
        for path, bodies in came.bodies.items()
        for body in bodies
        if json.loads(body)["summary"]["total"] != reviews or json.loads(body)["count"] != min(3, reviews)
    ]
    return came.statuses.total() - came.statuses[200] + len(wrong)


@dataclass
class _Times:
    """Of hits, before a round and while it runs, and what the round cost. Seconds and bytes."""

    before: list[float] = field(default_factory=list)
    meanwhile: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    grown: list[int] = field(default_factory=list)


def sync(folder: Path, scale: Scale) -> list[Line]:
    """Read all reviews of a shop with many products, have them compared and confirmed; and ask all the while."""
    with RunningSandbox() as sandbox:
        # It stands for another machine, and the worker and who asks it have no more than two processors here.
        os.setpriority(os.PRIO_PROCESS, sandbox.pid, 10)
        skus = _open_shop(sandbox, scale.compared_products, 1)
        asked = random.Random(17).sample(skus, min(500, len(skus)))
        renders = [(f"/v1/reviews?sku={sku}",) for sku in asked]
        settings = _settings(folder / "round.sqlite3")
        lines = []
        with proxy(sandbox, **settings) as server, closing(_backend(folder / "round.sqlite3")) as backend:
            driver = Driver(server.url, HEADERS)
            name = f"reading the reviews of {len(skus):,} products"
            lines += _while_read(driver, backend, renders, scale.confirmed_rounds, name)
            for name, forgets in (("usual", False), ("each copy looked at", True)):
                lines += _while_compared(
                    sandbox,
                    server,
                    backend,
                    lambda driver=driver: _hits(driver, renders),  # type: ignore[misc]  # bound now
                    scale.compare_rounds,
                    f"a round over {len(skus):,} products, {name}",
                    forgets=forgets,
                )
        with proxy(sandbox, **settings | _BY_COUNTS) as server:
            driver = Driver(server.url, HEADERS)
            return lines + _while_confirmed(sandbox, driver, renders, scale.confirmed_rounds)


def _while_read(
    driver: Driver, backend: SqliteBackend, renders: list[tuple[str]], rounds: int, name: str
) -> list[Line]:
    shops = Shops(backend, [_UNIT], time.time, lambda: 900.0)
    # The first to ask may wait in vain for what gives way to all others.
    assert any(set(driver.burst(renders, _AT_ONCE).statuses) == {200} for _ in range(20))
    meanwhile = _hits(driver, renders)
    for _ in range(rounds):
        if not shops.load(_UNIT).is_backfilled:
            meanwhile += _hits(driver, renders)
    while not shops.load(_UNIT).is_backfilled:
        # It goes on as fast as nobody asks, and is in no hurry while somebody does.
        time.sleep(0.1)
    return _hit_lines(name, [took for _ in range(5) for took in _hits(driver, renders)], meanwhile)


def _while_compared(
    sandbox: RunningSandbox,
    server: Gunicorn,
    backend: SqliteBackend,
    hits: Callable[[], list[float]],
    rounds: int,
    name: str,
    *,
    forgets: bool,
) -> list[Line]:
    quiet, busy = _Times(), _Times()
    for _ in range(rounds):
        _measured(sandbox, server, backend, quiet, lambda: time.sleep(0.05), forgets=forgets)
        busy.before += [took for _ in range(5) for took in hits()]
        _measured(sandbox, server, backend, busy, lambda: busy.meanwhile.extend(hits()), forgets=forgets)
    return [
        Line("sync", f"{name}: seconds", statistics.median(quiet.seconds), "s"),
        Line("sync", f"{name}: the worker's processor time", statistics.median(quiet.cpu), "s"),
        Line("sync", f"{name}: memory it took, most", max(quiet.grown) / _MEGABYTE, "MB", ceiling=64),
        *_hit_lines(name, busy.before, busy.meanwhile),
    ]


def _while_confirmed(sandbox: RunningSandbox, driver: Driver, renders: list[tuple[str]], rounds: int) -> list[Line]:
    """Ask for products that are stale every ten seconds: as many confirmations a second as 45,000 take in 900 s."""
    before: list[float] = []
    meanwhile: list[float] = []
    calls = [sandbox.calls()["batch_summaries"]] * 2
    for _ in range(rounds):
        times = _hits(driver, renders)
        calls.append(sandbox.calls()["batch_summaries"])
        # What was called for before these may still be at work.
        (meanwhile if calls[-1] > calls[-3] else before).extend(times)
    name = f"{len(renders)} products by their counts every {_BY_COUNTS['CACHE_FRESH_SECONDS']} s"
    made = Line("sync", f"{name}: calls", calls[-1] - calls[0], floor=1)
    return [made, *_hit_lines(name, before, meanwhile)]


def _hit_lines(name: str, before: list[float], meanwhile: list[float]) -> list[Line]:
    middle, most = ([percentile(times, part) * 1000 for times in (before, meanwhile)] for part in (0.5, 0.99))
    return [
        Line("sync", f"{name}: hits meanwhile", len(meanwhile)),
        Line("sync", f"{name}: hits otherwise, p50", middle[0], "ms"),
        Line("sync", f"{name}: hits meanwhile, p50", middle[1], "ms"),
        Line("sync", f"{name}: hits otherwise, p99", most[0], "ms"),
        Line("sync", f"{name}: hits meanwhile, p99", most[1], "ms"),
        Line("sync", f"{name}: p99 meanwhile of otherwise", most[1] / most[0], "times", ceiling=1.5),
    ]


def _hits(driver: Driver, renders: list[tuple[str]]) -> list[float]:
    came = driver.burst(renders[:_HITS], _AT_ONCE)
    assert set(came.statuses) == {200}
    return came.took


def _measured(
    sandbox: RunningSandbox,
    server: Gunicorn,
    backend: SqliteBackend,
    times: _Times,
    meanwhile: Callable[[], object],
    *,
    forgets: bool,
) -> None:
    """Make a round due, and do ``meanwhile`` again and again until it is over."""
    shops = Shops(backend, [_UNIT], time.time, lambda: 900.0)
    while shops.load(_UNIT).confirmed_at < time.time() - 900:
        # It has just started, and would write its own reading over what makes a round due.
        time.sleep(0.1)
    state, calls = shops.load(_UNIT), sandbox.ledger().total
    if forgets:
        backend.set(f"sync:{_UNIT}:counted", b"", 1.0)
        backend.remove(f"sync:{_UNIT}:counted", b"")
    shops.save(_UNIT, replace(state, confirmed_at=1.0, compared_at=1.0))
    while sandbox.ledger().total == calls:
        time.sleep(0.01)
    started, cpu, size = time.monotonic(), server.cpu_seconds(), server.resident_bytes()
    most = size
    while shops.load(_UNIT).compared_at == 1.0:
        meanwhile()
        most = max(most, server.resident_bytes())
    times.seconds.append(time.monotonic() - started)
    times.cpu.append(server.cpu_seconds() - cpu)
    times.grown.append(most - size)


def _backend(file: Path) -> SqliteBackend:
    return SqliteBackend(file, spawn, max_bytes=10**10)
