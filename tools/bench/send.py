"""b. A send: the same messages through the proxy, through nginx, and straight at Trustpilot's stand-in."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from proxy.sandbox.shops import compose, usual_ratings
from tests.load import percentile
from tests.running import SECRET, UNIT, RunningSandbox
from tools.bench.asking import LATE_SECONDS, Got, Render, rendered
from tools.bench.report import Line, median, most
from tools.bench.scale import Scale
from tools.bench.servers import Nginx, proxy

UPSTREAM_SECONDS = 0.2
LIMIT = (833, 300)
"""Trustpilot's: calls, and the seconds in which there may be so many."""

_LARGE_SHARE = 0.05
"""Of the products have more reviews than one page holds, so that their summary is a call of its own."""

_DROP_IN = f"/v1/product-reviews/business-units/{UNIT}"


@dataclass(frozen=True)
class Outcome:
    """What came of one send."""

    calls: int
    blank: int
    wrong: int
    late: int
    p50: float
    p99: float
    seconds: float


def send(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Send the same plan three ways in turn, each time with nothing held."""
    sandbox.reset()
    skus = stock(sandbox, scale.skus)
    renders = plan(skus, scale.renders)
    answers = right(sandbox, {path for render in renders for path in render})
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    for _ in range(scale.rounds):
        with proxy(sandbox) as server:
            outcomes["proxy"].append(_sent(sandbox, server.url, SECRET, renders, answers, scale.users))
        with TemporaryDirectory(dir=folder) as own, Nginx(sandbox, Path(own)) as server:
            outcomes["nginx"].append(_sent(sandbox, server.url, sandbox.api_key, renders, answers, scale.users))
        outcomes["straight"].append(_sent(sandbox, sandbox.url, sandbox.api_key, renders, answers, scale.users))
    sandbox.unlimit()
    return _lines(outcomes, scale.skus, _own_latency(sandbox, skus))


def stock(sandbox: RunningSandbox, count: int) -> list[str]:
    """Put products on sale, 20 to 60 reviews each, a few 120; return their SKUs."""
    chance = random.Random(6)
    skus = [f"SEND-{number}" for number in range(count)]
    for number, sku in enumerate(skus):
        size = 120 if number % round(1 / _LARGE_SHARE) == 0 else chance.randint(20, 60)
        sandbox.put_product(sku, compose(chance, languages=["en", "fr"], ratings=usual_ratings(chance, size)))
    return skus


def plan(skus: Sequence[str], count: int) -> list[Render]:
    """Return the paths of each message: mostly an e-mail with reviews and stars, some a push with reviews alone."""
    chance = random.Random(60)
    return [
        (f"{_DROP_IN}/reviews?sku={sku}&stars=5", f"{_DROP_IN}?sku={sku}")
        if chance.random() < 0.9
        else (f"{_DROP_IN}/reviews?sku={sku}&stars=4&stars=5",)
        for sku in drawn(chance, skus, count)
    ]


def drawn(chance: random.Random, skus: Sequence[str], count: int) -> list[str]:
    """Return the SKU of each message: some are in many more than others, as in a shop."""
    popularity = [1 / (place + 10) for place in range(len(skus))]
    skus = [*skus, *chance.choices(skus, popularity, k=max(0, count - len(skus)))]
    chance.shuffle(skus)
    return skus


def content(body: bytes) -> object:
    """Return what a message shows of an answer: all but the links, which lead to whoever answered."""
    answer = json.loads(body)
    return answer.get("productReviews", answer) if isinstance(answer, dict) else answer


def right(sandbox: RunningSandbox, paths: set[str]) -> dict[str, object]:
    """Return what Trustpilot itself answers, by path."""
    with requests.Session() as session:
        session.headers["apikey"] = sandbox.api_key
        return {path: content(session.get(sandbox.url + path, timeout=20).content) for path in sorted(paths)}


def _sent(
    sandbox: RunningSandbox,
    url: str,
    key: str,
    renders: Sequence[Render],
    answers: Mapping[str, object],
    users: int,
) -> Outcome:
    sandbox.limit(*LIMIT)
    sandbox.behave("slow", seconds=UPSTREAM_SECONDS)
    before = sandbox.ledger().total
    started = time.monotonic()
    came = asyncio.run(rendered(url, {"apikey": key}, renders, users))
    seconds = time.monotonic() - started
    calls = sandbox.ledger().total - before
    sandbox.behave("ok")
    distinct = {(got.path, got.body) for got in came if got.status == 200}
    wrong = {(path, body) for path, body in distinct if content(body) != answers[path]}
    took = [got.took for got in came]
    return Outcome(
        calls=calls,
        blank=sum(got.status != 200 for got in came),
        wrong=sum((got.path, got.body) in wrong for got in came),
        late=sum(got.took > LATE_SECONDS for got in came),
        p50=percentile(took, 0.5) * 1000,
        p99=percentile(took, 0.99) * 1000,
        seconds=seconds,
    )


def _own_latency(sandbox: RunningSandbox, skus: Sequence[str]) -> float:
    """Return what one call for a page takes when nothing else is asked, in ms."""
    sandbox.behave("slow", seconds=UPSTREAM_SECONDS)
    renders = [(f"{_DROP_IN}/reviews?sku={sku}&perPage=100",) for sku in skus[:20]]
    answers: list[Got] = asyncio.run(rendered(sandbox.url, {"apikey": sandbox.api_key}, renders, 1))
    sandbox.behave("ok")
    return percentile([got.took for got in answers], 0.5) * 1000


def _lines(outcomes: Mapping[str, list[Outcome]], skus: int, upstream: float) -> list[Line]:
    own, nginx = outcomes["proxy"], outcomes["nginx"]
    figures = (
        ("calls", "calls"),
        ("blank", "answers"),
        ("wrong", "answers"),
        ("late", "answers"),
        ("p50", "ms"),
        ("p99", "ms"),
        ("seconds", "s"),
    )
    lines = [
        Line("send", f"{way}: {figure}", median(outcomes[way], figure), unit)
        for figure, unit in figures
        for way in outcomes
    ]
    lines.append(Line("send", "Trustpilot's own latency", upstream, "ms"))
    lines.append(Line("send", "calls per SKU, most of all rounds", most(own, "calls") / skus, "", ceiling=1.15))
    lines += [
        Line("send", f"{figure}, most of all rounds", most(own, figure), "", ceiling=0)
        for figure in ("blank", "wrong", "late")
    ]
    lines.append(Line("send", "p99 over Trustpilot's own", median(own, "p99") - upstream, "ms", ceiling=60))
    lines += [
        Line("send", f"{figure} of nginx's", median(own, figure) / median(nginx, figure), "times", ceiling=1)
        for figure in ("calls", "p99", "seconds")
    ]
    return lines
