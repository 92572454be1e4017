"""Each alert fires on what it is for and on nothing else, and says what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.shipped import DEPLOY, OPERATING, ROOT, alerts, anchors

ALERTS = DEPLOY / "prometheus" / "alerts.yml"
WEATHER = Path(__file__).with_name("alerts.test.yml")
DAYS = Path(__file__).with_name("alerts_by_day.test.yml")


def promtool(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, timeout=120)


def test_prometheus_accepts_the_configuration_and_the_rules(tmp_path: Path) -> None:
    for file in (DEPLOY / "prometheus").iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "metrics-secret").write_text("secret")
    checked = promtool("check", "config", "prometheus.yml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "FAILED" not in checked.stdout


def test_each_alert_fires_in_its_weather_and_in_no_other() -> None:
    tested = promtool("test", "rules", str(WEATHER), str(DAYS))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_there_is_weather_for_each_alert() -> None:
    fired = {
        sample["labels"].removeprefix('{alertname="').removesuffix('"}')
        for file in (WEATHER, DAYS)
        for scene in yaml.safe_load(file.read_text())["tests"]
        for expected in scene["promql_expr_test"]
        for sample in expected["exp_samples"]
    }
    assert fired == {alert["alert"] for alert in alerts()}


@pytest.mark.parametrize(
    ("ordinary", "changed", "noticed"),
    [
        ("ccproxy_reads:rate3m > 0.2", "ccproxy_reads:rate3m > 0", "every one slow and failing"),
        ("ccproxy_reads_slow:rate3m * 180 > 5", "ccproxy_reads_slow:rate3m > 0", "one a minute slow and failing"),
        ("- sum by (job) (rate(ccproxy_stale", "- 0 * sum by (job) (rate(ccproxy_stale", "not old yet"),
        ("> 10 * (", "> 0 * (", "a long tail"),
        ("> 0.8", "> 0.7", "refreshing up to its share"),
    ],
)
def test_without_its_bounds_an_alert_would_not_pass(
    tmp_path: Path, ordinary: str, changed: str, noticed: str
) -> None:
    text = ALERTS.read_text()
    assert text.count(ordinary) == 1
    (tmp_path / "alerts.yml").write_text(text.replace(ordinary, changed))
    # Only the scene that is to notice it: all of them take a while.
    told = yaml.safe_load(WEATHER.read_text())
    told |= {"rule_files": ["alerts.yml"], "tests": [scene for scene in told["tests"] if noticed in scene["name"]]}
    assert len(told["tests"]) == 1
    (tmp_path / "weather.yml").write_text(yaml.safe_dump(told))
    assert promtool("test", "rules", "weather.yml", cwd=tmp_path).returncode == 1


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_what_to_do_and_where_it_is_explained(alert: dict[str, Any]) -> None:
    told = alert["annotations"]
    assert set(told) == {"summary", "what_to_do", "runbook"}
    assert all(told.values())
    assert all("\n" not in line for line in told.values())
    assert alert["labels"]["severity"] in {"page", "ticket"}
    page, _, anchor = told["runbook"].partition("#")
    assert page == "docs/operating.md"
    assert anchor == alert["alert"].lower()
    assert anchor in anchors(OPERATING)
