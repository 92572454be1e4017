"""Whose turn it is in a worker with many connections."""

from __future__ import annotations

import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from proxy.server.worker import Worker

_COUNT = """
import sys
import gevent
from proxy.server.worker import lengthen_turns

lengthen_turns(float(sys.argv[1]))
loop, done, after_turns = gevent.get_hub().loop, [], []
check = loop.check()
check.start(lambda: after_turns.append(len(done)))
for number in range(200):
    loop.run_callback(done.append, number)
while len(done) < 200:
    gevent.sleep(0.001)
print(after_turns[0])
"""


@pytest.mark.parametrize(("seconds", "done"), [("0", 50), ("1e9", 200)])
def test_all_that_can_be_done_is_done_before_connections_are_looked_at(seconds: str, done: int) -> None:
    # In a process of its own, as it holds for all of gevent.
    told = subprocess.run(
        [sys.executable, "-c", _COUNT, seconds], check=True, capture_output=True, text=True, timeout=60
    )
    assert int(told.stdout) == done


@pytest.mark.parametrize(("workers", "accepted"), [(1, 1000), (2, 8)])
def test_connections_are_taken_by_many(workers: int, accepted: int) -> None:
    worker = Worker.__new__(Worker)
    worker.cfg = SimpleNamespace(workers=workers)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = worker.server_class(listener, spawn=None, environ={}, log=None)
        assert server.max_accept == accepted
