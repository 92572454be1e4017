"""A call's connection is cut when its time is up, whatever it is doing, and nobody else's is."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from requests import PreparedRequest

from proxy.trustpilot.transport import AbortableAdapter, CallDeadline, DeadlineSweeper


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    one, other = socket.socketpair()
    one.settimeout(10)
    with one, other:
        yield one, other


Pair = tuple[socket.socket, socket.socket]


def test_the_sweeper_cuts_a_connection_when_its_time_is_up(pair: Pair) -> None:
    with DeadlineSweeper().after(0.25) as deadline:
        deadline.stands(pair[0])
        assert deadline.connected
        assert pair[0].recv(1) == b""
        assert time.monotonic() >= deadline.at
        assert deadline.expired
    assert deadline.over


def test_a_shorter_time_that_comes_later_ends_sooner_and_cuts_only_its_own(pair: Pair) -> None:
    sweeper = DeadlineSweeper()
    with sweeper.after(30) as long:
        long.stands(pair[0])
        other, peer = socket.socketpair()
        with other, peer, sweeper.after(0.25) as short:
            other.settimeout(10)
            short.stands(other)
            assert other.recv(1) == b""
        pair[1].sendall(b"x")
        assert pair[0].recv(1) == b"x"
    assert (long.expired, short.expired) == (False, True)


def test_a_call_that_is_over_is_not_cut_and_its_thread_ends(pair: Pair) -> None:
    sweeper, before = DeadlineSweeper(), {*threading.enumerate()}
    with sweeper.after(0.25) as first:
        first.stands(pair[0])
        [sweeping] = {*threading.enumerate()} - before
    assert (sweeping.name, sweeping.daemon) == ("call-deadlines", True)
    sweeping.join(10)
    assert not sweeping.is_alive()
    assert not first.expired
    # And the next call finds one that sweeps.
    with sweeper.after(0.25) as second:
        second.stands(pair[0])
        assert pair[0].recv(1) == b""


def test_calls_end_in_the_order_of_their_times() -> None:
    sweeper = DeadlineSweeper()
    deadlines = sorted((sweeper.after(seconds) for seconds in (0.06, 0.02, 0.04)), key=lambda each: each.at)
    while not deadlines[2].expired:
        if deadlines[1].expired:
            assert deadlines[0].expired
        time.sleep(0.001)
    assert deadlines[0].expired
    assert deadlines[1].expired


def test_a_connection_that_is_being_made_is_cut_too(pair: Pair) -> None:
    deadline = CallDeadline(0)
    with deadline:
        deadline.opened(pair[0])
        assert not deadline.connected
        deadline.abort()
        assert pair[0].recv(1) == b""
        for note in (deadline.opened, deadline.stands):
            with pytest.raises(TimeoutError, match=r"^the call's time was up before it was connected$"):
                note(pair[0])
        assert not deadline.connected


def test_a_call_without_a_connection_only_notes_that_its_time_is_up() -> None:
    deadline = CallDeadline(5.0)
    assert (deadline.at, deadline.expired, deadline.over, deadline.connected) == (5.0, False, False, False)
    deadline.abort()
    assert deadline.expired


def test_a_connection_that_is_closed_already_is_left_alone(pair: Pair) -> None:
    deadline = CallDeadline(0)
    deadline.stands(pair[0])
    pair[0].close()
    deadline.abort()
    assert deadline.expired


def test_what_is_held_of_a_connection_is_let_go(pair: Pair) -> None:
    deadline = CallDeadline(0)
    with deadline:
        deadline.opened(pair[0])
        held = deadline._opened
        assert held is not None
        assert held.fileno() != pair[0].fileno()
        deadline.stands(pair[0])
        assert held.fileno() == -1
        deadline.opened(pair[0])
        again = deadline._opened
    assert again is not None
    assert again.fileno() == -1
    deadline.abort()
    pair[1].sendall(b"x")
    assert pair[0].recv(1) == b"x"


def test_a_host_has_one_pool_of_connections_and_each_host_its_own() -> None:
    adapter = AbortableAdapter(pool_connections=4, pool_maxsize=3)

    def pool(url: str) -> object:
        request = PreparedRequest()
        request.url = url
        return adapter.get_connection_with_tls_context(request, True, proxies={}, cert=None)

    one = pool("http://a.example/v1/x")
    assert pool("http://a.example/v1/y?z=/") is one
    assert pool("http://a.example") is one
    others = ("http://a.example:81/", "https://a.example/", "http://b.example/")
    assert len({id(each) for each in (one, *map(pool, others))}) == 4


_CALL = """
from gevent import monkey
monkey.patch_all()
import socket, sys
from proxy.trustpilot import TimedOut
from proxy.trustpilot.transport import Transport

addresses = [("127.0.0.1", int(port)) for port in sys.argv[1:]]
socket.getaddrinfo = lambda *_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
try:
    Transport(timeout=0.5, concurrency=1).send("GET", "http://nobody.example/v1/x", headers={})
except TimedOut as error:
    print("in time", error.received)
"""


def test_of_a_names_addresses_none_is_tried_after_the_calls_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as hung, socket.create_server(("127.0.0.1", 0)) as next_:
        # Whoever connects to the first waits: there is no room in its queue.
        full = [socket.socket() for _ in range(3)]
        for each in full:
            each.setblocking(False)
            each.connect_ex(hung.getsockname())
        ports = [str(each.getsockname()[1]) for each in (hung, next_)]
        told = subprocess.run([sys.executable, "-c", _CALL, *ports], capture_output=True, text=True, timeout=60)
        assert (told.stdout, told.stderr) == ("in time False\n", "")
        next_.setblocking(False)
        with pytest.raises(BlockingIOError):
            next_.accept()
        for each in full:
            each.close()
