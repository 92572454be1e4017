"""Whole answers on real connections: framed as any other, for callers of every kind."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.exposition import value
from tests.running import SECRET, RunningProxy, RunningSandbox

PATH = "/v1/reviews?sku=MUG-01"


def asked(path: str = PATH, version: str = "HTTP/1.1", **headers: str) -> bytes:
    fields = {"Host": "x", "X-Api-Key": SECRET, **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {path} {version}\r\n{lines}\r\n".encode()


def answers(raw: bytes) -> Iterator[tuple[str, list[tuple[str, str]], bytes]]:
    """Take apart what came over one connection, by the lengths it states."""
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        pairs = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
        length = int(dict(pairs)["content-length"])
        yield status, pairs, raw[:length]
        raw = raw[length:]


def test_a_repeat_has_the_fields_of_any_other_answer_each_once(proxy: RunningProxy) -> None:
    proxy.get(PATH)
    repeat, ordinary = answers(proxy.raw(asked() + asked(Connection="close")))
    assert repeat[0] == ordinary[0] == "HTTP/1.1 200 OK"
    assert repeat[2] == ordinary[2] != b""
    names = [name for name, _ in repeat[1]]
    assert len(names) == len(set(names))
    assert sorted(names) == sorted(name for name, _ in ordinary[1])
    own = {"server-timing", "x-request-id", "connection", "date"}
    assert {pair for pair in repeat[1] if pair[0] not in own} == {pair for pair in ordinary[1] if pair[0] not in own}
    assert (dict(repeat[1])["connection"], dict(ordinary[1])["connection"]) == ("keep-alive", "close")
    assert dict(repeat[1])["x-cache"] == "hit"


def test_requests_sent_together_are_answered_in_order(proxy: RunningProxy) -> None:
    paths = [f"/v1/summary?sku={sku}" for sku in ("MUG-01", "LAMP-01", "TRUCK-01", "MUG-01")]
    last = asked("/healthz", Connection="close")
    for _ in range(2):
        *got, _end = answers(proxy.raw(b"".join(map(asked, paths)) + last))
        assert [json.loads(body)["sku"] for _, _, body in got] == ["MUG-01", "LAMP-01", "TRUCK-01", "MUG-01"]


@pytest.mark.parametrize(("version", "headers"), [("HTTP/1.0", {}), ("HTTP/1.1", {"Connection": "Close"})])
def test_who_asks_for_one_answer_gets_it_and_the_connection_ends(
    proxy: RunningProxy, version: str, headers: dict[str, str]
) -> None:
    for _ in range(2):
        ((status, pairs, body),) = answers(proxy.raw(asked(version=version, **headers)))
        assert status.endswith(" 200 OK")
        assert dict(pairs)["connection"] == "close"
        assert json.loads(body)["found"]


def test_a_problem_is_whole_too(proxy: RunningProxy) -> None:
    problem, _ = answers(proxy.raw(asked("/v1/reviews?sku=") + asked("/healthz", Connection="close")))
    assert problem[0] == "HTTP/1.1 400 BAD REQUEST"
    assert ("content-type", "application/problem+json") in problem[1]
    assert json.loads(problem[2])["found"] is False


@pytest.mark.parametrize("more", ["", "&on_error=empty"])
def test_what_could_not_be_had_is_counted_alike_on_every_kind_of_connection(
    sandbox: RunningSandbox, more: str
) -> None:
    sandbox.behave("fail")
    with RunningProxy(sandbox) as proxy:
        path = f"/v1/reviews?sku=MUG-01{more}"
        kept, closed = answers(proxy.raw(asked(path) + asked(path, Connection="close")))
        assert dict(kept[1])["x-cache"] == dict(closed[1])["x-cache"] == "miss"
        status = "200" if more else "503"
        labels = {"route": "/v1/reviews", "status": status, "cache": "miss"}
        assert value(proxy, "ccproxy_requests_total", **labels) == 2


def test_a_quit_ends_a_worker_at_once_whatever_it_does(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox) as proxy:
        proxy.get(PATH)
        (worker,) = proxy.workers()
        os.kill(worker, signal.SIGQUIT)
        until = time.monotonic() + 5
        while Path(f"/proc/{worker}").exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        # The line of the answer given before was written, and the master has started another worker.
        assert proxy.get(PATH).status_code == 200
        assert len([line for line in proxy.log if '"proxy.requests"' in line and "/v1/reviews" in line]) >= 1


def test_a_slow_reader_gets_all_of_a_large_answer(sandbox: RunningSandbox, proxy: RunningProxy) -> None:
    review = {"stars": 5, "content": "much to say " * 1500, "createdAt": "2024-01-01T00:00:00Z"}
    skus = [f"LONG-{number}" for number in range(20)]
    for sku in skus:
        sandbox.put_product(sku, [{**review, "id": f"{sku}-{number}"} for number in range(20)])
    path = f"/v1/products?skus={','.join(skus)}&limit=20"
    first = proxy.get(path).content
    parts = urlsplit(proxy.url)
    with socket.socket() as connection:
        # So small that most of the answer has to wait at the server.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect((parts.hostname, parts.port))
        connection.sendall(asked(path) + asked("/healthz", Connection="close"))
        time.sleep(0.5)
        assert proxy.get(PATH).status_code == 200, "nobody else waits for the slow one"
        large, _ = answers(b"".join(iter(lambda: connection.recv(65_536), b"")))
    assert dict(large[1])["x-cache"] == "hit"
    assert len(large[2]) > 7_000_000
    assert json.loads(large[2]) == json.loads(first)


def test_who_goes_before_the_answer_harms_nobody(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox) as proxy:
        proxy.get(PATH)
        for _ in range(50):
            with proxy.connection() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(asked() * 20)
        assert proxy.get(PATH).headers["X-Cache"] == "hit"
    assert not [line for line in proxy.log if "Traceback" in line or '"error"' in line]


def test_once_the_proxy_is_stopping_a_repeat_ends_its_connection(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, keep_alive=10, DEADLINE_SECONDS="5") as proxy:
        proxy.get(PATH)
        with proxy.connection() as connection:
            connection.sendall(asked())
            assert b"Connection: keep-alive\r\n" in connection.recv(65_536)
            proxy.signal(signal.SIGTERM)
            time.sleep(1)
            connection.sendall(asked())
            received = b"".join(iter(lambda: connection.recv(65_536), b""))
        ((status, pairs, _),) = answers(received)
        assert status == "HTTP/1.1 200 OK"
        assert dict(pairs)["connection"] == "close"
        assert proxy.wait() == 0
