"""A real HTTP endpoint on a free loopback port, and a plain transport to reach it."""

import gzip
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from proxy.preview.braze import BodyTooLargeError, NoAnswerInTimeError, NoConnectionError, Request, Response


@dataclass(frozen=True)
class Received:
    """One request as it arrived over the socket."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str


@dataclass
class Endpoint:
    """A running server: where it is, what it got, and what it says on each path."""

    url: str
    received: list[Received] = field(default_factory=list)
    pages: dict[str, Callable[[Received], Response]] = field(default_factory=dict)

    def says(self, path: str, body: str | bytes, status: int = 200, **headers: str) -> None:
        """Answer a path (without its query) always the same."""
        data = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = lambda _: Response(status, named, data)


@contextmanager
def running_endpoint() -> Iterator[Endpoint]:
    """Serve on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            received = Received(self.command, self.path, dict(self.headers.items()), body)
            endpoint.received.append(received)
            page = endpoint.pages.get(urlsplit(self.path).path)
            response = page(received) if page else Response(404, {}, b"")
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            try:
                self.wfile.write(response.body)
            except (BrokenPipeError, ConnectionResetError):
                # The other side stopped reading at its limit, which is what some tests are about.
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
            """Keep the tests' output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class SocketTransport:
    """A `Transport` over http.client: one deadline, one size, no redirects."""

    def send(self, request: Request) -> Response:
        parts = urlsplit(request.url)
        until = time.monotonic() + request.timeout_seconds
        connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port or 80, timeout=request.timeout_seconds
        )
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request(request.method, target, body=request.body, headers=dict(request.headers))
            response = connection.getresponse()
            body = self._read(response, connection, request, until)
        except TimeoutError as err:
            raise NoAnswerInTimeError("no answer in time") from err
        except (OSError, http.client.HTTPException) as err:
            raise NoConnectionError(str(err) or type(err).__name__) from err
        finally:
            connection.close()
        return Response(response.status, dict(response.getheaders()), body)

    def _read(
        self,
        response: http.client.HTTPResponse,
        connection: http.client.HTTPConnection,
        request: Request,
        until: float,
    ) -> bytes:
        body = b""
        while chunk := response.read1(65_536):
            body += chunk
            if len(body) > request.max_body_bytes:
                raise BodyTooLargeError("the body is too large")
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if isinstance(connection.sock, socket.socket):
                connection.sock.settimeout(left)
        zipped = response.getheader("Content-Encoding") == "gzip"
        return gzip.decompress(body) if zipped else body
