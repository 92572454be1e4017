"""``flask --app wsgi warm`` as a person runs it: in a terminal, with Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from proxy.warming import AT_ONCE, NoSuchColumn, read_skus
from tests import forking
from tests.running import (
    PATIENT,
    SECRET,
    RunningProxy,
    RunningRedis,
    RunningSandbox,
    flask,
    free_port,
    proxy_environment,
)
from tests.trustpilot.upstream import upstream

WARM = ["flask", "--app", "wsgi", "warm"]


class Terminal:
    """A command in a pseudo-terminal, and what it showed."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._screen, end = pty.openpty()
        self.process = forking.flask_in(end, command, environment)
        os.close(end)
        self.shown = ""

    def read_until(self, pattern: str) -> None:
        while not re.search(pattern, self.shown):
            try:
                self.shown += os.read(self._screen, 4096).decode()
            except OSError:  # what a terminal answers once its last user is gone
                raise AssertionError(f"ended before {pattern!r} was shown:\n{self.shown}") from None

    def read_rest(self) -> int:
        """Return the exit status."""
        while True:
            try:
                self.shown += os.read(self._screen, 4096).decode()
            except OSError:  # as above
                break
        os.close(self._screen)
        return self.process.wait(20)


@pytest.fixture
def environment(sandbox: RunningSandbox, redis_server: RunningRedis) -> dict[str, str]:
    return proxy_environment(sandbox, CACHE_URL=redis_server.patient_url)


Warm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def warm(sandbox: RunningSandbox, redis_server: RunningRedis) -> Warm:
    """Runs the command with the Redis of the test, or with other settings, on what is ``given``."""
    return partial(flask, sandbox, "warm", CACHE_URL=redis_server.patient_url)


def test_150_skus_with_an_interruption_cost_150_calls(
    sandbox: RunningSandbox, redis_server: RunningRedis, environment: dict[str, str], tmp_path: Path
) -> None:
    skus = sandbox.generate(150, 3)
    # Slow enough that the Ctrl-C comes in the middle on a busy machine too.
    sandbox.behave("slow", seconds=0.2)
    file = tmp_path / "send.csv"
    file.write_text("name;sku\n" + "".join(f"Product;{sku}\n" for sku in skus))
    first = Terminal([*WARM, str(file)], environment)
    # The bar as it is drawn: share, counts, time gone and left, rate.
    first.read_until(r"\d+%\|.*\| [3-9]\d/150 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+ SKUs/s\]")
    first.process.send_signal(signal.SIGINT)
    assert first.read_rest() == 130
    assert "Stopped. The same command goes on from here." in first.shown
    assert "Traceback" not in first.shown
    paid = sandbox.calls()["reviews"]
    assert 30 <= paid < 150
    assert f"{paid} fetched, 0 fresh already, 0 without reviews, 0 failed, {150 - paid} left" in first.shown
    second = Terminal([*WARM, str(file)], environment)
    assert second.read_rest() == 0
    assert f"{150 - paid} fetched, {paid} fresh already, 0 without reviews, 0 failed" in second.shown
    assert sandbox.calls() == {"reviews": 150}
    with RunningProxy(sandbox, CACHE_URL=redis_server.patient_url, WEB_CONCURRENCY="1") as proxy:
        assert proxy.get("/v1/reviews", sku=skus[23]).headers["X-Cache"] == "hit"
    assert sandbox.calls() == {"reviews": 150}


def test_what_it_ends_with_names_each_outcome(sandbox: RunningSandbox, warm: Warm) -> None:
    sandbox.behave("fail", status=400, skus=["MUG-01"])
    asked = "LAMP-01\nNEW-00\nMUG-01\nBLENDER-450\n{{item}}\n"
    done = warm("-", given=asked)
    assert done.returncode == 1
    assert "2 fetched, 0 fresh already, 1 without reviews, 2 failed" in done.stdout
    assert "MUG-01: Trustpilot rejects this request with 400" in done.stdout
    assert "{{item}}: sku is '{{item}}': unrendered Liquid" in done.stdout
    # The page of 450 is not all of it, so that its summary was fetched too.
    assert sandbox.calls() == {"reviews": 4, "batch_summaries": 1}
    assert "%" not in done.stderr, "no bar outside a terminal"


def test_it_keeps_to_80_percent_of_the_budget_and_says_what_it_waits_for(
    sandbox: RunningSandbox, environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "skus"
    file.write_text("\n".join(sandbox.generate(20, 2)))
    terminal = Terminal([*WARM, str(file)], {**environment, "TRUSTPILOT_CALLS_PER_5_MINUTES": "10"})
    terminal.read_until(r"Waiting \d+ s: the budget of 10 calls per 5 minutes is used up")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.read_rest() == 130
    assert "8 fetched" in terminal.shown
    assert sandbox.calls() == {"reviews": 8}


def test_with_memory_it_goes_through_the_running_proxy(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, **PATIENT) as proxy:
        alone = flask(sandbox, "warm", "-", given="LAMP-01\n")
        assert alone.returncode == 2
        assert "--through" in alone.stderr
        for counts in ("1 fetched, 0 fresh already", "0 fetched, 1 fresh already"):
            done = flask(sandbox, "warm", "-", "--through", proxy.url, given="LAMP-01\nNEW-00\n")
            assert (done.returncode, done.stdout.startswith(counts)) == (0, True), done.stdout
        assert proxy.get("/v1/reviews", sku="LAMP-01").headers["X-Cache"] == "hit"
    assert sandbox.calls() == {"reviews": 2}


def test_through_a_proxy_it_shows_a_credential_that_may_read(sandbox: RunningSandbox) -> None:
    credentials = f"trustpilot:hook-secret:hook,braze:{SECRET}:read"
    with RunningProxy(sandbox, PROXY_CREDENTIALS=credentials, **PATIENT) as proxy:
        done = flask(sandbox, "warm", "-", "--through", proxy.url, given="LAMP-01", PROXY_CREDENTIALS=credentials)
    assert done.stdout.startswith("1 fetched"), done.stdout


@pytest.mark.parametrize("status", [200, 301, 502, 503])
def test_a_front_that_answers_in_place_of_the_proxy_fails_one_product_and_gets_the_secret_nowhere_else(
    sandbox: RunningSandbox, status: int
) -> None:
    with upstream() as front, upstream() as elsewhere:
        front.answers = [(status, b"<html>"), (200, {"found": True})]
        front.headers = {"X-Cache": "hit", "Location": elsewhere.url}
        done = flask(sandbox, "warm", "-", "--through", front.url, given="A")
        assert elsewhere.asked == []
    assert f"A: {front.url} answered {status}, and not as the proxy does" in done.stdout, done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "given", "says"),
    [
        (["-"], "", "holds no SKU"),
        (["-"], "a,b\n1,2\n", "no column 'sku'; the first line has: a, b; choose one with --column"),
        (["no-such-file"], "", "No such file"),
        (["-", "--business-unit", "x"], "A", "configured business unit"),
    ],
)
def test_what_it_can_not_use_is_named(warm: Warm, arguments: list[str], given: str, says: str) -> None:
    done = warm(*arguments, given=given)
    assert done.returncode == 2
    assert says in done.stderr


