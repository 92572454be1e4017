"""The sandbox and the proxy as real processes on free ports, always stopped."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import quote

import requests
from werkzeug.serving import make_server

from proxy import create_app
from proxy.sandbox import API_KEY, API_SECRET, BUSINESS_UNIT, SECOND_BUSINESS_UNIT
from proxy.server import with_file
from proxy.settings import Settings
from tests import forking
from tests.forking import Forked
from tools.leaks import COMMON_SECRETS, WATCH

UNIT = BUSINESS_UNIT
SECRET = "test-secret"
START_SECONDS = 90
"""A server that takes longer is stuck, on a busy machine too."""


PATIENT: Mapping[str, Any] = {"DEADLINE_SECONDS": "15", "UPSTREAM_TIMEOUT_SECONDS": "15"}
"""Settings of a proxy that is to answer many at once on a busy machine; callers wait 20 s."""


@contextmanager
def silent_name_server() -> Iterator[dict[str, Any]]:
    """Yield what has a :class:`ProxyFromScratch` ask a name server that never answers, and wait for it for 30 s."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        # gevent's own resolver, as the system's can't be told of a server.
        yield {
            "GEVENT_RESOLVER": "ares",
            "GEVENTARES_SERVERS": "127.0.0.1",
            "GEVENTARES_UDP_PORT": str(silent.getsockname()[1]),
            "GEVENTARES_TIMEOUT": "60",
        }


