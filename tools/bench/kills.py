"""i. What workers share in one SQLite file: coherence, restarts under load, and ten kills in the middle of writes."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from proxy.cache.backend import Window
from proxy.cache.entry import BadEnvelope, unpack
from proxy.cache.sqlite import SqliteBackend
from proxy.clock import spawn
from tests.api.inviting import order
from tests.running import RunningSandbox
from tools.bench.asking import rendered
from tools.bench.report import Line
from tools.bench.scale import Scale
from tools.bench.servers import HEADERS, Gunicorn, proxy

_CONNECTIONS = 100
_UPSTREAM_SECONDS = 0.05
_HOUR = Window("hour", 1_000_000, 3600)
_READERS, _INVITERS = 24, 4
_PATIENT = {"DEADLINE_SECONDS": "15"}
"""What fails here has to fail for another reason than a machine that is busy."""

_BEGUN = 2.2
"""Reads begun for each write that is made before all are killed: as many again are under way and to come."""

_READS_AN_ORDER = 10


def kills(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Count what does not hold; there are no times in it but the first second after a start."""
    return [
        *_together(sandbox, folder, scale),
        *_restarts(sandbox, folder, scale),
        *_killed(sandbox, folder, scale),
    ]


def _ask(url: str, skus: Sequence[str]) -> Counter[int]:
    """Ask for each of ``skus`` once, over many connections; return how many answers had which status."""
    paths = [(f"/v1/reviews?sku={sku}",) for sku in skus]
    return Counter(got.status for got in asyncio.run(rendered(url, HEADERS, paths, _CONNECTIONS)))


