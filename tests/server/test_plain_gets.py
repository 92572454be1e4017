"""A request means the same whether the proxy reads it by itself or has gunicorn read it."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import gevent
import gevent.socket as gevent_socket
import pytest
from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.http.wsgi import create

from proxy.api import TAKES_PREBUILT
from proxy.server.plain_gets import PlainGets, limits

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

CALLER = ("127.0.0.1", 40000)
OWN = {"gunicorn.socket", "wsgi.input", "wsgi.errors", "wsgi.early_hints", TAKES_PREBUILT}
"""What is an object of its own for each request, or there for one of the two only."""


def settings(**changed: Any) -> Config:
    config = Config()
    for name, value in {"keepalive": 5, "forwarded_allow_ips": "", **changed}.items():
        config.set(name, value)
    return config


class _Worker:
    alive = True
    nr = 0
    max_requests = 1000

    def __init__(self, **changed: Any) -> None:
        self.cfg = settings(**changed)


def ours(request: bytes) -> tuple[dict[str, Any], bytes] | None:
    plain = PlainGets(lambda _environ, _start: [], _Worker(), lambda: 0.0)
    return plain.read(request, plain.environ_of(("127.0.0.1", 8000), None, CALLER))


def gunicorns(request: bytes) -> dict[str, Any]:
    config = settings()
    read = Request(config, IterUnreader([request]), CALLER)
    with socket.socket() as unused:
        environ: dict[str, Any] = create(read, unused, CALLER, ("127.0.0.1", 8000), config)[1]
    return {**environ, "wsgi.multithread": True}


PLAIN = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/reviews?sku=A&stars=5 HTTP/1.1\r\nHost: x:80\r\nX-Api-Key: s\r\nAccept-Encoding: gzip\r\n\r\n",
    b"GET /v1/reviews?sku=%C3%A9%2F?a=?b HTTP/1.1\r\nHost: x\r\nUser-Agent: Braze Sender 1\r\n\r\n",
    b"GET /v1/%E2%82%AC/%2e%2e/x%00y?%zz HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET //metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /a;b=c,d?e{}|^`<>\"' HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\r\n",
    b"GET /?  HTTP/1.1\r\n\r\n".replace(b"  ", b"? "),
    b"GET / HTTP/1.1\r\nHost:x\r\nConnection: Keep-Alive\r\nX-Long:  a b \t\r\nX-Empty:\r\nX-Latin: \xe9\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", PLAIN)
def test_a_plain_get_has_the_environment_that_gunicorn_makes_of_it(request_bytes: bytes) -> None:
    read = ours(request_bytes + b"GET /next")
    assert read is not None
    environ, rest = read
    expected = gunicorns(request_bytes)
    assert {k: v for k, v in environ.items() if k not in OWN} == {k: v for k, v in expected.items() if k not in OWN}
    assert environ["wsgi.input"].read() == expected["wsgi.input"].read() == b""
    assert rest == b"GET /next"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /v1/reviews?sku=A HTTP/1.1\r\nHost: x\r\n",
        b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /#top HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xe9 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Api-Key: a\r\nx-api-key: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX_Api_Key: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Folded: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Nul: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /" + b"a" * 8190 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 8190 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(101)) + b"\r\n",
    ],
)
def test_what_is_not_plain_is_left_to_gunicorn(request_bytes: bytes) -> None:
    assert ours(request_bytes) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"keepalive": 0},
        {"limit_request_line": 0},
        {"limit_request_field_size": 0},
        {"forwarded_allow_ips": "*"},
        {"http_parser": "python"},
        {"certfile": "some.pem"},
    ],
)
def test_where_gunicorn_is_set_up_to_read_more_into_a_request_all_are_left_to_it(changed: dict[str, Any]) -> None:
    assert limits(settings()) is not None
    assert limits(settings(**changed)) is None


def test_a_request_that_came_while_the_worker_was_busy_is_answered_though_its_connection_was_due() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        if environ["PATH_INFO"] == "/busy":
            time.sleep(2.2)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    plain = PlainGets(app, _Worker(keepalive=1), time.time)
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()

    def serve() -> None:
        for _ in range(2):
            connection, caller = gevent_socket.socket(fileno=os.dup(server.fileno())).accept()
            gevent.spawn(plain.serve, address, connection, caller)
        gevent.wait()

    with listening as server, socket.create_connection(address) as kept, socket.create_connection(address) as other:
        worker = threading.Thread(target=serve)
        worker.start()
        kept.sendall(b"GET /first HTTP/1.1\r\n\r\n")
        assert kept.recv(1000).startswith(b"HTTP/1.1 200")
        other.sendall(b"GET /busy HTTP/1.1\r\n\r\n")
        time.sleep(0.3)
        kept.sendall(b"GET /second HTTP/1.1\r\n\r\n")
        kept.settimeout(10)
        assert kept.recv(1000).startswith(b"HTTP/1.1 200")
        kept.close()
        other.close()
        worker.join()
