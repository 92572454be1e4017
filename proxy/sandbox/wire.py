"""The caller's TCP connection itself, for answers that no well-behaved HTTP server would give."""

import contextlib
import socket
import struct
import time

import gevent
from gevent.socket import wait_read

# SO_LINGER on with no time: closing throws unsent data away and sends RST instead of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ConnectionOverError(Exception):
    """Everything this connection will ever carry has been sent; raised while a response is iterated."""


class Wire:
    """One caller's connection. ``held`` has those that are kept waiting."""

    def __init__(self, connection: socket.socket, held: set["Wire"]) -> None:
        self._connection = connection
        self._held = held

    def hold(self, seconds: float) -> bool:
        """Wait; False as soon as the caller has hung up or :meth:`drop` was called."""
        self._held.add(self)
        try:
            return self._wait(seconds)
        finally:
            self._held.discard(self)

    def _wait(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        try:
            wait_read(self._connection.fileno(), timeout=seconds)
            here = self._connection.recv(1, socket.MSG_PEEK) != b""
        except TimeoutError:
            return True
        except ConnectionError:
            return False
        if here:
            # The caller is sending its next request already; it waits its turn as long as this one does.
            gevent.sleep(max(0.0, until - time.monotonic()))
        return here

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._connection.sendall(data)

    def reset_on_close(self) -> None:
        """Make the end of this connection a TCP reset."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def drop(self) -> None:
        """End the connection from outside, waking whoever holds it."""
        # A caller that left a moment ago has done it already.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