def _together(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Fill two workers that are cold; tell one of a change and ask the other."""
    sandbox.reset()
    skus = sandbox.generate(scale.skus, 20)
    sandbox.behave("slow", seconds=_UPSTREAM_SECONDS)
    url = f"sqlite:///{folder}/together.sqlite3"
    with proxy(sandbox, "--workers", "2", CACHE_URL=url, **_PATIENT) as server:
        server.settle(2)
        answered = _ask(server.url, skus * 3)
    calls = max(Counter(sku for call in sandbox.ledger().calls for sku in call.skus).values())
    url = f"sqlite:///{folder}/told.sqlite3"
    with proxy(sandbox, CACHE_URL=url) as one, proxy(sandbox, CACHE_URL=url) as other:
        seen = sum(_is_seen(number, *((one, other) if number % 2 else (other, one))) for number in range(scale.told))
    return [
        Line("kills", f"{scale.skus} SKUs cold, two workers: most calls for one", calls, ceiling=1),
        Line("kills", f"{scale.skus} SKUs cold, two workers: failed", answered.total() - answered[200], ceiling=0),
        Line("kills", f"of {scale.told:,} webhooks in the other worker's next answer", seen, floor=scale.told),
    ]


def _is_seen(number: int, told: Gunicorn, asked: Gunicorn) -> bool:
    review = {"id": "r1", "stars": 5, "content": str(number), "createdAt": "2024-01-01T00:00:00Z", "language": "en"}
    review |= {"consumer": {"displayName": "Ann"}, "attributeRatings": [], "attachments": []}
    data = {**review, "firstCompanyComment": None, "product": {"sku": "TOLD"}, "state": "published"}
    event = {"eventName": "product-review-updated", "version": "1", "eventData": data}
    address = f"{asked.url}/v1/reviews?sku=TOLD"
    requests.get(address, headers=HEADERS, timeout=20).raise_for_status()
    told_url = f"{told.url}/hooks/trustpilot"
    requests.post(told_url, json={"events": [event]}, headers=HEADERS, timeout=20).raise_for_status()
    shown = requests.get(address, headers=HEADERS, timeout=20).json()["reviews"]
    return bool(shown and shown[0]["content"] == str(number))


def _restarts(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Load two workers anew under load, stop them, and start one again."""
    sandbox.reset()
    skus = sandbox.generate(scale.skus, 20)
    url = f"sqlite:///{folder}/restarts.sqlite3"
    answered: Counter[int] = Counter()
    with proxy(sandbox, "--workers", "2", CACHE_URL=url, **_PATIENT) as server:
        filled = _ask(server.url, skus)
        before = sandbox.ledger().total
        with _beside(lambda: answered.update(_ask(server.url, skus))):
            for number in range(3):
                server.signal(signal.SIGHUP)
                while len(server.workers()) < 4 + 2 * number:
                    time.sleep(0.02)
                time.sleep(1)
        server.stop()
    started = time.monotonic()
    with proxy(sandbox, "--workers", "2", CACHE_URL=url, **_PATIENT) as server:
        ready = time.monotonic()
        warm = _ask(server.url, skus)
        seconds = time.monotonic() - ready
    return [
        Line("kills", "restarts: products cached", filled[200], floor=scale.skus),
        Line("kills", "SIGHUP under load, three times: answers", answered.total()),
        Line("kills", "SIGHUP under load, three times: failed", answered.total() - answered[200], ceiling=0),
        Line("kills", "SIGHUP, stop and start: calls", sandbox.ledger().total - before, ceiling=0),
        Line("kills", f"stop and start: {scale.skus} SKUs answered", warm[200], floor=scale.skus),
        Line("kills", "stop and start: in, from the first that can be asked", seconds, "s", ceiling=1),
        Line("kills", "stop and start: in, from the command", seconds + ready - started, "s"),
    ]


@contextmanager
def _beside(work: Callable[[], None]) -> Iterator[None]:
    """Repeat ``work`` meanwhile; raise what it raised."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.is_set():
            work()

    with ThreadPoolExecutor(1) as beside:
        working = beside.submit(repeat)
        try:
            yield
        finally:
            ended.set()
        working.result()


@dataclass
class _Kills:
    """What was found after all kills. ``writes``: changes that the file has seen."""

    damaged: int = 0
    torn: int = 0
    twice: int = 0
    missing: int = 0
    """Invitations that were acknowledged and did not arrive."""
    uncounted: int = 0
    """Calls that no window holds, in the worst round."""
    unanswered: int = 0
    """Products that were not answered after the next start."""
    calls: int = 0
    counted: int = 0
    writes: list[int] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)
    """The last one to each invitation."""


def _killed(sandbox: RunningSandbox, folder: Path, scale: Scale) -> list[Line]:
    """Kill a worker, then the master and its workers, each time in the middle of reads and invitations."""
    sandbox.reset()
    sandbox.behave("slow", seconds=_UPSTREAM_SECONDS)
    file = folder / "kills.sqlite3"
    url = f"sqlite:///{file}"
    found = _Kills()
    settings = {
        **_PATIENT,
        "CACHE_URL": url,
        "UPSTREAM_TIMEOUT_SECONDS": "4",
        "TRUSTPILOT_CALLS_PER_5_MINUTES": str(_HOUR.calls),
        "TRUSTPILOT_CALLS_PER_HOUR": str(_HOUR.calls),
    }
    for number in range(scale.kills):
        skus = sandbox.generate(int(scale.writes * _BEGUN), 3, f"KILL-{number}-")
        orders = [order() for _ in range(len(skus) // _READS_AN_ORDER)]
        calls, changes = sandbox.ledger().total, _changes(file)
        counted = _counted(file) if number else 0
        server = proxy(sandbox, "--workers", "2", **settings)
        with _Work(server, skus, orders, found.answers) as work:
            server.settle(2)
            work.begin()
            work.reach(scale.writes * (0.4 + 0.1 * (number % 5)))
            os.kill(server.workers()[number % 2], signal.SIGKILL)
            work.reach(scale.writes * (1.1 + 0.15 * (number % 5)))
            # The master and all workers at the same moment.
            server.end()
        found.writes.append(_changes(file) - changes)
        made = sandbox.ledger().total - calls
        grown = _counted(file) - counted
        found.uncounted = max(found.uncounted, made - grown)
        found.calls, found.counted = found.calls + made, found.counted + grown
        _look(file, found)
        with proxy(sandbox, "--workers", "2", **settings) as again:
            answered = _ask(again.url, skus)
            found.unanswered += len(skus) - answered[200]
            with ThreadPoolExecutor(_INVITERS) as inviters:
                list(inviters.map(lambda body: _invited(again, body, found.answers), orders))
    arrived = Counter(each["body"]["referenceNumber"] for each in sandbox.invitations())
    found.twice = sum(number > 1 for number in arrived.values())
    acknowledged = {reference for reference, status in found.answers.items() if status == 202}
    found.missing = len(acknowledged - arrived.keys())
    kills = f"{scale.kills} kills of a worker and {scale.kills} of all"
    return [
        Line(
            "kills", f"{kills}: changes written before all were killed, fewest", min(found.writes), floor=scale.writes
        ),
        Line("kills", f"{kills}: files that are damaged", found.damaged, ceiling=0),
        Line("kills", f"{kills}: entries that are torn", found.torn, ceiling=0),
        Line("kills", f"{kills}: products not answered after the start", found.unanswered, ceiling=0),
        Line("kills", f"{kills}: invitations acknowledged", len(acknowledged)),
        Line("kills", f"{kills}: invitations that arrived", arrived.total()),
        Line("kills", f"{kills}: arrived twice", found.twice, ceiling=0),
        Line("kills", f"{kills}: acknowledged and not arrived", found.missing, ceiling=0),
        Line("kills", f"{kills}: calls that Trustpilot saw", found.calls),
        Line("kills", f"{kills}: calls that the windows hold", found.counted),
        Line("kills", f"{kills}: calls not counted, in the worst round", found.uncounted, ceiling=0),
    ]


class _Work:
    """Callers that read and invite until the server is gone. ``answered`` counts the reads."""

    def __init__(
        self, server: Gunicorn, skus: Sequence[str], orders: Sequence[dict[str, Any]], answers: dict[str, int]
    ) -> None:
        self.answered = 0
        self._server = server
        self._skus, self._orders, self._answers = iter(skus), iter(orders), answers
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_READERS + _INVITERS)

    def begin(self) -> None:
        for _ in range(_READERS):
            self._pool.submit(self._read)
        for _ in range(_INVITERS):
            self._pool.submit(self._invite)

    def reach(self, answered: float) -> None:
        """Wait until so many reads were answered."""
        until = time.monotonic() + 30
        while self.answered < answered:
            assert time.monotonic() < until, "the callers came to nothing"
            time.sleep(0.002)

    def _read(self) -> None:
        while sku := self._next(self._skus):
            try:
                requests.get(f"{self._server.url}/v1/reviews?sku={sku}", headers=HEADERS, timeout=5)
            except requests.RequestException:
                # Its worker was killed.
                time.sleep(0.01)
            with self._lock:
                self.answered += 1

    def _invite(self) -> None:
        while body := self._next(self._orders):
            _invited(self._server, body, self._answers)
            # So that they last as long as the reads.
            time.sleep(0.05)

    def _next(self, those: Iterator[Any]) -> Any:
        with self._lock:
            return next(those, None)

    def __enter__(self) -> _Work:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        self._server.end()


def _invited(server: Gunicorn, body: dict[str, Any], answers: dict[str, int]) -> None:
    """Send an invitation, as often as the docs allow: not after a 504, which says that it may have arrived."""
    reference = body["referenceNumber"]
    if answers.get(reference) == 504:
        return
    try:
        answer = requests.post(f"{server.url}/v1/invitations", json=body, headers=HEADERS, timeout=20)
    except requests.RequestException:
        return
    answers[reference] = answer.status_code


def _changes(file: Path) -> int:
    """Return how many changes the file has seen."""
    if not file.exists():
        return 0
    with closing(sqlite3.connect(file)) as reading:
        row = reading.execute("SELECT max(seq) FROM changes").fetchone()
    return row[0] or 0


def _counted(file: Path) -> int:
    """Return how many calls the file has counted in the last hour."""
    backend = SqliteBackend(file, spawn, max_bytes=10**9)
    [use] = backend.count((_HOUR,), 0).uses
    backend.close()
    return use.used


def _look(file: Path, found: _Kills) -> None:
    with closing(sqlite3.connect(file)) as reading:
        found.damaged += reading.execute("PRAGMA integrity_check").fetchall() != [("ok",)]
        for (entry,) in reading.execute("SELECT entry FROM entries"):
            try:
                unpack(entry, time.time())
            except BadEnvelope:
                found.torn += 1
    found.damaged += len(list(file.parent.glob(f"{file.name}.damaged-*")))
