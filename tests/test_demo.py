"""``make run``'s command: from nothing to a review, beside whatever is there, and a clean stop."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import requests

from tests.running import RunningRedis

SECONDS_EACH = 5

ROOT = Path(__file__).parents[1]


@contextmanager
def _demo(
    folder: Path, environment: dict[str, str], *options: str, ignoring: bool = False
) -> Iterator[tuple[str, int]]:
    """Yield what the demo printed once it runs, and its process id."""
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "demo", "--port", "0", *options]
    demo = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # As a shell does that starts a job in the background.
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignoring else None,
    )
    try:
        assert demo.stdout is not None
        printed = ""
        for line in demo.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        yield printed, demo.pid
        rest = demo.stdout.read()
        assert demo.wait(30) == 0, rest
        assert "Traceback" not in rest
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
            demo.wait()


def _review(printed: str) -> str:
    found = re.search(r"curl -u (\w+):(\S+) '(\S+)'", printed)
    assert found, printed
    answer = requests.get(found[3], auth=(found[1], found[2]), timeout=30)
    text: str = answer.json()["reviews"][0]["content"]
    return text


@pytest.mark.parametrize("ignoring", [False, True])
def test_the_demo_prints_what_works_and_stops_cleanly_on_ctrl_c(ignoring: bool) -> None:
    with _demo(ROOT, dict(os.environ), ignoring=ignoring) as (printed, pid):
        assert _review(printed) == "Such a great toy truck, my kids really enjoy it!"
        # The page's address comes first, and holds the name and the secret.
        page = re.search(r"http://\S+", printed)
        assert page
        assert page[0].endswith("/")
        preview = requests.get(f"{page[0]}preview", timeout=30)
        assert preview.headers["Content-Type"].startswith("text/html")
        os.killpg(pid, signal.SIGINT)


def test_the_demo_leaves_alone_what_the_settings_name(tmp_path: Path, redis_server: RunningRedis) -> None:
    for name in ("wsgi.py", "gunicorn.conf.py"):
        shutil.copy(ROOT / name, tmp_path)
    wrong = f"CACHE_URL={redis_server.url}\nTRUSTPILOT_API_URL=http://127.0.0.1:1/v1\nPROXY_CREDENTIALS=wrong\n"
    (tmp_path / ".env").write_text(wrong)
    with contextlib.closing(sqlite3.connect(tmp_path / "proxy.sqlite3")) as store:
        store.execute("CREATE TABLE kept (by TEXT)")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    environment = {**os.environ, "CACHE_URL": redis_server.url, "PROXY_ENV_FILE": str(tmp_path / ".env")}
    # Another address than the usual one is waited for as well.
    with _demo(tmp_path, environment, "--host", "127.0.0.2") as (printed, pid):
        assert _review(printed) == "Such a great toy truck, my kids really enjoy it!"
        os.kill(pid, signal.SIGTERM)
    assert redis.Redis.from_url(redis_server.url).dbsize() == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
