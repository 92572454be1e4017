"""docs/operating.md and docs/installation.md: their commands run, and what is said of the log is so."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.deploy.shipped import DEPLOY, INSTALLATION, OPERATING, ROOT
from tests.running import SECRET, Process, RunningProxy, RunningSandbox

COMMANDS = re.findall(r"^    (?! )(.+)$", INSTALLATION + OPERATING, re.MULTILINE)
BIN = Path(sys.executable).parent
CONFIGURATION = "/etc/connected-content-proxy/proxy.env"
CURLS = [line for line in COMMANDS if line.startswith("curl ")]
SIGNALS = [line for line in COMMANDS if "/run/ccproxy.pid" in line and line.startswith("kill ")] + ["sleep 5"]
[START] = [line for line in COMMANDS if "python -m proxy" in line]
[CHECK] = {line for line in COMMANDS if ".venv/bin/flask" in line}
GREPS = [line for line in COMMANDS if "| grep" in line]
[COMPOSE] = re.findall(r"^    (cd deploy\n(?:    .+\n)+)", INSTALLATION, re.MULTILINE)
INSTALLS = [line for line in COMMANDS if re.match("install |printf ", line)]
NEEDS_AN_ENGINE = [line for line in COMMANDS if re.match("docker(-compose)? |systemctl ", line) and line not in GREPS]
# tests/test_readme.py has these.
OF_THE_README = ["cp .env.example .env", "make start"]
NEEDS_A_NEW_MACHINE = [
    "cd /opt/connected-content-proxy",
    "python3 -m venv .venv",
    ".venv/bin/pip install '.[redis,preview]'",
    "groupadd --system ccproxy",
]


def sh(script: str, directory: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the page; it stops at the first command that fails."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_every_command_is_run_here_or_needs_what_a_test_has_not() -> None:
    run = [*CURLS, *SIGNALS, START, CHECK, *GREPS, *INSTALLS, *(line.strip() for line in COMPOSE.splitlines())]
    assert set(COMMANDS) == {*run, *OF_THE_README, *NEEDS_AN_ENGINE, *NEEDS_A_NEW_MACHINE}


@pytest.mark.parametrize("line", CURLS)
def test_each_curl_line_is_answered(proxy: RunningProxy, line: str) -> None:
    here = re.sub(r"https://reviews\.example\.com|http://127\.0\.0\.1:8000", proxy.url, line)
    done = sh(here.replace(": secret", f": {SECRET}").replace("curl ", "curl --silent --show-error --fail ", 1))
    assert done.returncode == 0, done.stderr
    assert any(
        sign in done.stdout for sign in ('"alive"', '"calling"', '"well"', '"found":true', "ccproxy_breaker_open 0")
    )


def test_the_check_command_tries_what_the_file_says(configuration: Path) -> None:
    done = sh(CHECK.replace(CONFIGURATION, str(configuration)).replace(".venv/bin", str(BIN)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok  reviews of business unit" in done.stdout


@contextlib.contextmanager
def started(configuration: Path, pid: Path) -> Iterator[Process]:
    """Start the proxy with the page's own line, on a free port."""
    line = START.replace(CONFIGURATION, str(configuration)).replace("/run/ccproxy.pid", str(pid))
    environment = {"PATH": os.environ["PATH"], "GUNICORN_CMD_ARGS": "--bind 127.0.0.1:0"}
    line = line.replace(".venv/bin/python", f"exec {BIN}/python")
    with Process(["bash", "-c", line], environment, r"Listening at: (http://\S+)") as proxy:
        yield proxy


@pytest.mark.parametrize("steps", [1, 3])
def test_a_reload_and_a_handover_by_its_lines_bring_new_workers(
    configuration: Path, tmp_path: Path, steps: int
) -> None:
    # That no answer is lost meanwhile: tests/server/test_restarts.py.
    pid = tmp_path / "proxy.pid"
    block = re.findall(r"^    (kill -USR2 .*\n    sleep 5\n    kill -TERM .*)$", OPERATING, re.MULTILINE)
    [script] = block if steps == 3 else [line for line in SIGNALS if "-HUP" in line]
    # Two seconds are enough here.
    script = script.replace("/run/ccproxy.pid", str(pid)).replace("sleep 5", "sleep 2")
    with started(configuration, pid) as proxy:
        first = pid.read_text()
        assert requests.get(f"{proxy.url}/readyz", timeout=20).status_code == 200
        old = proxy.workers()
        done = sh(script)
        assert done.returncode == 0, done.stderr
        until = time.monotonic() + 20
        while any(Path(f"/proc/{worker}").exists() for worker in old):
            assert time.monotonic() < until, "the old workers did not end"
            time.sleep(0.1)
        assert requests.get(f"{proxy.url}/readyz", timeout=20).status_code == 200
        if steps == 3:
            assert proxy.wait_for_first_master() == 0
            until = time.monotonic() + 10
            while not pid.exists() or pid.read_text() == first:
                assert time.monotonic() < until, "the new master did not take the pid file over"
                time.sleep(0.1)
    assert len(proxy.workers()) == 2 * len(old)


