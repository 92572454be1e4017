"""docs/several-machines.md: its commands run, its address works, its figures add up."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import requests

from proxy.trustpilot.quota import BACKGROUND_SHARE
from tests.running import SECRET, RunningProxy, RunningRedis, RunningSandbox, flask

PAGE = (Path(__file__).parents[1] / "docs" / "several-machines.md").read_text()


def test_the_warm_commands_fetch_a_csv_of_products(
    sandbox: RunningSandbox, redis_server: RunningRedis, tmp_path: Path
) -> None:
    (tmp_path / "products.csv").write_text("name,sku\nTruck,LAMP-01\n")
    commands = re.findall(r"^    .venv/bin/flask --app wsgi (warm .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 2
    with RunningProxy(sandbox) as proxy:
        for command in commands:
            cache = "memory://" if "--through" in command else redis_server.url
            line = command.replace("products.csv", str(tmp_path / "products.csv"))
            line = line.replace("http://127.0.0.1:8000", proxy.url)
            done = flask(sandbox, *shlex.split(line), CACHE_URL=cache)
            assert done.stdout.startswith("1 fetched"), done.stderr


def test_trustpilot_can_show_the_credential_in_the_webhooks_address(proxy: RunningProxy) -> None:
    [address] = re.findall(r"^    (https://name:secret@\S+)$", PAGE, re.MULTILINE)
    host = proxy.url.removeprefix("http://")
    url = address.replace("https://name:secret@reviews.example.com", f"http://braze:{SECRET}@{host}")
    assert requests.post(url, json={"events": []}, timeout=20).status_code == 200


def test_the_arithmetic_adds_up() -> None:
    renders, products, per_5_minutes, per_hour = 10_000_000, 50_000, 833, 10_000
    refreshes_per_hour = per_hour * BACKGROUND_SHARE
    for figure in (
        f"= {renders / 86_400:.0f} a second",
        f"= {min(per_5_minutes * 288, per_hour * 24):,} a day at most",
        f"= {refreshes_per_hour:,.0f} an hour",
        f"{products / refreshes_per_hour} hours",
        f"{1_000_000 // 365:,} a day; one round in {products / 1_000_000 * 365:.0f} days",
        f"{200_000 // 365:,} a day; one round in {products / 200_000 * 365:.0f} days",
        f"= {products * 8 // 1000} MB",
    ):
        assert figure in PAGE
