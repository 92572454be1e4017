"""a. A hit, against a WSGI function that does nothing, with the same body and the same gunicorn settings."""

from __future__ import annotations

import re
import resource
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.running import RunningSandbox
from tools.bench.report import Line, median, ratio
from tools.bench.scale import Scale
from tools.bench.servers import HEADERS, Gunicorn, bare, proxy

PATH = "/v1/reviews?sku=TRUCK-01"
CONNECTIONS = (64, 1000)
FIGURES = Path(__file__).with_name("figures.lua")


@dataclass(frozen=True)
class Load:
    """What one load found: hits a second, milliseconds of an answer, microseconds of the processor a hit.

    ``driver``: microseconds that wrk itself took a hit.
    """

    per_second: float
    p50: float
    p99: float
    cpu: float
    driver: float


def hit(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Measure hits at 64 and at 1,000 connections, the servers in turn."""
    sandbox.reset()
    with ExitStack() as started:
        own = started.enter_context(proxy(sandbox))
        body = body_on_the_wire(own)
        servers = {
            "hit": own,
            "bare": started.enter_context(bare(sandbox, body, folder)),
            "bare, sent whole": started.enter_context(bare(sandbox, body, folder, function="whole")),
        }
        lines = []
        for connections in CONNECTIONS:
            measured: dict[str, list[Load]] = defaultdict(list)
            for server in servers.values():
                load(server, connections, 1)
            for number in range(scale.rounds):
                # Forwards and backwards in turn, so that nobody always comes after the same one.
                for name in list(servers)[:: -1 if number % 2 else 1]:
                    measured[name].append(load(servers[name], connections, scale.hit_seconds))
            lines += _lines(connections, measured)
    return lines


def body_on_the_wire(server: Gunicorn) -> bytes:
    """Return the answer as it travels, after making it a hit."""
    for _ in range(2):
        with requests.get(server.url + PATH, headers=HEADERS, stream=True, timeout=60) as answer:
            answer.raise_for_status()
            body: bytes = answer.raw.read()
    assert answer.headers["X-Cache"] == "hit"
    return body


def load(server: Gunicorn, connections: int, seconds: float, script: Path = FIGURES) -> Load:
    """Ask for :data:`PATH`, or what ``script`` says, over so many connections."""
    headers = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
    # It takes whole seconds only, and ends early when it is told to.
    command = ["wrk", "-t1", f"-c{connections}", "-d1h", "--timeout", "20s", "-s", str(script), *headers]
    before, drivers = server.cpu_seconds(), _ended_seconds()
    with subprocess.Popen([*command, server.url + PATH], stdout=subprocess.PIPE, text=True) as wrk:
        time.sleep(seconds)
        wrk.send_signal(signal.SIGINT)
        printed, _ = wrk.communicate()
    cpu, driver = server.cpu_seconds() - before, _ended_seconds() - drivers
    found = re.search(r"(\d+) requests (\d+) failed (\S+) s p50 (\S+) ms p99 (\S+) ms", printed)
    if wrk.returncode == -signal.SIGINT or (found and found[1] == "0"):
        # On a busy machine it was told to end before it had begun.
        return load(server, connections, seconds, script)
    assert found is not None, printed
    count, failed, took, p50, p99 = map(float, found.groups())
    assert failed == 0, printed
    return Load(count / took, p50, p99, cpu / count * 1e6, driver / count * 1e6)


def _ended_seconds() -> float:
    """Return the processor time of the processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _lines(connections: int, measured: Mapping[str, list[Load]]) -> list[Line]:
    def of(peer: str, figure: str) -> float:
        return ratio(measured["hit"], measured[peer], figure)

    at = f"at {connections:,} connections"
    units = {"per_second": ("requests a second", ""), "p50": ("p50", "ms"), "p99": ("p99", "ms")}
    lines = [
        Line("hit", f"{server} {at}: {name}", median(measured[server], figure), unit)
        for figure, (name, unit) in units.items()
        for server in measured
    ]
    lines += [
        Line("hit", f"{server} {at}: processor time", median(measured[server], "cpu"), "µs") for server in measured
    ]
    most = connections == max(CONNECTIONS)
    lines += [
        Line("hit", f"requests a second of bare, {at}", of("bare", "per_second"), "times", floor=0.85),
        Line("hit", f"p99 of bare, {at}", of("bare", "p99"), "times", ceiling=1.3 if most else None),
    ]
    sent_whole = "bare, sent whole"
    lines += [
        Line("hit", f"requests a second of {sent_whole}, {at}", of(sent_whole, "per_second"), "times"),
        Line("hit", f"p99 of {sent_whole}, {at}", of(sent_whole, "p99"), "times"),
    ]
    return lines