class Process:
    """A server process. ``log`` is what it printed."""

    _secrets: Collection[str] = COMMON_SECRETS
    """What a proxy must not say."""

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        listening: str,
        *,
        folder: Path | None = None,
        quiet_port: int | None = None,
        forks: bool = False,
    ) -> None:
        """``listening``: what it prints when it does. ``quiet_port``: where it does, if it prints nothing."""
        self._quiet_port = quiet_port
        self.url = ""
        self.log: list[str] = []
        self._process: subprocess.Popen[str] | Forked
        if forks:
            self._process = forking.gunicorn(command, environment)
        else:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._printed = threading.Event()
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()
        try:
            self.url = self._await(listening)
        except AssertionError:
            self.end()
            raise

    def _await(self, listening: str) -> str:
        until = time.monotonic() + START_SECONDS
        seen = 0
        while time.monotonic() < until:
            self._printed.clear()
            has_ended = not self._reader.is_alive()
            while seen < len(self.log):
                if found := re.search(listening, self.log[seen]):
                    return found[1]
                seen += 1
            if has_ended:
                break
            if self._quiet_port and _is_open(self._quiet_port):
                return f"http://127.0.0.1:{self._quiet_port}"
            self._printed.wait(0.05 if self._quiet_port else 1)
        raise AssertionError("the server did not start:\n" + "".join(self.log))

    def _drain(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.log.append(line)
            self._printed.set()
        self._printed.set()

    def workers(self) -> list[int]:
        """Return the process ids of the workers that gunicorn has started so far, loaded or not."""
        return [int(found[1]) for line in self.log if (found := re.search(r"Booting worker with pid: (\d+)", line))]

    def signal(self, number: int) -> None:
        """Send a signal; a process that has ended takes none."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """Ask the process to end; return its exit status."""
        self._process.terminate()
        return self.wait()

    def end(self) -> None:
        """End the process and those it started at once: a graceful stop takes gunicorn a second or two."""
        with contextlib.suppress(ProcessLookupError):  # stopped already
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Wait for the end, which is forced after a grace time; return the exit status. ``log`` is then whole.

        Fails when it is a proxy's and holds a secret, a token or an e-mail address.
        """
        status = self._wait()
        self._reader.join(20)
        if self._quiet_port or any("Listening at: " in line for line in self.log):
            leaks = WATCH.log(f"the proxy at {self.url}", self.log, self._secrets)
            assert leaks == [], "secrets or addresses in the log"
        return status

    def wait_for_first_master(self) -> int:
        """Wait for the process that was started, while others that it started live on."""
        return self._process.wait(20)

    def _wait(self) -> int:
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.end()


@dataclass(frozen=True)
class Call:
    """One call to the sandbox: when (seconds since 1970), which, of which shop, about which SKUs, the query."""

    at: float
    kind: str
    business_unit: str | None
    skus: Sequence[str]
    query: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Ledger:
    """What the sandbox has been asked since it was reset."""

    total: int
    by_kind: Mapping[str, int]
    most_at_once: int
    most_at_once_by_kind: Mapping[str, int]
    under_way: int
    calls: Sequence[Call]


class RunningSandbox(Process):
    """The stand-in for Trustpilot, and its control plane as methods. A refusal is a ValueError with what it said."""

    business_unit = BUSINESS_UNIT
    second_business_unit = SECOND_BUSINESS_UNIT
    api_key = API_KEY
    api_secret = API_SECRET

    def __init__(self) -> None:
        command = [sys.executable, "-m", "proxy.sandbox.server", "--port", "0"]
        super().__init__(command, os.environ, r"Sandbox listening on (http://\S+)/v1$")
        self.api_url = f"{self.url}/v1"
        WATCH.stand_in(self.url)

    def behave(self, mode: str, **members: object) -> None:
        """Answer this way from now on, instead of any way told before; :class:`Behaviour` has the members."""
        self.control("PUT", "/behaviour", {"mode": mode, **members})

    def reset(self) -> None:
        """Make it as if just started; who is kept waiting is disconnected."""
        self.control("POST", "/reset")

    def calls(self) -> Counter[str]:
        """Return how many calls of each kind there were, without those that nobody waits for."""
        return Counter(self.ledger().by_kind)

    def asides(self) -> Counter[str]:
        """Return the same of the calls that nobody waits for: pictures of stars, and the shop's page."""
        return Counter(self.control("GET", "/asides").json()["by_kind"])

    def ledger(self) -> Ledger:
        """Return all it knows about the calls."""
        told = self.control("GET", "/calls").json()
        return Ledger(**{**told, "calls": [Call(**call) for call in told["calls"]]})

    def put_product(
        self,
        sku: str,
        reviews: Sequence[object] | None = None,
        *,
        business_unit: str = BUSINESS_UNIT,
        imported: Sequence[object] | None = None,
        product_url: str | None = None,
    ) -> None:
        """Set what is given of a SKU: its reviews, in any order; those brought along; its page in the shop."""
        path = f"/products/{quote(sku, safe='')}?business_unit={business_unit}"
        self.control("PUT", path, {"reviews": reviews, "imported": imported, "productUrl": product_url})

    def put_shop(self, business_unit: str, name: str) -> None:
        """Open a shop that sells nothing yet, or replace one."""
        self.control("PUT", f"/shops/{business_unit}", {"name": name})

    def lists(self, **members: str | int) -> None:
        """Set how lists behave where nothing is documented: the orders, the size of a batch, what a feed loses."""
        self.control("PUT", "/lists", members)

    def change(
        self, changes: int, seed: int, kinds: Sequence[str] | None = None, *, business_unit: str = BUSINESS_UNIT
    ) -> list[dict[str, str]]:
        """Change so many reviews at random; return ``{"what", "sku", "id"}`` each."""
        asked = {"changes": changes, "seed": seed, "kinds": kinds}
        answer = self.control("POST", f"/change?business_unit={business_unit}", asked)
        made: list[dict[str, str]] = answer.json()["changes"]
        return made

    def delete(self, *, review: str | None = None, consumer: str | None = None) -> int:
        """Let a review, or all of a consumer, be deleted everywhere and listed as deleted; return how many."""
        answer = self.control("POST", "/delete", {"reviewId": review, "consumerId": consumer})
        return int(answer.json()["reviews"])

    def generate(self, products: int, reviews: int, prefix: str = "SKU-") -> list[str]:
        """Add many believable products; return their SKUs."""
        asked = {"products": products, "reviews": reviews, "prefix": prefix}
        skus: list[str] = self.control("POST", "/generate", asked).json()["skus"]
        return skus

    def limit(self, calls: int, seconds: float) -> None:
        """Answer 429 beyond so many calls in so many seconds."""
        self.control("PUT", "/limit", {"calls": calls, "seconds": seconds})

    def unlimit(self) -> None:
        """Lift the limit."""
        self.control("PUT", "/limit", None)

    def tokens_last(self, seconds: int, *, as_number: bool = False) -> None:
        """Set what tokens handed out from now on last, and how ``expires_in`` is written."""
        self.control("PUT", "/token", {"seconds": seconds, "as_number": as_number})

    def revoke_tokens(self) -> None:
        """Make every token handed out so far worthless."""
        self.control("POST", "/token/revoke")

    def invitations(self) -> list[dict[str, Any]]:
        """Return what was stored: ``{"at", "business_unit", "business_user_id", "body"}`` each."""
        stored: list[dict[str, Any]] = self.control("GET", "/invitations").json()
        return stored

    def links(self) -> list[dict[str, Any]]:
        """Return the invitation links that were asked for: ``{"at", "business_unit", "body"}`` each."""
        asked: list[dict[str, Any]] = self.control("GET", "/links").json()
        return asked

    def control(self, method: str, path: str, payload: object = None) -> requests.Response:
        """Make one call to the control plane."""
        # Not requests' own JSON, which refuses NaN.
        answer = requests.request(method, f"{self.url}/_sandbox{path}", data=json.dumps(payload), timeout=20)
        if not answer.ok:
            raise ValueError(answer.text)
        return answer


@cache
def _left_behind() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="ccproxy-tests-")


