"""d. Growth: what a SKU of 100 reviews costs in memory, and whether a hit notices how many there are."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections import defaultdict
from contextlib import ExitStack

from tests.load import percentile
from tests.running import RunningSandbox
from tools.bench.asking import rendered
from tools.bench.report import Line
from tools.bench.scale import Scale
from tools.bench.servers import HEADERS, Gunicorn, proxy

_MOST_BYTES = 12 * 1024
_FLAT = 1.15


def growth(sandbox: RunningSandbox, scale: Scale) -> list[Line]:
    """Fill a proxy per size, then ask them in turn for products that they hold."""
    sandbox.reset()
    sandbox.generate(max(scale.sizes), 100)
    per_sku: dict[int, float] = {}
    latency: dict[int, list[float]] = defaultdict(list)
    starts: dict[int, float] = {}
    with ExitStack() as started:
        servers: dict[int, Gunicorn] = {}
        for size in scale.sizes:
            settings = {"CACHE_MAX_MB": "256", "TRUSTPILOT_CALLS_PER_5_MINUTES": "1000000"}
            server = proxy(sandbox, **settings, TRUSTPILOT_CALLS_PER_HOUR="1000000")
            servers[size] = started.enter_context(server)
            starts[size] = server.start_seconds
            _ask(server, range(1, 11), 4)
            before = server.resident_bytes()
            _ask(server, range(11, size + 11), 8)
            per_sku[size] = (server.resident_bytes() - before) / size
        for _ in range(scale.rounds):
            for size, server in servers.items():
                latency[size].append(_hits(server, size, scale.hits))
    hits = {size: statistics.median(rounds) for size, rounds in latency.items()}
    small, large = min(scale.sizes), max(scale.sizes)
    return [
        *(Line("growth", f"{size:,} SKUs: start-up", starts[size], "s") for size in scale.sizes),
        *(Line("growth", f"{size:,} SKUs: a hit", hits[size], "ms") for size in scale.sizes),
        *(Line("growth", f"{size:,} SKUs: resident bytes per SKU", per_sku[size], "B") for size in scale.sizes[:-1]),
        Line("growth", f"{large:,} SKUs: resident bytes per SKU", per_sku[large], "B", ceiling=_MOST_BYTES),
        Line(
            "growth",
            f"a hit among {large:,} of one among {small:,}",
            hits[large] / hits[small],
            "times",
            ceiling=_FLAT,
        ),
    ]


def _path(number: int) -> str:
    return f"/v1/reviews?sku=SKU-{number}"


def _ask(server: Gunicorn, numbers: range, users: int) -> None:
    answers = asyncio.run(rendered(server.url, HEADERS, [(_path(number),) for number in numbers], users))
    assert {got.status for got in answers} == {200}


def _hits(server: Gunicorn, size: int, hits: int) -> float:
    """Return the median time of a hit, in ms, one after the other over all products."""
    chance = random.Random(size)
    renders = [(_path(chance.randint(1, size)),) for _ in range(hits)]
    answers = asyncio.run(rendered(server.url, HEADERS, renders, 1))
    return percentile([got.took for got in answers], 0.5) * 1000
