"""``flask --app wsgi sync --wait`` as a person runs it, against a real store."""

from __future__ import annotations

import subprocess

from tests.running import RunningProxy, RunningRedis, RunningSandbox, flask


def run(sandbox: RunningSandbox, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return flask(sandbox, "sync", *options, **{"SYNC": "auto", **settings})


def test_after_it_no_product_is_cold(sandbox: RunningSandbox, redis_server: RunningRedis) -> None:
    skus = sandbox.generate(30, 10)
    done = run(sandbox, "--wait", CACHE_URL=redis_server.url)
    assert done.returncode == 0, done.stderr
    assert "all are cached" in done.stdout
    with RunningProxy(sandbox, CACHE_URL=redis_server.url, WEB_CONCURRENCY="1") as proxy:
        before = sandbox.calls()
        for sku in skus:
            assert proxy.get("/v1/reviews", sku=sku).json()["found"]
        assert sandbox.calls() == before


def test_it_says_what_it_takes(sandbox: RunningSandbox) -> None:
    assert "SYNC=auto" in run(sandbox, SYNC="off").stderr
    assert "memory://" in run(sandbox, CACHE_URL="memory://").stderr
