"""The dashboard is one that Grafana can load into any installation, and every expression in it can be read."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import yaml

from proxy.api import RIGHT_FOR
from tests.deploy.shipped import DEPLOY, alerts, dashboard, dashboard_expressions, matches, rules, selectors
from tests.deploy.test_alerts import promtool
from tests.exposition import values
from tests.running import RunningProxy


def test_every_expression_can_be_read(tmp_path: Path) -> None:
    expressions = list(dashboard_expressions())
    assert len(expressions) > 20
    assert not [expression for expression in expressions if "$" in expression]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = promtool("check", "rules", "panels.yml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    cells = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x, y in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
    ]
    assert len(set(cells)) == len(cells)
    assert all(x < 24 for x, _ in cells)


def test_the_datasource_is_chosen_where_it_is_loaded() -> None:
    loaded = dashboard()
    chosen, job = loaded["templating"]["list"]
    assert (chosen["name"], chosen["type"], chosen["query"]) == ("datasource", "datasource", "prometheus")
    asked = [panel for panel in loaded["panels"] if panel["type"] != "row"]
    for place in (job, *asked, *(target for panel in asked for target in panel["targets"])):
        assert place["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    # What a dashboard exported from one installation carries along.
    assert loaded["id"] is None
    assert "__inputs" not in loaded


def test_each_alert_about_the_proxy_has_a_panel_that_names_it() -> None:
    shown = json.dumps(json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())["panels"])
    assert [alert["alert"] for alert in alerts() if alert["alert"] not in shown] == []


def test_every_series_of_dashboard_and_alerts_is_there_before_anything_happened(proxy: RunningProxy) -> None:
    shown = [(name, dict(labels)) for name, labels in values(proxy.get("/metrics").text)]
    expressions = [*(rule["expr"] for rule in rules()), *dashboard_expressions()]
    wanted = {selector for text in expressions for selector in selectors(text) if selector.startswith("ccproxy_")}
    assert len(wanted) > 20
    assert [one for one in wanted if not any(matches(one, name, labels) for name, labels in shown)] == []


def test_whoever_looks_at_how_long_reads_take_looks_at_all_reads() -> None:
    reads = [route for route, right in RIGHT_FOR.items() if right == "read" and route.startswith("/v1/")]
    expressions = [*(rule["expr"] for rule in rules()), *dashboard_expressions()]
    timed = [one for text in expressions for one in selectors(text) if one.startswith("ccproxy_request_seconds_")]
    assert len(timed) >= 6
    for selector in timed:
        labels = {"le": "1.5"}
        missed = [r for r in reads if not matches(selector, selector.partition("{")[0], {"route": r, **labels})]
        assert missed == [], selector
        assert not matches(selector, selector.partition("{")[0], {"route": "/v1/invitations", **labels})
