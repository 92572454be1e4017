"""What deploy/ ships, read as its readers read it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OPERATING = (ROOT / "docs" / "operating.md").read_text()
INSTALLATION = (ROOT / "docs" / "installation.md").read_text()

_SELECTOR = re.compile(r"(?<![:\w\"])(?:ccproxy_\w+|up)(?![\w(])(?:\{[^}]*\})?")


def rules() -> list[dict[str, Any]]:
    """Return the recording and alerting rules."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Return the alerting rules."""
    return [rule for rule in rules() if "alert" in rule]


def dashboard() -> dict[str, Any]:
    """Return the Grafana dashboard."""
    loaded: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    return loaded


def dashboard_expressions() -> Iterator[str]:
    """Yield what the panels ask Prometheus, with Grafana's variables filled in."""
    filled = {"$job": "connected-content-proxy", "$__rate_interval": "1m", "$__range": "1h"}
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for variable, value in filled.items():
                expression = expression.replace(variable, value)
            yield expression


def selectors(expression: str) -> list[str]:
    """Return the selectors of series that are not made by a recording rule."""
    return _SELECTOR.findall(expression)


def matches(selector: str, name: str, labels: Mapping[str, str]) -> bool:
    """Tell whether a series of that name and those labels is one that ``selector`` selects, whatever the job."""
    selected, _, matchers = selector.partition("{")
    if selected != name:
        return False
    for label, operator, wanted in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
        if label == "job":
            continue
        is_it = re.fullmatch(wanted if "~" in operator else re.escape(wanted), labels.get(label, "")) is not None
        if is_it is operator.startswith("!"):
            return False
    return True


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ +(.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
