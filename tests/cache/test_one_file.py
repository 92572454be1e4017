"""Several processes on one SQLite file, over real sockets: what is true of Redis is true of it, without a server."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import requests

from tests.load import Callers
from tests.running import SECRET, RunningProxy, RunningSandbox, flask, proxy_environment


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/made/proxy.sqlite3"


@pytest.fixture
def proxy(sandbox: RunningSandbox, url: str) -> Iterator[RunningProxy]:
    """Two workers on an empty file."""
    with RunningProxy(sandbox, keep_alive=30, CACHE_URL=url, WEB_CONCURRENCY="2", DEADLINE_SECONDS="5") as proxy:
        yield proxy


def test_two_workers_make_one_call_per_sku_and_the_next_start_makes_none(
    sandbox: RunningSandbox, proxy: RunningProxy, url: str, tmp_path: Path
) -> None:
    skus = sandbox.generate(60, 5)
    paths = [f"/v1/reviews?sku={sku}" for sku in skus]
    with Callers(60) as callers:
        first = callers.all_at_once([proxy], paths * 3)
    assert Counter(answer.status for answer in first) == {200: 180}
    assert Counter(sku for call in sandbox.ledger().calls for sku in call.skus) == Counter(skus)
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "made").iterdir()} == {0o600}
    assert proxy.stop() == 0
    sandbox.reset()
    with RunningProxy(sandbox, keep_alive=30, CACHE_URL=url) as again, Callers(60) as callers:
        assert Counter(answer.cache for answer in callers.all_at_once([again], paths)) == {"hit": 60}
        assert sandbox.calls() == {}
    assert not [line for line in proxy.log + again.log if '"error"' in line or "the cache file" in line]


def test_a_webhook_and_a_purge_through_one_process_are_in_the_very_next_answer_of_another(
    sandbox: RunningSandbox, url: str
) -> None:
    review = {"id": "r1", "stars": 5, "content": "0", "createdAt": "2024-01-01T00:00:00Z", "language": "en"}
    review |= {
        "consumer": {"displayName": "Ann"},
        "attributeRatings": [],
        "attachments": [],
        "firstCompanyComment": None,
    }
    sandbox.put_product("A", [review])
    with (
        RunningProxy(sandbox, CACHE_URL=url, WEB_CONCURRENCY="1") as one,
        RunningProxy(sandbox, CACHE_URL=url, WEB_CONCURRENCY="1") as other,
        requests.Session() as session,
    ):
        session.headers["X-Api-Key"] = SECRET

        def content(proxy: RunningProxy) -> str:
            [shown] = session.get(f"{proxy.url}/v1/reviews?sku=A", timeout=5).json()["reviews"]
            return str(shown["content"])

        assert content(one) == content(other) == "0"
        for number in range(1, 50):
            data = {**review, "content": str(number), "product": {"sku": "A"}, "state": "published"}
            event = {"eventName": "product-review-updated", "version": "1", "eventData": data}
            teller, listener = (one, other) if number % 2 else (other, one)
            session.post(f"{teller.url}/hooks/trustpilot", json={"events": [event]}, timeout=5).raise_for_status()
            assert content(listener) == str(number)
        sandbox.put_product("A", [{**review, "content": "fetched anew"}])
        session.post(f"{one.url}/v1/cache/purge?sku=A", timeout=5).raise_for_status()
        assert content(other) == "fetched anew"
    assert sandbox.calls()["reviews"] == 2


def test_what_a_killed_process_was_fetching_is_fetched_by_another_at_once(sandbox: RunningSandbox, url: str) -> None:
    def begun() -> RunningProxy:
        # A lock would last longer than anybody waits.
        return RunningProxy(
            sandbox, CACHE_URL=url, WEB_CONCURRENCY="1", DEADLINE_SECONDS="5", UPSTREAM_TIMEOUT_SECONDS="60"
        )

    sandbox.behave("hang", kinds=["reviews"], times=1)
    with begun() as killed, begun() as other, Callers(1) as callers:
        asking = threading.Thread(target=callers.all_at_once, args=([killed], ["/v1/reviews?sku=LAMP-01"]))
        asking.start()
        while not sandbox.calls()["reviews"]:
            time.sleep(0.01)
        killed.end()
        asking.join()
        answer = other.get("/v1/reviews", sku="LAMP-01")
        assert (answer.status_code, answer.headers["X-Cache"], sandbox.calls()["reviews"]) == (200, "miss", 2)


def test_a_start_is_refused_where_the_file_can_not_be(sandbox: RunningSandbox, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    environment = proxy_environment(sandbox, CACHE_URL=f"sqlite:///{tmp_path}/taken/proxy.sqlite3")
    command = [sys.executable, "-m", "gunicorn", "wsgi:app", "--bind", "127.0.0.1:0"]
    started = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert started.returncode == 1
    [line] = started.stderr.strip().splitlines()
    assert line == f"CACHE_URL: its folder {tmp_path}/taken can't be made: File exists"


def test_commands_fill_show_and_empty_the_file_beside_the_running_proxy(
    sandbox: RunningSandbox, proxy: RunningProxy, url: str
) -> None:
    command = partial(flask, sandbox, CACHE_URL=url)
    assert command("warm", "-", given="LAMP-01\nMUG-01\n").returncode == 0
    before = sandbox.calls()
    answers = [proxy.get("/v1/reviews", sku=sku).headers["X-Cache"] for sku in ("LAMP-01", "MUG-01")]
    assert (answers, sandbox.calls()) == (["hit", "hit"], before)
    counted = command("cache", "stats").stdout
    assert f"store     {url}\n" in counted
    assert "products  2 in " in counted
    assert f"calls     {before['reviews']} of 833 in the last 5 minutes" in counted
    shown = command("cache", "show", "LAMP-01")
    assert (shown.returncode, "/LAMP-01  " in shown.stdout, "fresh, " in shown.stdout) == (0, True, True), (
        shown.stdout
    )
    nothing = command("cache", "show", "NONE")
    assert (nothing.returncode, nothing.stderr) == (1, "Error: nothing is cached for NONE\n")
    assert command("cache", "clear").stdout == "2 products dropped\n"
    assert proxy.get("/v1/reviews", sku="LAMP-01").headers["X-Cache"] == "miss"
    alone = flask(sandbox, "cache", "stats")
    assert (alone.returncode, "CACHE_URL is memory://" in alone.stderr) == (2, True)
