"""What goes out with each call, the way it takes, and what one that failed tells: late or not, received or not."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version

import pytest
from certifi import where

from proxy.clock import Deadline
from proxy.events import CallEnded, CallStarted
from proxy.trustpilot import Malformed, TimedOut, TrustpilotError, Unreachable
from proxy.trustpilot.transport import (
    KINDS,
    MAX_BODY_BYTES,
    EnvironmentProxies,
    Transport,
    certificates,
    kind_of,
)
from tests.trustpilot.upstream import Upstream

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
        self._is_over = False
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
                # Whoever else had this port before may be tried again by somebody, who then says nothing.
                connection.settimeout(2)
                with suppress(TimeoutError):
                    while b"\r\n\r\n" not in head and (part := connection.recv(65_536)):
                        head += part
                connection.settimeout(None)
                if head:
                    self.heads.append(head.decode())
                    self._behave(connection)
                elif self._is_over:
                    return

    def close(self) -> None:
        """Stop listening, by a connection that says nothing."""
        self._is_over = True
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


def test_a_proxys_user_is_shown_to_it_and_to_nobody_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with listening(lambda connection: connection.sendall(refusal)) as way:
        monkeypatch.setenv("ALL_PROXY", f"http://ann:p%40ss@127.0.0.1:{way.port}")
        for scheme in ("http", "https"):
            with suppress(Unreachable):
                Transport(timeout=10, concurrency=1).send("GET", f"{scheme}://trustpilot.invalid/v1", headers={})
    shown = f"proxy-authorization: Basic {b64encode(b'ann:p@ss').decode()}\r\n"
    assert [shown.lower() in head.lower() for head in way.heads] == [True, True]


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "ftp://127.0.0.1:1", "http://:1", "http://[::1"])
def test_a_proxy_that_can_not_be_taken_is_one_that_can_not_be_reached(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    error = failure("http://trustpilot.invalid/v1")
    assert (type(error), error.received) == (Unreachable, False)


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


@pytest.mark.parametrize(
    ("exceptions", "host", "excepted"),
    [
        ("shop.example", "shop.example", True),
        ("shop.example", "api.shop.example", True),
        (".shop.example", "api.shop.example", True),
        ("*.shop.example", "api.shop.example", True),
        (" SHOP.example ,, other", "shop.example", True),
        ("shop.example", "othershop.example", False),
        ("shop.example:8000", "shop.example", True),
        ("shop.example:9000", "shop.example", False),
        ("10.0.0.5/8", "10.9.9.9", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/99, other", "10.0.0.1", False),
        ("fe80::/10", "[fe80::1]", True),
        ("other, *", "shop.example", True),
        ("", "shop.example", False),
    ],
)
def test_exceptions_are_names_networks_or_everyone(
    monkeypatch: pytest.MonkeyPatch, exceptions: str, host: str, excepted: bool
) -> None:
    monkeypatch.setenv("http_proxy", "http://way.example")
    monkeypatch.setenv("NO_PROXY", exceptions)
    way = EnvironmentProxies().for_url(f"http://{host}:8000/v1")
    assert way == ({} if excepted else {"http": "http://way.example"})


def test_each_scheme_has_its_proxy_and_all_is_for_those_without(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EnvironmentProxies().for_url("https://a.example/") == {}
    monkeypatch.setenv("HTTPS_PROXY", "http://secure.example")
    assert EnvironmentProxies().for_url("http://a.example/") == {}
    monkeypatch.setenv("ALL_PROXY", "http://all.example")
    ways = EnvironmentProxies()
    assert ways.for_url("https://a.example/") == {"https": "http://secure.example"}
    assert ways.for_url("http://a.example/") == {"http": "http://all.example"}


def test_the_certificates_to_trust_are_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    assert certificates() is True
    monkeypatch.setenv("CURL_CA_BUNDLE", "/curl.pem")
    assert certificates() == "/curl.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/requests.pem")
    assert certificates() == "/requests.pem"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("product-reviews/business-units/u/reviews?sku=a/summaries", "reviews"),
        ("product-reviews/business-units/u/batch-summaries", "summaries"),
        ("reviews/deletions", "deletions"),
        ("oauth/accesstoken", "token"),
        ("private/business-units/u/email-invitations", "invitation"),
        ("private/product-reviews/business-units/u/reviews?page=1", "feed"),
        ("private/product-reviews/business-units/u/summaries", "shop_summaries"),
        ("private/product-reviews/business-units/u/invitation-links", "other"),
        ("product-reviews/business-units/u/summaries", "other"),
    ],
)
def test_a_call_is_of_one_of_a_few_kinds(path: str, kind: str) -> None:
    assert kind_of(f"https://t.example/v1/{path}") == kind
    assert kind in KINDS
    assert len(KINDS) == len(set(KINDS)) == 8


def test_an_answer_may_be_packed(upstream: Upstream) -> None:
    upstream.answers, upstream.headers = [(200, gzip.compress(b"plain"))], {"Content-Encoding": "gzip"}
    events: list[object] = []
    response = Transport(timeout=10, concurrency=1, report=events.append).send(
        "POST", f"{upstream.url}/reviews", headers={"X-A": "b", "User-Agent": "own"}, data=b"four"
    )
    assert (response.status, response.body, response.headers["content-encoding"]) == (200, b"plain", "gzip")
    [asked] = upstream.asked
    assert (asked.method, asked.body, asked.headers["Content-Length"]) == ("POST", b"four", "4")
    assert (asked.headers["Accept-Encoding"], asked.headers["User-Agent"]) == ("gzip, deflate", "own")
    started, ended = events
    assert started == CallStarted("reviews")
    assert isinstance(ended, CallEnded)
    assert (ended.kind, ended.outcome, ended.bytes) == ("reviews", "200", 5)
    assert 0 <= ended.seconds < 10


def test_a_call_without_a_body_has_no_length(upstream: Upstream) -> None:
    Transport(timeout=10, concurrency=1).send("GET", upstream.url, headers={})
    assert "Content-Length" not in upstream.asked[0].headers


def test_a_redirect_is_not_followed(upstream: Upstream) -> None:
    upstream.answers, upstream.headers = [(302, {})], {"Location": "/elsewhere"}
    assert Transport(timeout=10, concurrency=1).send("GET", upstream.url, headers={}).status == 302
    assert len(upstream.asked) == 1


def test_an_answer_may_be_as_large_as_the_cap(upstream: Upstream) -> None:
    upstream.answers = [(200, b"x" * MAX_BODY_BYTES), (200, b"x" * (MAX_BODY_BYTES + 1))]
    events: list[object] = []
    transport = Transport(timeout=10, concurrency=1, report=events.append)
    assert len(transport.send("GET", upstream.url, headers={}).body) == MAX_BODY_BYTES
    with pytest.raises(Malformed, match=r"^Trustpilot's answer was too large$"):
        transport.send("GET", upstream.url, headers={})
    assert [event.outcome for event in events if isinstance(event, CallEnded)] == ["200", "malformed"]
    assert [event.bytes for event in events if isinstance(event, CallEnded)] == [MAX_BODY_BYTES, 0]


@pytest.mark.parametrize(("own", "given"), [(0.0, None), (10.0, 0.0), (0.0, 10.0)])
def test_the_shorter_time_holds(own: float, given: float | None) -> None:
    over = threading.Event()
    with listening(lambda connection: over.wait(10)) as peer:
        deadline = None if given is None else Deadline.after(given)
        with pytest.raises(TimedOut, match=r"^Trustpilot did not answer in time$"):
            Transport(timeout=own, concurrency=1).send("GET", peer.url, headers={}, deadline=deadline)
        over.set()


def test_what_comes_before_the_answer_is_passed_over() -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
    with listening(lambda peer: peer.sendall(early + _ANSWER)) as upstream:
        answer = Transport(timeout=10, concurrency=1).send("GET", upstream.url, headers={})
    assert (answer.status, answer.body, "link" in answer.headers) == (200, b"{}", False)


def test_a_connection_is_kept_for_the_next_call_and_each_host_has_its_own(upstream: Upstream) -> None:
    transport = Transport(timeout=10, concurrency=1)
    for _ in range(2):
        transport.send("GET", upstream.url, headers={})
    with listening() as other:
        transport.send("GET", f"{other.url}/v1", headers={})
    assert len(upstream.asked) == 2
    assert upstream.connections == 1
    assert len(other.heads) == 1


@pytest.mark.parametrize("bundle", [None, "own"])
def test_a_peer_has_to_show_a_certificate_that_is_trusted(
    monkeypatch: pytest.MonkeyPatch, bundle: str | None
) -> None:
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    trusted = where()
    if bundle:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted := __file__)
    transport = Transport(timeout=10, concurrency=1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # bound and not listening
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/v1"
        with pytest.raises(Unreachable):
            transport.send("GET", url, headers={})
    [pool] = transport._adapter._pools.values()
    assert (pool.cert_reqs, pool.ca_certs) == ("CERT_REQUIRED", trusted)


def test_a_refused_connection_is_not_a_timeout_and_nothing_was_received() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # bound and not listening
        error = failure(f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
    assert (type(error), error.received) == (Unreachable, False)


def test_a_name_that_is_not_found_received_nothing() -> None:
    error = failure("http://trustpilot.invalid/v1")
    assert (type(error), error.received) == (Unreachable, False)


def _flood(connection: socket.socket) -> None:
    # The reader leaves at its cap.
    with suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * (MAX_BODY_BYTES + 100_000))


@pytest.mark.parametrize(
    ("behave", "kind"), [(lambda _: None, Unreachable), (lambda _: time.sleep(1), TimedOut), (_flood, Malformed)]
)
def test_what_was_read_may_have_been_received_though_no_whole_answer_came(
    behave: Callable[[socket.socket], object], kind: type[TrustpilotError]
) -> None:
    with listening(behave) as peer:
        error = failure(peer.url, timeout=0.5)
    assert (type(error), error.received) == (kind, True)


def test_a_peer_that_takes_no_connection_is_waited_for_no_longer_and_received_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as filling:
        for _ in range(4):
            sock = filling.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        error = failure(f"http://127.0.0.1:{full.getsockname()[1]}/v1", timeout=0.2)
    assert (type(error), error.received) == (TimedOut, False)