def test_an_outage_is_waited_out_and_costs_what_opened_the_breaker(sandbox: RunningSandbox, warm: Warm) -> None:
    skus = sandbox.generate(30, 2)
    # As many as go at once, and the first success much later than all of them.
    failing = AT_ONCE
    fails, succeeds_late = {"mode": "fail", "status": 503, "times": failing}, {"mode": "slow", "seconds": 1.0}
    sandbox.control("PUT", "/behaviour", [fails, {**succeeds_late, "times": AT_ONCE}])
    done = warm("-", given="\n".join(skus))
    assert f"{30 - failing} fetched, 0 fresh already, 0 without reviews, {failing} failed" in done.stdout
    assert "Waiting" in done.stderr
    assert sandbox.calls()["reviews"] == 30


def test_100_products_with_more_reviews_than_a_page_holds_cost_a_call_each_and_one_for_all_summaries(
    sandbox: RunningSandbox, warm: Warm, tmp_path: Path
) -> None:
    skus = sandbox.generate(100, 101)
    told = warm("-", given="\n".join(skus), CACHE_URL=f"sqlite:///{tmp_path}/warm.sqlite3")
    assert told.returncode == 0, told.stderr
    assert sandbox.ledger().total == 101


@pytest.mark.parametrize(
    ("text", "skus"),
    [
        ("A\nB\n", ["A", "B"]),
        ("A\r\n\r\n  B  \r\nA", ["A", "B"]),
        ("sku\nA\nB", ["A", "B"]),
        ("\ufeffSKU\nA", ["A"]),
        ("name,sku,price\nTruck,A,9\nLamp,B,7", ["A", "B"]),
        ('name;SKU\n"Truck; red";A', ["A"]),
        ("name\tsku\nTruck\tA\nshort\n", ["A"]),
        ("", []),
        ("\n\n", []),
    ],
)
def test_skus_are_read_from_lines_or_the_sku_column(text: str, skus: list[str]) -> None:
    assert read_skus(text.splitlines(keepends=True)) == skus


def test_another_column_can_be_named() -> None:
    assert read_skus(["ean,article", "1,A"], "Article") == ["A"]


@pytest.mark.parametrize(("lines", "column"), [(["a,b", "1,2"], None), (["sku", "A"], "article")])
def test_a_missing_column_is_an_error_that_names_the_columns_there_are(lines: list[str], column: str | None) -> None:
    with pytest.raises(NoSuchColumn, match="the first line has: "):
        read_skus(lines, column)


@pytest.mark.parametrize("command", [["warm"], ["export", "a.csv", "--skus"]])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("sku\nTÖPFE\n".encode("cp1252"), "not UTF-8"),
        (b'sku\nA\n"B\nC\n', "no CSV: unexpected end of data"),
        (b"x" * 200_000, "no CSV: field larger than field limit"),
    ],
)
def test_a_list_that_can_not_be_read_is_one_line(
    sandbox: RunningSandbox, tmp_path: Path, command: list[str], content: bytes, why: str
) -> None:
    file = tmp_path / "skus.csv"
    file.write_bytes(content)
    done = flask(sandbox, *command, str(file), CACHE_URL=f"sqlite:///{tmp_path}/cache.sqlite3")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert f"the file is {why}" in done.stderr


@pytest.mark.parametrize(
    "command", [["cache", "stats"], ["export", "a.csv"], ["sync"], ["sync", "--wait"], ["warm", "-"]]
)
def test_a_store_that_can_not_be_had_is_one_line(sandbox: RunningSandbox, command: list[str]) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    done = flask(sandbox, *command, given="LAMP-01", CACHE_URL=nowhere, SYNC="auto")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "the store can't be used: Redis can't be reached" in done.stderr


def test_a_store_that_goes_meanwhile_is_told_as_what_was_fetched_is_in_no_store(
    sandbox: RunningSandbox, redis_server: RunningRedis, environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "skus"
    file.write_text("\n".join(sandbox.generate(30, 2)))
    sandbox.behave("slow", seconds=0.3)
    terminal = Terminal([*WARM, str(file)], environment)
    while sandbox.calls()["reviews"] < AT_ONCE:
        time.sleep(0.02)
    redis_server.kill()
    assert terminal.read_rest() == 1
    assert "the store can't be used: Redis can't be reached" in terminal.shown
