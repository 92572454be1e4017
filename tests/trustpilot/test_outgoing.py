"""What goes out with each call, and the way it takes: own name, no cookie, the environment's proxies."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

import pytest

from proxy.trustpilot.errors import TimedOut, TrustpilotError, Unreachable
from proxy.trustpilot.transport import Transport

_ANSWER = b"HTTP/1.1 200 OK\r\nSet-Cookie: sticky=1; Path=/\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"

_HANDSHAKE = b"\x16\x03\x03\x10\x00"
"""The beginning of a TLS record of 4,096 bytes."""


@pytest.fixture(autouse=True)
def no_proxy_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take what the machine's own environment says out of the way."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Listening:
    """A peer on a free port. ``heads`` holds what each connection sent up to its first empty line."""

    def __init__(self, behave: Callable[[socket.socket], object]) -> None:
        self.heads: list[str] = []
        self._behave = behave
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._serving = threading.Thread(target=self._serve)
        self._serving.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (part := connection.recv(65_536)):
                    head += part
                if not head:
                    return
                self.heads.append(head.decode())
                self._behave(connection)

    def close(self) -> None:
        """Stop listening, by a connection that says nothing."""
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._serving.join()
        self._listening.close()


@contextmanager
def listening(behave: Callable[[socket.socket], object] = lambda peer: peer.sendall(_ANSWER)) -> Iterator[Listening]:
    peer = Listening(behave)
    try:
        yield peer
    finally:
        peer.close()


def failure(url: str, timeout: float = 10) -> TrustpilotError:
    with pytest.raises(TrustpilotError) as error:
        Transport(timeout=timeout, concurrency=1).send("GET", url, headers={})
    return error.value


class Drip:
    """Sends a byte now and then, for longer than any call may take. ``severed``: the other side had enough."""

    def __init__(self, first: bytes, then: bytes = b"") -> None:
        self.severed = False
        self._first = first
        self._then = then.ljust(30, b"x")

    def __call__(self, connection: socket.socket) -> None:
        try:
            connection.sendall(self._first)
            for byte in self._then:
                time.sleep(0.05)
                connection.sendall(bytes([byte]))
        except OSError:
            self.severed = True


def test_every_call_names_the_proxy_and_its_version() -> None:
    with listening() as upstream:
        Transport(timeout=10, concurrency=1).send("GET", upstream.url, headers={})
    assert f"User-Agent: connected-content-proxy/{version('connected-content-proxy')}\r\n" in upstream.heads[0]


def test_a_cookie_is_not_sent_back() -> None:
    transport = Transport(timeout=10, concurrency=1)
    with listening() as upstream:
        for _ in range(2):
            transport.send("GET", upstream.url, headers={})
    assert len(upstream.heads) == 2
    assert "cookie" not in "".join(upstream.heads).lower()


def test_the_environments_proxy_is_taken_and_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as way, listening() as later:
        monkeypatch.setenv("HTTP_PROXY", way.url)
        transport = Transport(timeout=10, concurrency=1)
        monkeypatch.setenv("HTTP_PROXY", later.url)
        transport.send("GET", "http://trustpilot.invalid/v1", headers={})
    assert way.heads[0].startswith("GET http://trustpilot.invalid/v1 HTTP/1.1\r\n")
    assert later.heads == []


@pytest.mark.parametrize("exception", ["127.0.0.1", "10.0.0.0/8, 127.0.0.0/8", "localhost,127.0.0.1:{port}", "*"])
def test_no_proxy_names_whom_to_call_without(monkeypatch: pytest.MonkeyPatch, exception: str) -> None:
    with listening() as way, listening() as upstream:
        monkeypatch.setenv("HTTP_PROXY", way.url)
        monkeypatch.setenv("NO_PROXY", exception.format(port=upstream.port))
        Transport(timeout=10, concurrency=1).send("GET", upstream.url + "/v1", headers={})
    assert (way.heads, len(upstream.heads)) == ([], 1)


def test_what_a_proxy_read_and_did_not_answer_may_have_been_received(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(lambda connection: None) as way:
        monkeypatch.setenv("HTTP_PROXY", way.url)
        error = failure("http://trustpilot.invalid/v1")
    assert (type(error), error.received) == (Unreachable, True)


def test_a_proxy_that_refuses_the_tunnel_passed_nothing_on(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with listening(lambda connection: connection.sendall(refusal)) as way:
        monkeypatch.setenv("HTTPS_PROXY", way.url)
        error = failure("https://trustpilot.invalid/v1")
    assert way.heads[0].startswith("CONNECT trustpilot.invalid:443 ")
    assert (type(error), error.received) == (Unreachable, False)


@pytest.mark.parametrize(
    ("scheme", "first", "received"),
    [
        ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", True),
        ("https", b"HTTP/1.1 200 Connection esta", False),
        ("https", b"HTTP/1.1 200 Connection established\r\n\r\n", False),
    ],
    ids=["answer", "connect", "handshake"],
)
def test_the_total_time_holds_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, scheme: str, first: bytes, received: bool
) -> None:
    drip = Drip(first, _HANDSHAKE if first.endswith(b"\r\n\r\n") else b"")
    with listening(drip) as way:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", way.url)
        error = failure(f"{scheme}://trustpilot.invalid/v1", timeout=0.3)
    assert (type(error), error.received, drip.severed) == (TimedOut, received, True)


def test_the_total_time_holds_during_a_handshake_without_a_proxy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as port:
        drip = Drip(_HANDSHAKE)

        def serve() -> None:
            connection, _ = port.accept()
            with connection:
                drip(connection)

        serving = threading.Thread(target=serve)
        serving.start()
        error = failure(f"https://127.0.0.1:{port.getsockname()[1]}/v1", timeout=0.3)
        serving.join()
    assert (type(error), error.received, drip.severed) == (TimedOut, False, True)
