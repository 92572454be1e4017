"""h. The store: hits on a SQLite file beside memory, two workers beside one, and a start on a large file."""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import requests

from proxy.app import spawn
from proxy.cache import Entry
from proxy.cache.entry import pack
from proxy.cache.sqlite import SqliteBackend
from tests.running import RunningSandbox
from tools.bench.hit import PATH, load
from tools.bench.report import Line
from tools.bench.scale import Scale
from tools.bench.servers import HEADERS, proxy

_CONNECTIONS = 64
_LARGE, _SMALL = 8_000, 1_000
"""Bytes of a page of 100 reviews and of one of 10."""


def store(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Measure the servers in turn, then the start on a large file."""
    sandbox.reset()
    url = f"sqlite:///{folder}/store.sqlite3"
    with ExitStack() as started:
        servers = {
            "memory": started.enter_context(proxy(sandbox, CACHE_URL="memory://")),
            "SQLite": started.enter_context(proxy(sandbox, CACHE_URL=url)),
            "SQLite, two workers": started.enter_context(proxy(sandbox, "--workers", "2", CACHE_URL=url)),
        }
        measured: dict[str, list[float]] = defaultdict(list)
        for server in servers.values():
            load(server, _CONNECTIONS, 1)
        for number in range(scale.rounds):
            for name in list(servers)[:: -1 if number % 2 else 1]:
                measured[name].append(load(servers[name], _CONNECTIONS, scale.hit_seconds).per_second)

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(measured[one], measured[other], strict=True))

    return [
        *(Line("store", f"{name}: hits a second", statistics.median(rates)) for name, rates in measured.items()),
        Line("store", "one worker on SQLite of memory", ratio("SQLite", "memory"), "times", floor=0.97),
        Line("store", "two workers of one", ratio("SQLite, two workers", "SQLite"), "times", floor=1.8),
        *_large(sandbox, folder / "large.sqlite3", scale.stored_skus),
    ]


def _large(sandbox: RunningSandbox, path: Path, skus: int) -> list[Line]:
    _fill(path, skus)
    with proxy(sandbox, CACHE_URL=f"sqlite:///{path}") as server:
        requests.get(server.url + PATH, headers=HEADERS, timeout=60).raise_for_status()
        hits = load(server, _CONNECTIONS, 1)
        held = f"a file of {skus:,} SKUs"
        return [
            Line("store", f"{held}: size", path.stat().st_size / 1e6, "MB"),
            Line("store", f"{held}: start to the first answer", server.start_seconds, "s"),
            Line("store", f"{held}: p99 of hits", hits.p99, "ms"),
            Line("store", f"{held}: resident memory of a worker", server.resident_bytes() / 1e6, "MB"),
        ]


def _fill(path: Path, skus: int) -> None:
    chance = random.Random(1)  # bytes that compress as badly as a page does
    large, small = chance.randbytes(_LARGE), chance.randbytes(_SMALL)
    backend = SqliteBackend(path, spawn, max_bytes=10**9)

    def write(number: int) -> None:
        entry = pack(Entry(large if number < skus // 20 else small, found=True, fetched_at=time.time()))
        backend.write(f"unit/SKU-{number}", "page", entry, 0, ttl=86_400)

    # Many at once become one write.
    with ThreadPoolExecutor(64) as writers:
        list(writers.map(write, range(skus)))
    backend.close()
