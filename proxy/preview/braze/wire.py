"""What goes over the wire, and the promise a transport makes.

The room itself never opens a socket. Whoever renders passes in a `Transport`; the preview's goes only to this
proxy, a test's goes to memory or to a loopback server.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, ready to send.

    ``timeout_seconds`` is for the whole exchange, from connecting to the last byte of the body.
    ``max_body_bytes`` is the largest body worth reading.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout_seconds: float
    max_body_bytes: int


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP answer. ``body`` is already decoded from gzip; headers with one name are joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of a header, whatever the case of its name, or None."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)


class TransportError(Exception):
    """No answer was had. The message says why, in words a marketer can read."""


class NoAnswerInTimeError(TransportError):
    """The whole answer did not arrive within ``timeout_seconds``."""


class NoConnectionError(TransportError):
    """The host could not be reached, or broke off."""


class BodyTooLargeError(TransportError):
    """The body is larger than ``max_body_bytes``; reading stopped there."""


class RefusedError(TransportError):
    """The transport does not make that call, and sent nothing."""


class Transport(Protocol):
    """Sends one request and returns its answer, whatever the status."""

    def send(self, request: Request) -> Response:
        """Send ``request`` once.

        Must not follow redirects (a 3xx is an answer like any other), must stop at ``timeout_seconds`` and at
        ``max_body_bytes`` while reading, and must return the body decoded from gzip.

        Raises:
            NoAnswerInTimeError, NoConnectionError, BodyTooLargeError, RefusedError: no answer, and why. A
                host that can't exist, or an answer that is not HTTP, is a NoConnectionError.

        """
        ...
