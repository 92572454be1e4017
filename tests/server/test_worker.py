"""Callers who are malformed, too large or too slow."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
import requests

from tests.exposition import value
from tests.load import Callers, percentile
from tests.running import SECRET, RunningProxy, RunningSandbox


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /v1/reviews?sku=" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Api-Key: " + b"hush-hush" * 1200 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(80)) + b"\r\n", 431),
        (b"hush-hush\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Api-Key hush-hush\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: hush\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_a_problem_and_is_counted(
    shared_proxy: RunningProxy, request_bytes: bytes, status: int
) -> None:
    labels = {"route": "other", "cache": "none", "status": str(status)}
    before = value(shared_proxy, "ccproxy_requests_total", **labels)
    head, _, body = shared_proxy.raw(request_bytes).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"application/problem+json" in head
    assert b"X-Request-Id: " in head
    assert json.loads(body)["status"] == status
    assert json.loads(body)["found"] is False
    assert b"hush" not in body
    assert value(shared_proxy, "ccproxy_requests_total", **labels) == before + 1


def test_a_header_moves_no_path_past_a_front_on_the_same_machine(shared_proxy: RunningProxy) -> None:
    headers = {"X-Api-Key": SECRET, "SCRIPT_NAME": "/x", "X-Forwarded-Proto": "https"}
    assert requests.get(f"{shared_proxy.url}/x/metrics", headers=headers, timeout=5).status_code == 404
    assert requests.get(f"{shared_proxy.url}/metrics", headers=headers, timeout=5).status_code == 200


def test_a_thousand_slow_connections_hold_nobody_up(sandbox: RunningSandbox) -> None:
    # Each asks again long before its kept connection is closed, at the very moment that it asks.
    ordinary = 20
    with RunningProxy(sandbox, keep_alive=3) as proxy, Callers(ordinary) as many:
        proxy.get("/v1/reviews", sku="MUG-01")
        with _Drips(proxy, 1000) as drips:
            many.all_at_once([proxy], ["/healthz"] * ordinary)
            answers = many.steadily(100, 4, lambda _: f"{proxy.url}/v1/reviews?sku=MUG-01")
            held = drips.connected
    p99 = percentile([answer.took for answer in answers], 0.99)
    print(f"beside {held} connections that drip: p99 {p99 * 1000:.0f} ms")
    assert held >= 900
    # A worker that a single one of them kept busy would answer none of these in time.
    assert Counter((answer.status, answer.cache) for answer in answers) == {(200, "hit"): 400}


def test_headers_that_never_end_are_given_up(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, keep_alive=1) as proxy, proxy.connection() as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nX: ")
        slow.settimeout(0.2)
        until = time.monotonic() + 60
        while _drips_on(slow):
            assert time.monotonic() < until, "it is still open"


def _drips_on(connection: socket.socket) -> bool:
    """Send one more byte; tell whether the other side still listens."""
    try:
        connection.sendall(b"a")
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


class _Drips:
    """Connections that send one byte of a request each second, and connect again when they are closed."""

    def __init__(self, proxy: RunningProxy, number: int) -> None:
        self._connect: Callable[[], socket.socket] = proxy.connection
        self._number = number
        self._stopping = threading.Event()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run)
        self.connected = 0

    def _run(self) -> None:
        text = b"GET /v1/reviews?sku=MUG-01 HTTP/1.1\r\nX-Api-Key: " + SECRET.encode()
        second = 0
        assert len(text) > 30, "enough for every second of a test"
        while not self._stopping.is_set():
            started = time.monotonic()
            alive = []
            for connection in self._open:
                try:
                    connection.send(text[second : second + 1])
                    alive.append(connection)
                except OSError:
                    connection.close()
            self._open = alive
            while len(self._open) < self._number and not self._stopping.is_set():
                connection = self._connect()
                connection.setblocking(False)
                self._open.append(connection)
            self.connected = len(self._open)
            second += 1
            self._stopping.wait(max(0.0, started + 1 - time.monotonic()))

    def __enter__(self) -> _Drips:
        self._thread.start()
        until = time.monotonic() + 20
        while self.connected < self._number and time.monotonic() < until:
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        for connection in self._open:
            connection.close()


def test_settings_that_are_right_and_seldom_meant_are_warned_of_at_the_start(sandbox: RunningSandbox) -> None:
    with (
        RunningProxy(sandbox) as usual,
        RunningProxy(sandbox, DEADLINE_SECONDS="2", CACHE_STALE_SECONDS="100") as unusual,
    ):
        assert "warning" not in "".join(usual.log)
        log = "".join(unusual.log)
    assert "DEADLINE_SECONDS=2: Braze inserts nothing that takes 2 s or longer" in log
    assert "CACHE_STALE_SECONDS=100 is below CACHE_FRESH_SECONDS=900" in log
