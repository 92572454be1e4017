"""h. The store: hits on a SQLite file beside memory, two workers beside one, and a large file beside a small one."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import cycle, islice, permutations
from pathlib import Path

import requests

from proxy.cache.sqlite import SqliteBackend
from proxy.clock import spawn
from tests.load import percentile
from tests.running import SECRET, UNIT, RunningSandbox
from tools.bench.burst import UPSTREAM_SECONDS, plan
from tools.bench.driver import Driver
from tools.bench.hit import FIGURES, PATH, Load, load
from tools.bench.report import Line, median, ratio
from tools.bench.scale import Scale
from tools.bench.send import LIMIT, stock
from tools.bench.servers import HEADERS, Gunicorn, proxy

_CONNECTIONS = 64
_SLICE_SECONDS, _SLICES = 0.25, 6
"""Of a load: the machine's mood changes from second to second, so what is compared has to be close by."""

_SHARED_SECONDS, _SHARED_SLICES = 1.0, 6
"""The same of two workers, where in less it counts how long the connections took to be shared out."""

_SHARED_CONNECTIONS = 256
"""The same: two workers share their cores with wrk, and with 64 have all answered before it has its turn again."""

_PAUSE_SECONDS = 0.05
_WARM = 1000
_BURST = 1000
_ASKED = 300
"""Products, of the large file and of the small one."""

_SMALL_MB = 16
_MEBIBYTE = 1024 * 1024

_MEMORY, _AGAIN = "memory", "another memory"
_ONE, _TWO = "one worker on SQLite", "two workers on SQLite"
_REPEATED, _VIEWS = "repeated answers", "answers worked out"
_VIEW = f"""
math.randomseed({{seed}})
function request()
  return wrk.format("GET", "{PATH}&limit=" .. math.random(20) .. "&max_chars=" .. math.random(20, 2000)
    .. "&min_chars=" .. math.random(50))
end
"""
_PRODUCTS = """
math.randomseed({seed})
function request()
  return wrk.format("GET", "/v1/reviews?limit={limit}&sku=SKU-" .. {step} * math.random(0, {last}))
end
"""


