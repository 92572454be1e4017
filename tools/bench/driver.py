"""Opens many connections at once and renders messages over them, from one epoll loop: it shares the machine.

It keeps times and distinct bodies only, and tells its own processor time.
"""

from __future__ import annotations

import select
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tools.bench.asking import Render

GIVEN_UP_SECONDS = 20.0
_HEALTH = "/healthz"
_HEALTH_SECONDS = 0.05


@dataclass
class Burst:
    """What came of it. Times in seconds, from when an answer was wanted, connecting included, to its last byte."""

    took: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    """How many answers had which; 0: no answer."""
    bodies: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """The distinct bodies of the 200s, by path."""
    health: list[float] = field(default_factory=list)
    """How long ``/healthz`` took meanwhile, asked every 50 ms."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of this process."""


class _Connection:
    """One kept connection. ``path``: what it waits for, empty for nothing; ``paths``: what it asks next."""

    def __init__(self, address: tuple[str, int], paths: Iterator[str]) -> None:
        self.paths = paths
        self.path = ""
        self.since = 0.0
        self.connected = False
        self.received = b""
        self.size = 0
        """Of the whole answer, 0 while its head is not there."""
        self.socket = socket.socket()
        self.socket.setblocking(False)  # the socket module's own signature
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(address)

    def read(self) -> bool:
        """Take what came; tell whether the answer is whole. Raises OSError when the connection is lost."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionResetError
        self.received = self.received + data if self.received else data
        if not self.size:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return False
            head = self.received[: end + 2].lower()
            at = head.index(b"\r\ncontent-length:") + 17
            self.size = end + 4 + int(head[at : head.index(b"\r", at)])
        return len(self.received) >= self.size

    def answer(self) -> tuple[int, bytes]:
        """Return the status and the body of the whole answer."""
        data, self.received, self.size = self.received, b"", 0
        return int(data[9:12]), data[data.index(b"\r\n\r\n") + 4 :]


class Driver:
    """Renders messages on one server."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._address = (host, int(port))
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._rest_of_request = f" HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode()

    def burst(self, renders: Sequence[Render], connections: int, *, health: bool = False) -> Burst:
        """Render all messages over ``connections`` connections that are opened at once.

        The paths of a message are asked one after the other. ``health``: ask ``/healthz`` too meanwhile.
        """
        self._epoll = select.epoll()
        self._open: dict[int, _Connection] = {}
        self._burst = Burst()
        cpu, started = time.process_time(), time.perf_counter()
        pending = iter(renders)
        probe = self._connect(iter(())) if health else None
        for _ in range(min(connections, len(renders))):
            self._connect(_paths(pending))
        while len(self._open) > (probe is not None) and time.perf_counter() < started + GIVEN_UP_SECONDS:
            for number, event in self._epoll.poll(_HEALTH_SECONDS):
                self._on_event(self._open[number], event)
            if probe is not None and not probe.path and time.perf_counter() > probe.since + _HEALTH_SECONDS:
                self._ask(probe, _HEALTH)
        self._burst.seconds = time.perf_counter() - started
        self._burst.cpu_seconds = time.process_time() - cpu
        for connection in list(self._open.values()):
            self._close(connection, 0)
        self._epoll.close()
        return self._burst

    def _connect(self, paths: Iterator[str]) -> _Connection:
        connection = _Connection(self._address, paths)
        self._open[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket.fileno(), select.EPOLLOUT)
        self._ask(connection, next(paths, ""))
        return connection

    def _ask(self, connection: _Connection, path: str) -> None:
        connection.path, connection.since = path, time.perf_counter()
        if path and connection.connected:
            connection.socket.send(b"GET " + path.encode() + self._rest_of_request)

    def _on_event(self, connection: _Connection, event: int) -> None:
        try:
            if not connection.connected and not event & select.EPOLLERR:
                connection.connected = True
                self._epoll.modify(connection.socket.fileno(), select.EPOLLIN)
                if connection.path:
                    connection.socket.send(b"GET " + connection.path.encode() + self._rest_of_request)
            elif connection.read():
                self._on_answer(connection, *connection.answer())
        except OSError:
            # Lost: what it waited for counts as no answer, the rest is asked over a new one.
            self._close(connection, 0)
            self._connect(connection.paths)

    def _on_answer(self, connection: _Connection, status: int, body: bytes) -> None:
        took = time.perf_counter() - connection.since
        if connection.path == _HEALTH:
            self._burst.health.append(took)
            connection.path = ""
            return
        self._burst.took.append(took)
        self._burst.statuses[status] += 1
        if status == 200 and body not in (known := self._burst.bodies[connection.path]):
            known.append(body)
        if path := next(connection.paths, ""):
            self._ask(connection, path)
        else:
            connection.path = ""
            self._close(connection)

    def _close(self, connection: _Connection, status: int | None = None) -> None:
        if status is not None and connection.path not in ("", _HEALTH):
            self._burst.statuses[status] += 1
            self._burst.took.append(time.perf_counter() - connection.since)
        del self._open[connection.socket.fileno()]
        connection.socket.close()


def _paths(renders: Iterable[Render]) -> Iterator[str]:
    for render in renders:
        yield from render
