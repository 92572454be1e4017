"""The systemd unit: systemd accepts it, it gives few rights, and the proxy runs with what it sets."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import requests

from proxy.cache.sqlite_file import MachineClock
from tests.deploy.shipped import DEPLOY, ROOT
from tests.running import SECRET, Process

UNIT = DEPLOY / "systemd" / "connected-content-proxy.service"
INSTALLED = "/opt/connected-content-proxy/.venv/bin/python"


def told() -> dict[str, list[str]]:
    """Return every setting of the unit with its values."""
    settings: dict[str, list[str]] = defaultdict(list)
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            settings[name].append(value)
    return settings


def test_systemd_knows_every_setting(tmp_path: Path) -> None:
    text = UNIT.read_text()
    assert text.count(INSTALLED) == 1
    # systemd looks whether the program is there.
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace(INSTALLED, sys.executable))
    verified = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    copy.write_text(copy.read_text().replace("ProtectClock", "ProtectWatch"))
    mistaken = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60)
    assert "ProtectWatch" in mistaken.stderr


def test_it_has_few_rights() -> None:
    # From 0 to 10; what a proxy can't do without, the network, is 1.3 of it.
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", str(UNIT)]
    rated = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert rated.returncode == 0, rated.stdout


def test_it_leaves_the_store_the_clock_of_the_machine() -> None:
    # Of these /proc has nothing but processes, and the store would go by the clock on the wall.
    assert told().get("ProcSubset", ["all"]) == ["all"]
    assert MachineClock.of_this_machine().boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_a_stop_waits_longer_than_the_proxy_takes() -> None:
    assert "graceful_timeout = int(15 + _settings.drain_seconds)" in (ROOT / "gunicorn.conf.py").read_text()
    assert int(told()["TimeoutStopSec"][0]) >= 2 * 15
    assert told()["KillSignal"] == ["SIGTERM"]
    assert told()["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert told()["Restart"] == ["always"]


def test_the_proxy_runs_with_what_the_unit_sets_and_says_when_it_is_ready(
    configuration: Path, tmp_path: Path
) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir()
    set_by_unit = dict(entry.split("=", 1) for entry in told()["Environment"])
    # %t is /run, %N the name of the unit, so that a copy of it has a directory of its own.
    assert set_by_unit["TMPDIR"] == "%t/" + told()["RuntimeDirectory"][0] == "%t/%N"
    # %S is /var/lib; elsewhere the unit may not write.
    assert told()["StateDirectory"] == ["%N"]
    assert set_by_unit["CACHE_URL"] == "sqlite:///%S/%N/proxy.sqlite3"
    assert set_by_unit["BIND"].startswith("127.0.0.1:")
    assert told()["Type"] == ["notify"]
    environment = {
        **set_by_unit,
        "PROXY_ENV_FILE": str(configuration),
        "TMPDIR": str(runtime),
        "CACHE_URL": f"sqlite:///{tmp_path}/state/proxy.sqlite3",
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
    }
    [_, *arguments] = told()["ExecStart"][0].split()
    command = [sys.executable, *(argument.replace("${BIND}", "127.0.0.1:0") for argument in arguments)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(environment["NOTIFY_SOCKET"])
        systemd.settimeout(20)
        with Process(command, environment, r"Listening at: (http://\S+)") as proxy:
            assert systemd.recv(1024).startswith(b"READY=1")

            def shows(secret: str) -> int:
                url = f"{proxy.url}/v1/reviews?sku=MUG-01"
                return requests.get(url, headers={"X-Api-Key": secret}, timeout=20).status_code

            assert (shows(SECRET), shows("rotated")) == (200, 401)
            assert list(runtime.glob("ccproxy-metrics-*/*.db"))
            configuration.write_text(re.sub("(PROXY_CREDENTIALS=.*)", r"\1,next:rotated", configuration.read_text()))
            # What ExecReload sends.
            proxy.signal(signal.SIGHUP)
            until = time.monotonic() + 20
            while shows("rotated") != 200:
                assert time.monotonic() < until, "the file was not read again"
                time.sleep(0.1)
            assert proxy.stop() == 0
            assert not list(runtime.iterdir())
    assert not [line for line in proxy.log if '"level": "error"' in line]
