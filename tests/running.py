"""The sandbox and the proxy as real processes on free ports, always stopped."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import requests

UNIT = "66ea0530c0ffee0000000001"
SECRET = "test-secret"


class Process:
    """A server process. ``log`` is what it printed."""

    def __init__(self, command: list[str], environment: Mapping[str, str], listening: str) -> None:
        self.log: list[str] = []
        self._process = subprocess.Popen(
            command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.pid = self._process.pid
        self.url = self._await(listening)
        threading.Thread(target=self._drain, daemon=True).start()

    def _await(self, listening: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.log.append(line)
            if found := re.search(listening, line):
                return found[1]
        self.stop()
        raise AssertionError("the server did not start:\n" + "".join(self.log))

    def _drain(self) -> None:
        assert self._process.stdout is not None
        self.log.extend(self._process.stdout)

    def signal(self, number: int) -> None:
        """Send a signal; a process that has ended takes none."""
        self._process.send_signal(number)

    def stop(self) -> int:
        self._process.terminate()
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()


class RunningSandbox(Process):
    """The stand-in for Trustpilot."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "proxy.sandbox", "--port", "0"]
        super().__init__(command, os.environ, r"listening on (http://\S+)/v1")

    def behave(self, mode: str, **how: Any) -> None:
        requests.put(f"{self.url}/_sandbox/behaviour", json={"mode": mode, **how}, timeout=5).raise_for_status()

    def calls(self) -> dict[str, int]:
        by_kind: dict[str, int] = requests.get(f"{self.url}/_sandbox/calls", timeout=5).json()["by_kind"]
        return by_kind

    def reset(self) -> None:
        requests.post(f"{self.url}/_sandbox/reset", timeout=5).raise_for_status()

    def put_product(self, sku: str, reviews: list[Any]) -> None:
        requests.put(f"{self.url}/_sandbox/products/{sku}", json=reviews, timeout=5).raise_for_status()


class RunningProxy(Process):
    """The proxy under gunicorn. Extra settings are the contract's variables."""

    def __init__(self, sandbox: RunningSandbox, **settings: str) -> None:
        environment = {
            **os.environ,
            "TRUSTPILOT_API_KEY": "sandbox-key",
            "TRUSTPILOT_BUSINESS_UNIT_ID": UNIT,
            "TRUSTPILOT_API_URL": f"{sandbox.url}/v1",
            "PROXY_CREDENTIALS": f"braze:{SECRET}",
            **settings,
        }
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "wsgi:app",
            "--bind",
            "127.0.0.1:0",
            "--no-control-socket",
            "--keep-alive",
            "1",
        ]
        super().__init__(command, environment, r"Listening at: (http://\S+)")

    def get(self, path: str, **params: Any) -> requests.Response:
        return requests.get(self.url + path, params=params, headers={"X-Api-Key": SECRET}, timeout=20)


class RunningRedis:
    """A real Redis that holds its data in memory only, on a port that stays its own over a restart."""

    def __init__(self) -> None:
        self._port = _free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