def test_the_commands_before_compose_leave_files_that_compose_takes(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns(".env", "config"))
    shutil.copy(ROOT / ".env.example", tmp_path)
    script = COMPOSE if os.geteuid() == 0 else re.sub(".*chown.*\n", "", COMPOSE)
    done = sh(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "deploy" / "config" / "proxy.env").stat().st_mode & 0o777 == 0o400
    [make] = re.findall(r"`(openssl [^`]+)`", INSTALLATION)
    password = sh(make).stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", password)
    settings = tmp_path / "deploy" / ".env"
    settings.write_text(settings.read_text().replace("REDIS_PASSWORD=", f"REDIS_PASSWORD={password}"))
    printed = sh("docker-compose config", tmp_path / "deploy")
    assert printed.returncode == 0, printed.stderr
    assert f"redis://:{password}@redis:6379/0" in printed.stdout


def test_compose_commands_name_services_that_there_are() -> None:
    named = {
        word for line in NEEDS_AN_ENGINE for word in line.split() if word.startswith(("proxy", "front", "redis"))
    }
    assert named == {"proxy-a", "proxy-b"}


def test_the_install_lines_make_units_that_systemd_accepts(tmp_path: Path) -> None:
    units = tmp_path / "etc" / "systemd" / "system"
    for directory in (units, tmp_path / "etc" / "caddy"):
        directory.mkdir(parents=True)
    script = "\n".join(INSTALLS).replace("/etc/", f"{tmp_path}/etc/")
    done = sh(script.replace("-g ccproxy", f"-g {grp.getgrgid(os.getegid()).gr_name}"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc/connected-content-proxy/proxy.env").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "etc/caddy/Caddyfile").read_text() == (DEPLOY / "Caddyfile").read_text()
    shutil.copy("/lib/systemd/system/caddy.service", units)
    shown = {}
    for unit in ("connected-content-proxy.service", "connected-content-proxy-b.service", "caddy.service"):
        file = units / unit
        file.write_text(file.read_text().replace("/opt/connected-content-proxy/.venv/bin", str(BIN)))
        verified = sh(f"systemd-analyze verify --man=no {file}")
        assert (verified.returncode, verified.stderr) == (0, ""), unit
        dropped = units / f"{unit}.d"
        shown[unit] = "".join(part.read_text() for part in dropped.iterdir()) if dropped.exists() else ""
    assert "BIND=127.0.0.1:8001\n" in shown["connected-content-proxy-b.service"]
    assert 'SITE_ADDRESS=reviews.example.com "UPSTREAMS=127.0.0.1:8000 127.0.0.1:8001"' in shown["caddy.service"]


def test_the_log_has_the_fields_of_the_table_and_the_greps_find_what_failed(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    sandbox.behave("fail")
    with RunningProxy(sandbox) as proxy:
        for number in range(6):
            proxy.get("/v1/reviews", sku=f"CUP-{number}")
        proxy.get("/healthz")
        # Asked to: the log's last lines are written together, and a killed proxy's are lost.
        proxy.stop()
    lines = [json.loads(line) for line in proxy.log]
    table = OPERATING.partition("## The log")[2].partition("\n\nAll that was not")[0]
    told: dict[str, set[str]] = {"all": set(), "both": set(), "requests": set(), "calls": set()}
    for row in re.findall(r"^\| (`.*?) \| (\w+) \|", table, re.MULTILINE):
        told[row[1]] |= set(re.findall(r"`(\w+)`", row[0]))
    for logger, kind in (("proxy.requests", "requests"), ("proxy.upstream", "calls")):
        found = {name for line in lines if line["logger"] == logger for name in line}
        assert found == told["all"] | told["both"] | told[kind]
    assert len(GREPS) == 2
    (tmp_path / "log").write_text("".join(proxy.log))
    failed, not_ordinary = (sh(f"cat log {line[line.index('|') :]}", tmp_path).stdout.splitlines() for line in GREPS)
    assert [json.loads(line)["status"] for line in failed] == [503] * 6
    assert any("calls to Trustpilot are paused" in line for line in not_ordinary)
    assert all(json.loads(line)["level"] in ("warning", "error") for line in not_ordinary)


def test_the_lines_that_the_page_explains_are_lines_of_the_proxy() -> None:
    table = OPERATING.partition("| line | what to do |")[2].partition("\n\n")[0]
    explained = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert len(explained) > 5
    source = "\n".join(file.read_text() for file in (ROOT / "proxy").rglob("*.py"))
    written = re.findall(r"(?:_log\.\w+\(\s*|message = )\"([^\"]+)\"", source)
    for line in explained:
        assert any(line in message for message in written), line


def test_a_scrape_past_the_front_says_who_it_is(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, PROXY_ALLOWED_CIDRS="10.0.0.0/8", PROXY_TRUSTED_HOPS="1") as proxy:
        known = {"Authorization": f"Bearer {SECRET}"}
        assert requests.get(f"{proxy.url}/metrics", headers=known, timeout=5).status_code == 403
        named = {**known, "X-Forwarded-For": "10.0.0.5"}
        assert requests.get(f"{proxy.url}/metrics", headers=named, timeout=5).status_code == 200