def store(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Measure hits and bursts with the servers in turn, then the large file."""
    return [
        *_hits(sandbox, folder, scale),
        *_burst(sandbox, folder, scale),
        *_large(sandbox, folder, scale),
    ]


def _hits(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Measure several starts of each kind: two processes of the very same settings differ by some percent.

    Where objects lie in memory is another each time, and what else the machine does changes all the time. So what is
    compared has the same hash seed and is loaded in many short slices, one right after the other and in every order.
    A ratio is the median of the starts' medians, and beside it stands what the very same way finds between one memory
    and another.
    """
    sandbox.reset()
    alone = [
        _started(sandbox, number, folder, (_AGAIN, _MEMORY, _ONE), (_REPEATED,)) for number in range(2 * scale.rounds)
    ]
    both = [_started(sandbox, number, folder, (_ONE, _TWO), (_REPEATED, _VIEWS)) for number in range(scale.rounds)]
    lines = []
    for starts, connections in ((alone, _CONNECTIONS), (both, _SHARED_CONNECTIONS)):
        loads: dict[tuple[str, str], list[Load]] = defaultdict(list)
        for start in starts:
            for kind, those in start.items():
                loads[kind] += those
        for (name, what), those in loads.items():
            asked = f"{what} over {connections} connections, {name}"
            lines += [
                Line("store", f"{asked}: a second", median(those, "per_second")),
                Line("store", f"{asked}: processor time", median(those, "cpu"), "µs"),
            ]
    for figure, by in (("per_second", ""), ("cpu", ", by processor time")):
        for name, floor in ((_ONE, 0.97), (_AGAIN, None)):
            found = [_times(start[name, _REPEATED], start[_MEMORY, _REPEATED], figure) for start in alone]
            lines += [
                Line(
                    "store",
                    f"{name} of memory{by}, median of {len(alone)} starts",
                    statistics.median(found),
                    "times",
                    floor=floor,
                ),
                Line("store", f"{name} of memory{by}: least", min(found), "times"),
                Line("store", f"{name} of memory{by}: most", max(found), "times"),
            ]
    for what in (_REPEATED, _VIEWS):
        pairs = [(start[_TWO, what], start[_ONE, what]) for start in both]
        rate = statistics.median(_times(two, one, "per_second") for two, one in pairs)
        of_each = statistics.median(_times(two, one, "cpu") for two, one in pairs)
        share = statistics.median(load.driver / load.cpu for two, _ in pairs for load in two)
        lines += [
            Line("store", f"{what}: two workers of one, median of {len(both)} starts", rate, "times", floor=1.8),
            Line("store", f"{what}: two workers of one, by processor time", 2 * of_each, "times", floor=1.8),
            Line("store", f"{what}: wrk's processor time of a worker's", share, "times"),
        ]
    return lines


def _started(
    sandbox: RunningSandbox, number: int, folder: Path, names: Sequence[str], whats: Sequence[str]
) -> dict[tuple[str, str], list[Load]]:
    """Start each of ``names`` once, and load them in turn."""
    measured: dict[tuple[str, str], list[Load]] = defaultdict(list)
    seconds, slices, connections = _SLICE_SECONDS, _SLICES, _CONNECTIONS
    if _TWO in names:
        seconds, slices, connections = _SHARED_SECONDS, _SHARED_SLICES, _SHARED_CONNECTIONS
    with ExitStack() as started:
        servers: dict[str, Gunicorn] = {}
        for name in names:
            file = f"{folder}/{number}-{len(servers)}-{len(names)}.sqlite3"
            url = "memory://" if name in (_AGAIN, _MEMORY) else f"sqlite:///{file}"
            options = ("--workers", "2" if name == _TWO else "1")
            servers[name] = started.enter_context(proxy(sandbox, *options, CACHE_URL=url, PYTHONHASHSEED=str(number)))
        for name, server in servers.items():
            server.settle(2 if name == _TWO else 1)
            Driver(server.url, HEADERS).burst([(PATH,)] * _WARM, connections)
        # Views after all that is repeated: what they leave in memory makes a repeated answer dearer.
        for what in whats:
            # Each start begins with the order that the one before came to.
            orders = islice(cycle(permutations(names)), number * slices, None)
            for turn, order in zip(range(slices), orders, strict=False):
                script = _script(folder, _VIEW, seed=turn) if what == _VIEWS else FIGURES
                for name in order:
                    measured[name, what].append(load(servers[name], connections, seconds, script))
                    # What was asked last is still being answered, by nobody's measure.
                    time.sleep(_PAUSE_SECONDS)
    return measured


def _times(loads: Sequence[Load], others: Sequence[Load], figure: str) -> float:
    """Return how many times as many answers ``loads`` found, by the second or by processor time."""
    return ratio(loads, others, figure) if figure == "per_second" else ratio(others, loads, figure)


def _script(folder: Path, text: str, **values: int) -> Path:
    """Return a script for wrk that asks for what ``text`` says."""
    script = folder / "asked.lua"
    script.write_text(FIGURES.read_text() + text.format(**values))
    return script


@dataclass(frozen=True)
class _Outcome:
    """What came of one burst; ``p99`` in ms. ``busiest``, ``driver``: processor time of a worker, of the driver."""

    seconds: float
    p99: float
    lost: int
    calls: int
    busiest: float
    driver: float


def _burst(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Send the messages of the burst to one worker and to two, each time onto an empty file."""
    sandbox.reset()
    skus = stock(sandbox, scale.skus)
    renders = plan(skus, scale.renders)
    measured: dict[int, list[_Outcome]] = defaultdict(list)
    connections = min(_BURST, max(scale.connections))
    for number in range(scale.burst_rounds):
        for workers in (1, 2)[:: -1 if number % 2 else 1]:
            sandbox.limit(*LIMIT)
            url = f"sqlite:///{folder}/burst-{number}-{workers}.sqlite3"
            with proxy(sandbox, "--workers", str(workers), CACHE_URL=url) as server:
                server.settle(workers)
                sandbox.behave("slow", seconds=UPSTREAM_SECONDS)
                before, used = sandbox.ledger().total, server.cpu_by_worker()
                came = Driver(server.url, {"apikey": SECRET}).burst(renders, connections)
                busiest = max(now - then for now, then in zip(server.cpu_by_worker(), used, strict=True))
                sandbox.behave("ok")
            measured[workers].append(
                _Outcome(
                    came.seconds,
                    percentile(came.took, 0.99) * 1000,
                    came.statuses.total() - came.statuses[200],
                    sandbox.ledger().total - before,
                    busiest,
                    came.cpu_seconds,
                )
            )
    sandbox.unlimit()
    lines = []
    units = {"seconds": "s", "p99": "ms", "busiest": "s", "driver": "s"}
    for workers, outcomes in sorted(measured.items()):
        lines += [
            Line(
                "store",
                f"a burst over {connections:,} connections, {workers} worker{'s' if workers > 1 else ''}: {figure}",
                median(outcomes, figure),
                units.get(figure, ""),
            )
            for figure in _Outcome.__dataclass_fields__
        ]
    for figure in ("seconds", "p99", "busiest"):
        times = ratio(measured[2], measured[1], figure)
        lines.append(Line("store", f"a burst, two workers of one: {figure}", times, "times", ceiling=1))
    return lines


def _large(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Measure a start and hits on a large file beside a small one, and what a worker holds of the large one."""
    sandbox.reset()
    pages = _pages(sandbox, folder)
    sizes = {"small": _ASKED, "large": max(_ASKED, scale.stored_skus)}
    files = {name: folder / f"{name}.sqlite3" for name in sizes}
    lines = []
    with ExitStack() as started:
        servers: dict[str, Gunicorn] = {}
        for name, size in sizes.items():
            _fill(files[name], pages, size)
            servers[name] = started.enter_context(proxy(sandbox, CACHE_URL=f"sqlite:///{files[name]}"))
            held = f"a file of {size:,} SKUs"
            lines += [
                Line("store", f"{held}: size", files[name].stat().st_size / 1e6, "MB"),
                Line("store", f"{held}: start to the first answer", servers[name].start_seconds, "s"),
            ]
        lines[-1] = Line("store", lines[-1].name, lines[-1].value, "s", ceiling=1)
        measured: dict[str, list[Load]] = defaultdict(list)
        for number in range(scale.rounds * scale.hit_seconds):
            for name in list(servers)[:: -1 if number % 2 else 1]:
                # As many products of each, from all over the file, and each time another answer about them.
                step = sizes[name] // _ASKED
                asked = _script(folder, _PRODUCTS, seed=number, limit=number % 20 + 1, step=step, last=_ASKED - 1)
                measured[name].append(load(servers[name], _CONNECTIONS, 1, asked))
    lines += [
        Line("store", f"p99 of hits, {name} file", median(loads, "p99"), "ms") for name, loads in measured.items()
    ]
    p99, cpu = (ratio(measured["large"], measured["small"], figure) for figure in ("p99", "cpu"))
    lines.append(Line("store", "p99 of hits, large file of small file", p99, "times", ceiling=1.15))
    lines.append(Line("store", "processor time of hits, large file of small file", cpu, "times"))
    return lines + _bounded(sandbox, folder, files["large"], sizes["large"], scale)


def _bounded(sandbox: RunningSandbox, folder: Path, file: Path, size: int, scale: Scale) -> list[Line]:
    """Ask for products from all over the file until a worker with little memory holds all that it may."""
    settings = {"CACHE_URL": f"sqlite:///{file}", "CACHE_MAX_MB": str(_SMALL_MB)}
    with proxy(sandbox, **settings) as server:
        requests.get(f"{server.url}/v1/reviews?sku=SKU-0", headers=HEADERS, timeout=60).raise_for_status()
        before, calls = server.resident_bytes(), sandbox.ledger().total
        asked = _script(folder, _PRODUCTS, seed=1, limit=3, step=1, last=size - 1)
        loaded = load(server, _CONNECTIONS, scale.hit_seconds * scale.rounds, asked)
        grown = (server.resident_bytes() - before) / _MEBIBYTE
        return [
            Line("store", "hits on all of the large file: a second", loaded.per_second),
            Line("store", "hits on all of the large file: p99", loaded.p99, "ms"),
            Line("store", "hits on all of the large file: calls", sandbox.ledger().total - calls, ceiling=0),
            Line("store", f"resident memory of a worker, CACHE_MAX_MB={_SMALL_MB}", before / _MEBIBYTE, "MiB"),
            Line("store", "what hits on all of the large file add to it", grown, "MiB", ceiling=1.5 * _SMALL_MB),
        ]


Pages = Mapping[str, Sequence[Mapping[str, bytes]]]
"""What the proxy keeps of a product by part, of several products with many reviews and of several with few."""


def _pages(sandbox: RunningSandbox, folder: Path) -> Pages:
    """Return what the proxy itself wrote."""
    skus = {"MANY-": sandbox.generate(20, 100, "MANY-"), "FEW-": sandbox.generate(20, 10, "FEW-")}
    file = folder / "pages.sqlite3"
    with proxy(sandbox, CACHE_URL=f"sqlite:///{file}") as server:
        for sku in [*skus["MANY-"], *skus["FEW-"]]:
            requests.get(f"{server.url}/v1/reviews?sku={sku}", headers=HEADERS, timeout=60).raise_for_status()
        with closing(sqlite3.connect(file)) as reading:
            kept: dict[str, dict[str, bytes]] = defaultdict(dict)
            for product, part, entry in reading.execute("SELECT product, part, entry FROM entries"):
                kept[product][part] = entry
    return {prefix: [parts for product, parts in kept.items() if f"/{prefix}" in product] for prefix in skus}


def _fill(path: Path, pages: Pages, skus: int) -> None:
    """Keep what a product has for ``skus`` others, of which every twentieth has many reviews."""
    backend = SqliteBackend(path, spawn, max_bytes=10**9)

    def write(number: int) -> None:
        like = pages["MANY-" if number % 20 == 0 else "FEW-"]
        backend.replace(f"{UNIT}/SKU-{number}", like[number // 20 % len(like)], None, ttl=86_400)

    # Many at once become one write.
    with ThreadPoolExecutor(64) as writers:
        list(writers.map(write, range(skus)))
    backend.close()
