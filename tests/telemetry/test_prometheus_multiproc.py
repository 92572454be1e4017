"""The workers' files of counts: as many as there are workers, however many came and went, and no count is lost."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy import telemetry
from tests.exposition import value
from tests.running import RunningProxy, RunningSandbox

RELOADS = 3


def _folder(proxy: RunningProxy) -> Path:
    mapped = Path(f"/proc/{proxy.workers()[-1]}/maps").read_text().split("\n")
    return Path(next(line.split()[-1] for line in mapped if "ccproxy-metrics-" in line)).parent


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _ended(folder: Path, running: str) -> list[str]:
    return sorted(path.name for path in folder.glob("*.db") if running not in path.name)


def _await(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not what():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def _replaced(proxy: RunningProxy, old: int, workers: int) -> None:
    """Wait until another worker answers and the old one is gone."""
    _await(lambda: len(proxy.workers()) >= workers and not _is_running(old))
    assert proxy.get("/healthz").status_code == 200


def test_reloads_leave_no_files_and_lose_no_count(sandbox: RunningSandbox) -> None:
    labels = {"route": "/v1/reviews", "status": "200"}
    with RunningProxy(sandbox) as proxy:
        for number in range(RELOADS):
            for _ in range(3):
                assert proxy.get("/v1/reviews", sku="MUG-01").status_code == 200
            old = proxy.workers()[-1]
            # A worker that is killed leaves its counts as one that was replaced does.
            if number % 2:
                os.kill(old, signal.SIGKILL)
            else:
                proxy.signal(signal.SIGHUP)
            _replaced(proxy, old, number + 2)
            counted = [value(proxy, "ccproxy_requests_total", cache=cache, **labels) for cache in ("hit", "miss")]
            assert sum(counted) == 3 * (number + 1)
            assert value(proxy, "ccproxy_request_seconds_count", route="/v1/reviews") == 3 * (number + 1)
            bucket = value(proxy, "ccproxy_request_seconds_bucket", route="/v1/reviews", le="+Inf")
            assert bucket == 3 * (number + 1)
        folder, running = _folder(proxy), str(proxy.workers()[-1])
        # The system forgets a process a moment before gunicorn has seen to its files.
        _await(lambda: _ended(folder, running) == ["counter_ended.db", "histogram_ended.db"])
        assert not list(folder.glob("*.new"))


def test_a_folder_that_somebody_tidied_away_ends_no_worker_and_not_the_master(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox) as proxy:
        for number in (signal.SIGKILL, signal.SIGHUP):
            assert proxy.get("/healthz").status_code == 200
            [*before, old] = proxy.workers()
            shutil.rmtree(_folder(proxy))
            assert proxy.get("/metrics").status_code == 200
            os.kill(old if number == signal.SIGKILL else proxy.pid, number)
            _replaced(proxy, old, len(before) + 2)
            assert value(proxy, "ccproxy_requests_total", route="/v1/reviews", status="400", cache="none") == 0


def test_why_an_ended_workers_counts_are_left_apart_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    no_folder = tmp_path / "file"
    no_folder.touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(no_folder))
    telemetry.forget_worker(1)
    assert caplog.messages == ["what an ended worker counted is not added to the others' counts: File exists"]
