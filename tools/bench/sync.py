"""h. Sync: reading all reviews of a shop, killed on the way; what a round over many products costs those who ask."""

from __future__ import annotations

import json
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
from proxy.sync.shops import Shops
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
_AT_ONCE = 4
_HITS = 400


def sync(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Read the reviews of two shops: one with many reviews, and one with many products."""
    return _backfill(sandbox, folder, scale) + _round(sandbox, folder, scale)


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


def _backfill(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
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
        Line("sync", f"{name}: SIGKILLs on the way", kills, "", floor=_KILLS),
        Line("sync", f"{name}: exit status of the last command", ended, "", ceiling=0),
        Line("sync", f"{name}: calls for the list", calls["feed"], "", floor=pages * 0.99, ceiling=pages * 1.01),
        Line("sync", f"{name}: calls for summaries besides", calls["shop_summaries"]),
        Line("sync", f"{name}: calls for single products", calls["reviews"] + calls["batch_summaries"], ceiling=0),
        Line("sync", f"{name}: seconds", seconds, "s"),
        Line("sync", f"then {scale.backfill_connections:,} connections: answers", came.statuses[200]),
        Line("sync", f"then {scale.backfill_connections:,} connections: calls", after, ceiling=0),
        Line("sync", f"then {scale.backfill_connections:,} connections: blank", _blank(came, reviews), ceiling=0),
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


def _round(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Have all products compared, as usual and so that each copy is looked at, with and without somebody asking."""
    skus = _open_shop(sandbox, scale.compared_products, 1)
    file = folder / "round.sqlite3"
    with _command(sandbox, _settings(file)) as command:
        command.wait()
    return _compared(sandbox, skus, file, scale)


def _compared(sandbox: RunningSandbox, skus: list[str], file: Path, scale: Scale) -> list[Line]:
    asked = random.Random(17).sample(skus, min(500, len(skus)))
    lines = []
    with proxy(sandbox, **_settings(file)) as server, closing(_backend(file)) as backend:
        driver = Driver(server.url, HEADERS)
        renders = [(f"/v1/reviews?sku={sku}",) for sku in asked]
        assert set(driver.burst(renders, _AT_ONCE).statuses) == {200}
        for name, forgets in (("usual", False), ("each copy looked at", True)):
            quiet, busy = _Times(), _Times()
            for _ in range(scale.compare_rounds):
                _measured(sandbox, server, backend, quiet, lambda: time.sleep(0.05), forgets=forgets)
                busy.before += _hits(driver, renders, 5)
                _measured(
                    sandbox,
                    server,
                    backend,
                    busy,
                    lambda busy=busy: busy.meanwhile.extend(_hits(driver, renders, 1)),  # type: ignore[misc]  # bound now
                    forgets=forgets,
                )
            lines += _lines(f"a round over {len(skus):,} products, {name}", quiet, busy)
    return lines


def _lines(name: str, quiet: _Times, busy: _Times) -> list[Line]:
    before, meanwhile = (percentile(times, 0.99) * 1000 for times in (busy.before, busy.meanwhile))
    middle = percentile(busy.before, 0.5) * 1000, percentile(busy.meanwhile, 0.5) * 1000
    return [
        Line("sync", f"{name}: seconds", statistics.median(quiet.seconds), "s"),
        Line("sync", f"{name}: the worker's processor time", statistics.median(quiet.cpu), "s"),
        Line("sync", f"{name}: memory it took, most", max(quiet.grown) / _MEGABYTE, "MB", ceiling=64),
        Line("sync", f"{name}: hits before, p50", middle[0], "ms"),
        Line("sync", f"{name}: hits meanwhile, p50", middle[1], "ms"),
        Line("sync", f"{name}: hits before, p99", before, "ms"),
        Line("sync", f"{name}: hits meanwhile, p99", meanwhile, "ms"),
        Line("sync", f"{name}: p99 meanwhile of before", meanwhile / before, "times", ceiling=1.5),
    ]


def _hits(driver: Driver, renders: list[tuple[str]], times: int) -> list[float]:
    came = driver.burst((renders * times)[: _HITS * times], _AT_ONCE)
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
