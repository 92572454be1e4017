"""What a failed call tells: whether it took too long, and whether Trustpilot may have acted on it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from proxy.clock import Deadline
from proxy.trustpilot.errors import Malformed, TimedOut, TrustpilotError, Unreachable
from proxy.trustpilot.transport import MAX_BODY_BYTES, Transport


@contextmanager
def peer(behave: Callable[[socket.socket], object]) -> Iterator[str]:
    """Take one connection, read the request, and do as told."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                request = b""
                while not request.endswith(b"{}"):
                    request += connection.recv(65_536)
                behave(connection)

        serving = threading.Thread(target=serve)
        serving.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        serving.join()


def failure(url: str, timeout: float = 5) -> TrustpilotError:
    transport = Transport(timeout=10, concurrency=1)
    with pytest.raises(TrustpilotError) as error:
        transport.send("POST", url, headers={}, data=b"{}", deadline=Deadline.after(timeout))
    return error.value


def test_a_refused_connection_is_not_a_timeout_and_nothing_was_received() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # bound and not listening
        error = failure(f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
    assert (type(error), error.received) == (Unreachable, False)


def test_a_name_that_is_not_found_received_nothing() -> None:
    error = failure("http://trustpilot.invalid/v1")
    assert (type(error), error.received) == (Unreachable, False)


def test_a_connection_that_ends_without_an_answer_may_have_been_received() -> None:
    with peer(lambda connection: None) as url:
        error = failure(url)
    assert (type(error), error.received) == (Unreachable, True)


def test_an_answer_that_does_not_come_in_time_may_have_been_received() -> None:
    over = threading.Event()
    with peer(lambda connection: over.wait(10)) as url:
        error = failure(url, timeout=0.2)
        over.set()
    assert (type(error), error.received) == (TimedOut, True)


def test_an_answer_that_is_too_large_was_received() -> None:
    def flood(connection: socket.socket) -> None:
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * (MAX_BODY_BYTES + 100_000))
        except OSError:
            return  # the reader left at its cap

    with peer(flood) as url:
        error = failure(url)
    assert (type(error), error.received) == (Malformed, True)


def test_a_peer_that_takes_no_connection_is_waited_for_no_longer_and_received_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as filling:
        for _ in range(4):
            sock = filling.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        error = failure(f"http://127.0.0.1:{full.getsockname()[1]}/v1", timeout=0.2)
    assert (type(error), error.received) == (TimedOut, False)