def proxy_environment(sandbox: RunningSandbox, **settings: str) -> dict[str, str]:
    """Return the environment of a proxy in front of ``sandbox``."""
    return {
        **os.environ,
        # A proxy that is killed leaves its counts behind.
        "TMPDIR": _left_behind().name,
        # Whoever runs the tests may have a .env.
        "PROXY_ENV_FILE": os.devnull,
        # The default is a file in the working directory; those who test that name one of their own.
        "CACHE_URL": "memory://",
        "TRUSTPILOT_API_URL": sandbox.api_url,
        "TRUSTPILOT_INVITATIONS_URL": sandbox.api_url,
        "TRUSTPILOT_API_KEY": sandbox.api_key,
        "TRUSTPILOT_API_SECRET": sandbox.api_secret,
        "TRUSTPILOT_BUSINESS_UNIT_ID": UNIT,
        "TRUSTPILOT_BUSINESS_USER_ID": "test-user",
        "PROXY_CREDENTIALS": f"braze:{SECRET}",
        # Most tests count the calls that callers cause; those about sync set it.
        "SYNC": "off",
        **settings,
    }


def flask(
    sandbox: RunningSandbox, *command: str, given: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run one of flask's commands as a person does, ``given`` on its standard input."""
    return forking.flask(["flask", "--app", "wsgi", *command], proxy_environment(sandbox, **settings), given)


class RunningProxy(Process):
    """The proxy under gunicorn. Extra settings are the contract's variables."""

    _forks = True

    def __init__(self, sandbox: RunningSandbox, *, keep_alive: int = 1, **settings: str) -> None:
        """With ``TESTS_PICTURES`` it asks for those of stars, and for the shop's page, after a quiet while."""
        environment = proxy_environment(sandbox, **settings)
        # gunicorn says at level info where it listens.
        port = free_port() if environment.get("LOG_LEVEL") in ("warning", "error", "critical") else None
        options = ["--bind", f"127.0.0.1:{port or 0}", "--keep-alive", str(keep_alive)]
        # The script and not the module: started that way, gunicorn can't start itself again on USR2.
        script = str(Path(sys.executable).with_name("gunicorn"))
        command = [*([] if self._forks else [sys.executable]), script, "wsgi:app", *options]
        listening = r"Listening at: (http://\S+)"
        super().__init__(command, environment, listening, quiet_port=port, forks=self._forks)
        self._secrets = {SECRET, *Settings.from_environment(with_file(environment)).secrets}
        WATCH.proxy(self.url, self._secrets)

    def connection(self) -> socket.socket:
        """Open a connection and send nothing yet."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return socket.create_connection((host, int(port)), timeout=20)

    def raw(self, sent: bytes) -> bytes:
        """Send bytes as they are; return all that comes back."""
        with self.connection() as connection:
            connection.sendall(sent)
            # Or the proxy would wait for more, for as long as it keeps a connection.
            connection.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: connection.recv(65_536), b""))
        WATCH.stream(self.url, received)
        return received

    def get(self, path: str, **params: Any) -> requests.Response:
        return requests.get(self.url + path, params=params, headers={"X-Api-Key": SECRET}, timeout=20)


class ProxyFromScratch(RunningProxy):
    """The same as a program of its own, and not as a fork that has everything imported."""

    _forks = False


class Served(Protocol):
    """A proxy that listens."""

    url: str


@dataclass
class ServedHere:
    """A proxy served by this process."""

    url: str


@contextmanager
def served_here(sandbox: RunningSandbox, **settings: str) -> Iterator[ServedHere]:
    """Serve a proxy on a free port until the block ends; it starts faster than one under gunicorn."""
    read = Settings.from_environment(proxy_environment(sandbox, **settings))
    app = create_app(read)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    served = ServedHere(f"http://127.0.0.1:{server.port}")
    WATCH.proxy(served.url, read.secrets)
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class RunningRedis:
    """A real Redis that holds its data in memory only, on a port that stays its own over a restart."""

    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        # A busy machine lets a question wait for longer than a proxy does, which then counts and works without Redis.
        self.patient_url = f"{self.url}?socket_timeout=20&socket_connect_timeout=20"
        self._server = self._started()

    def _started(self) -> Process:
        options = ["--bind", "127.0.0.1", "--port", str(self._port), "--save", "", "--appendonly", "no"]
        return Process(["redis-server", *options], os.environ, r"(Ready to accept connections)")

    def kill(self) -> None:
        """End it at once; what it held is gone."""
        self._server.signal(signal.SIGKILL)
        self._server.stop()

    def start(self) -> None:
        """Start it again, empty, at the same address."""
        self._server = self._started()

    def freeze(self) -> None:
        """Keep its connections open and answer nothing."""
        self._server.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after :meth:`freeze`."""
        self._server.signal(signal.SIGCONT)

    def __enter__(self) -> RunningRedis:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
