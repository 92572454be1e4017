"""f. A burst: many connections at once onto an empty cache, beside nginx, in memory and on SQLite; and a cart."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from tests.load import percentile
from tests.running import SECRET, UNIT, RunningSandbox
from tools.bench.asking import LATE_SECONDS, Render
from tools.bench.driver import Driver
from tools.bench.report import Line, median, most
from tools.bench.scale import Scale
from tools.bench.send import LIMIT, content, drawn, right, stock
from tools.bench.servers import HEADERS, Nginx, proxy

UPSTREAM_SECONDS = 0.15
_DROP_IN = f"/v1/product-reviews/business-units/{UNIT}"


@dataclass(frozen=True)
class Outcome:
    """What came of one burst; times in ms but for ``seconds``. ``driver``: the driver's share of a core."""

    blank: int
    late: int
    wrong: int
    p50: float
    p99: float
    seconds: float
    calls: int
    driver: float
    health: float


_WAYS = {"proxy": (), "two workers on SQLite": ("--workers", "2")}
"""The proxy with one worker and in memory, and as it is without settings on a machine of two cores."""

_UNITS = {"p50": "ms", "p99": "ms", "seconds": "s", "health": "ms", "driver": "of a core"}


def burst(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Send the same messages through the proxy and through nginx, each time with nothing cached, then once more."""
    sandbox.reset()
    skus = stock(sandbox, scale.skus)
    renders = plan(skus, scale.renders)
    answers = right(sandbox, {path for render in renders for path in render})
    lines = []
    for connections in scale.connections:
        measured: dict[str, list[Outcome]] = defaultdict(list)
        for _ in range(scale.burst_rounds):
            for way, options in _WAYS.items():
                with TemporaryDirectory(dir=folder) as own:
                    store = "memory://" if way == "proxy" else f"sqlite:///{own}/burst.sqlite3"
                    with proxy(sandbox, *options, CACHE_URL=store) as server:
                        for state in ("cold", "warm"):
                            measured[f"{way} {state}"].append(
                                _sent(sandbox, server.url, SECRET, renders, answers, connections, health=True)
                            )
            with TemporaryDirectory(dir=folder) as own, Nginx(sandbox, Path(own)) as server:
                for state in ("cold", "warm"):
                    measured[f"nginx {state}"].append(
                        _sent(sandbox, server.url, sandbox.api_key, renders, answers, connections)
                    )
        lines += _lines(connections, measured, len(skus))
    sandbox.unlimit()
    return lines + _cart(sandbox)


def plan(skus: Sequence[str], count: int) -> list[Render]:
    """Return the paths of each message: three tags about one product, of which most ask for different things.

    nginx needs a call for each distinct path; all of them together stay below Trustpilot's limit, so that it can have
    them.
    """
    third = {sku: "stars=4&stars=5" if number % 5 < 3 else "stars=5" for number, sku in enumerate(skus)}
    return [
        (
            f"{_DROP_IN}/reviews?sku={sku}&stars=5",
            f"{_DROP_IN}?sku={sku}",
            f"{_DROP_IN}/reviews?sku={sku}&{third[sku]}",
        )
        for sku in drawn(random.Random(60), skus, count)
    ]


def _sent(
    sandbox: RunningSandbox,
    url: str,
    key: str,
    renders: Sequence[Render],
    answers: Mapping[str, object],
    connections: int,
    *,
    health: bool = False,
) -> Outcome:
    sandbox.limit(*LIMIT)
    sandbox.behave("slow", seconds=UPSTREAM_SECONDS)
    before = sandbox.ledger().total
    came = Driver(url, {"apikey": key}).burst(renders, connections, health=health)
    calls = sandbox.ledger().total - before
    sandbox.behave("ok")
    return Outcome(
        blank=came.statuses.total() - came.statuses[200],
        late=sum(seconds > LATE_SECONDS for seconds in came.took),
        wrong=sum(content(body) != answers[path] for path, bodies in came.bodies.items() for body in bodies),
        p50=percentile(came.took, 0.5) * 1000,
        p99=percentile(came.took, 0.99) * 1000,
        seconds=came.seconds,
        calls=calls,
        driver=came.cpu_seconds / came.seconds,
        health=max(came.health, default=0.0) * 1000,
    )


def _lines(connections: int, measured: Mapping[str, list[Outcome]], skus: int) -> list[Line]:
    at = f"{connections:,} connections"

    lines = [
        Line("burst", f"{way}, {at}: {figure}", median(measured[way], figure), _UNITS.get(figure, ""))
        for way in measured
        for figure in Outcome.__dataclass_fields__
        if not (figure == "health" and way.startswith("nginx"))
    ]
    many = connections > 1000
    for way in _WAYS:
        cold, at = measured[f"{way} cold"], f"{way}, {connections:,} connections"
        lines += [
            Line("burst", f"{at}: blank, most of all rounds", most(cold, "blank"), ceiling=90 if many else 0),
            Line("burst", f"{at}: wrong, most of all rounds", most(cold, "wrong"), ceiling=0),
            Line("burst", f"{at}: calls per SKU, most", most(cold, "calls") / skus, ceiling=1.15),
        ]
        if not many:
            longest = 1.0 if connections <= 100 else 1.2
            p99, seconds = (median(cold, name) / median(measured["nginx cold"], name) for name in ("p99", "seconds"))
            lines += [
                Line("burst", f"{at}: late, most of all rounds", most(cold, "late"), ceiling=0),
                Line("burst", f"{at}: p99 of nginx's", p99, "times", ceiling=longest),
                Line("burst", f"{at}: seconds of nginx's", seconds, "times", ceiling=1.2),
                Line("burst", f"{at}: /healthz, longest", most(cold, "health"), "ms", ceiling=200),
            ]
    return lines


def _cart(sandbox: RunningSandbox) -> list[Line]:
    """Ask for a cart of 20 products, each with more reviews than a page holds, with nothing cached."""
    sandbox.reset()
    skus = sandbox.generate(20, 120)
    sandbox.behave("slow", seconds=UPSTREAM_SECONDS)
    with proxy(sandbox, CACHE_URL="memory://") as server:
        answer = requests.get(f"{server.url}/v1/products?skus={','.join(skus)}", headers=HEADERS, timeout=20)
    answer.raise_for_status()
    lacking = sum(product["summary"] is None for product in answer.json()["products"])
    sandbox.behave("ok")
    return [
        Line("burst", "a cold cart of 20: seconds", answer.elapsed.total_seconds(), "s", ceiling=0.6),
        Line("burst", "a cold cart of 20: summaries missing", lacking, ceiling=0),
        Line("burst", "a cold cart of 20: calls", sandbox.ledger().total, ceiling=23),
    ]
