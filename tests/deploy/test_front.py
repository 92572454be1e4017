"""The TLS front before real proxies: it adds nothing wrong, drops nothing, and loses no answer."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy.server.plain_gets import REQUEST_SECONDS
from tests.deploy.front import RunningFront
from tests.deploy.shipped import DEPLOY, ROOT
from tests.load import Callers
from tests.running import SECRET, RunningProxy, RunningSandbox

KNOWN = {"X-Api-Key": SECRET}
[KEEPALIVE] = map(int, re.findall(r"^keepalive = (\d+)$", (ROOT / "gunicorn.conf.py").read_text(), re.MULTILINE))


def host(proxy: RunningProxy) -> str:
    return proxy.url.removeprefix("http://")


@contextlib.contextmanager
def fronted(sandbox: RunningSandbox, directory: Path, **settings: str) -> Iterator[tuple[RunningFront, RunningProxy]]:
    """Start a proxy with the keep-alive that is shipped, and a front before it."""
    with (
        RunningProxy(sandbox, keep_alive=KEEPALIVE, **settings) as proxy,
        RunningFront(directory, [host(proxy)]) as front,
    ):
        yield front, proxy


@pytest.fixture(scope="module")
def pair(
    started_sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningFront, RunningProxy]]:
    started_sandbox.reset()
    with fronted(started_sandbox, tmp_path_factory.mktemp("front"), PREVIEW="true") as both:
        yield both


def get(front: RunningFront, path: str, **headers: str) -> requests.Response:
    sent = {**KNOWN, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return requests.get(front.url + path, headers=sent, verify=str(front.authority), timeout=20)


def adapted() -> dict[str, Any]:
    """Return Caddy's own reading of the Caddyfile."""
    printed = subprocess.run(
        ["caddy", "adapt", "--validate", "--config", str(DEPLOY / "Caddyfile"), "--adapter", "caddyfile"],
        env={**os.environ, "SITE_ADDRESS": "reviews.example.com"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert printed.returncode == 0, printed.stderr
    told: dict[str, Any] = json.loads(printed.stdout)
    return told


def transport() -> dict[str, Any]:
    """Return how Caddy talks to the proxies."""
    [server] = adapted()["apps"]["http"]["servers"].values()
    routes = server["routes"][0]["handle"][0]["routes"]
    [found] = [handler for route in routes for handler in route["handle"] if handler["handler"] == "reverse_proxy"]
    assert {upstream["dial"] for upstream in found["upstreams"]} == {"proxy-a:8000", "proxy-b:8000"}
    told: dict[str, Any] = found["transport"]
    return told


def test_it_is_formatted_as_caddy_formats_and_every_directive_is_known() -> None:
    command = ["caddy", "fmt", str(DEPLOY / "Caddyfile")]
    formatted = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert formatted.stdout == (DEPLOY / "Caddyfile").read_text()
    assert adapted()


def test_it_gives_up_a_connection_before_the_proxy_does_and_an_answer_after() -> None:
    nanoseconds = 1_000_000_000
    assert transport()["keep_alive"]["idle_timeout"] < KEEPALIVE * nanoseconds
    assert transport()["response_header_timeout"] > REQUEST_SECONDS * nanoseconds


def test_an_https_request_is_answered_as_the_proxy_answers_it(pair: tuple[RunningFront, RunningProxy]) -> None:
    front, proxy = pair
    for path in ("/v1/reviews?sku=TRUCK-01&utm=1", "/v1/reviews?sku=", "/openapi.json", "/healthz", "/nowhere"):
        proxy.get(path)
        direct, through = proxy.get(path), get(front, path)
        assert through.status_code == direct.status_code
        assert through.headers["Content-Type"] == direct.headers["Content-Type"]
        assert through.content == direct.content
        own = {"Connection", "Date", "Server", "Transfer-Encoding"}
        assert set(direct.headers) - own <= set(through.headers)
        assert set(through.headers) - own <= set(direct.headers)
    assert get(front, "/v1/reviews?sku=TRUCK-01").json()["reviews"][0]["content"]
    assert get(front, "/v1/reviews?sku=TRUCK-01", X_Request_Id="given-1").headers["X-Request-Id"] == "given-1"


def test_gzip_passes_for_those_who_ask_for_it_and_for_nobody_else(pair: tuple[RunningFront, RunningProxy]) -> None:
    front, _ = pair
    path = "/v1/reviews?sku=TRUCK-01&limit=20"
    assert get(front, path, Accept_Encoding="gzip").headers["Content-Encoding"] == "gzip"
    plain = get(front, path, Accept_Encoding="identity")
    assert "Content-Encoding" not in plain.headers
    status, body = front.get_as_written(path, KNOWN)
    assert (status, body) == (200, plain.content)
    assert get(front, path, Accept_Encoding="gzip").content == plain.content


@pytest.mark.parametrize(
    "target",
    [
        "/metrics",
        "/metrics?a=b",
        "/metrics/",
        "//metrics",
        "/%6detrics",
        "/METRICS",
        "/./metrics",
        "/x/../metrics",
        "/metrics/../metrics",
        "/x/metrics",
        "/metrics%2f",
        "/;/metrics",
        "/metrics;a",
    ],
)
def test_the_metrics_are_not_to_be_had_from_outside(pair: tuple[RunningFront, RunningProxy], target: str) -> None:
    front, proxy = pair
    assert "ccproxy_" in proxy.get("/metrics").text
    for more in ({}, {"SCRIPT_NAME": "/x"}, {"X-Original-URL": "/metrics", "X-Rewrite-URL": "/metrics"}):
        status, body = front.get_as_written(target, {**KNOWN, **more})
        assert status in (308, 404)
        assert b"ccproxy_" not in body


def test_nobody_can_say_that_he_calls_from_elsewhere(sandbox: RunningSandbox, tmp_path: Path) -> None:
    settings = {"PROXY_ALLOWED_CIDRS": "10.0.0.0/8", "PROXY_TRUSTED_HOPS": "1"}
    with fronted(sandbox, tmp_path, **settings) as (front, proxy):
        claims = [
            {},
            {"X-Forwarded-For": "10.1.2.3"},
            {"X-Forwarded-For": "10.1.2.3, 10.1.2.3"},
            {"x-forwarded-for": "10.1.2.3", "X_Forwarded_For": "10.1.2.3"},
            {"Forwarded": "for=10.1.2.3", "X-Real-Ip": "10.1.2.3"},
            {"X-Forwarded-For": "10.1.2.3", "Connection": "X-Forwarded-For"},
        ]
        for claim in claims:
            status, _ = front.get_as_written("/v1/reviews?sku=MUG-01", {**KNOWN, **claim})
            assert status == 403, claim
        # Past the front the header is believed: only the front may reach the proxies.
        assert requests.get(
            f"{proxy.url}/v1/reviews?sku=MUG-01", headers={**KNOWN, "X-Forwarded-For": "10.1.2.3"}, timeout=5
        ).ok


def test_who_calls_from_an_allowed_network_is_let_in(sandbox: RunningSandbox, tmp_path: Path) -> None:
    settings = {"PROXY_ALLOWED_CIDRS": "127.0.0.0/8", "PROXY_TRUSTED_HOPS": "1"}
    with fronted(sandbox, tmp_path, **settings) as (front, _):
        assert get(front, "/v1/reviews?sku=MUG-01").status_code == 200


def test_plain_http_is_sent_to_https(pair: tuple[RunningFront, RunningProxy]) -> None:
    front, _ = pair
    answer = requests.get(f"http://localhost:{front.http_port}/v1/reviews", allow_redirects=False, timeout=5)
    assert answer.status_code == 308
    assert answer.headers["Location"].startswith("https://localhost")


def test_one_of_two_proxies_can_be_replaced_under_load(
    sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = 100
    with (
        RunningProxy(sandbox, keep_alive=KEEPALIVE) as staying,
        RunningProxy(sandbox, keep_alive=KEEPALIVE) as leaving,
        RunningFront(tmp_path, [host(staying), host(leaving)]) as front,
    ):
        get(front, "/healthz")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(front.authority))

        def stop() -> None:
            time.sleep(1)
            leaving.signal(signal.SIGTERM)
            assert leaving.wait() == 0

        with Callers(20) as many:
            answers = many.during(stop, rate, lambda _: f"{front.url}/v1/reviews?sku=MUG-01")
        served = [sum('"/v1/reviews"' in line for line in proxy.log) for proxy in (staying, leaving)]
    assert Counter(answer.status for answer in answers) == {200: len(answers)}
    # The one that left took its half while it was there.
    assert served[1] > rate / 4


def test_without_a_proxy_the_answer_is_a_problem_and_the_log_names_no_secret_and_no_product(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    with fronted(sandbox, tmp_path) as (front, proxy):
        assert get(front, "/v1/reviews?sku=MUG-01").status_code == 200
        proxy.stop()
        answer = get(front, "/v1/reviews?sku=MUG-01", apikey="hush-hush", Authorization="Bearer hush-hush")
        front.stop()
    assert answer.status_code == 502
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() | {"detail": ""} == {
        "type": "about:blank",
        "title": "Bad Gateway",
        "status": 502,
        "detail": "",
        "found": False,
    }
    log = "".join(front.log)
    assert "connection refused" in log
    assert not re.search(f"{SECRET}|hush|MUG-01", log)


class _Deaf:
    """An upstream that reads a request and closes without an answer; counts what it read."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.methods: list[str] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.methods.append(connection.recv(65_536).split(b" ")[0].decode())

    def __enter__(self) -> _Deaf:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def test_a_post_that_was_sent_is_not_sent_again(tmp_path: Path) -> None:
    with _Deaf() as deaf, RunningFront(tmp_path, [deaf.address]) as front:
        answer = requests.post(
            f"{front.url}/v1/invitations",
            json={},
            headers={**KNOWN, "Idempotency-Key": "one"},
            verify=str(front.authority),
            timeout=20,
        )
        assert answer.status_code == 502
        assert deaf.methods == ["POST"]
        assert get(front, "/v1/reviews?sku=MUG-01").status_code == 502
        assert deaf.methods.count("GET") > 1
