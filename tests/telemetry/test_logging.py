"""One line per request and per call, on real sockets; nothing in it that has no place in a log."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from typing import Any

import pytest
import requests

from proxy.events import BreakerTurned, CallEnded, Happened, RequestFinished
from proxy.telemetry.logging import Columns, JsonLines, Redaction, log_config, write_lines
from tests.running import SECRET, RunningProxy, RunningSandbox


def _lines(proxy: RunningProxy, logger: str) -> list[dict[str, Any]]:
    """Return the lines of one logger; every line of the log has to be JSON for that."""
    return [line for line in map(json.loads, proxy.log) if line["logger"] == logger]


def test_every_request_and_every_call_has_a_line(sandbox: RunningSandbox) -> None:
    headers = {"X-Api-Key": SECRET, "X-Request-Id": "given-1", "X-Braze-Sender-Version": "1.2.3"}
    with RunningProxy(sandbox) as proxy:
        url = f"{proxy.url}/v1/products?skus=MUG-01,LAMP-01%2CTRUCK-01&limit=1"
        given = requests.get(url, headers=headers, timeout=5)
        made_up = proxy.get("/v1/reviews", sku="MUG-01")
        odd = {"X-Request-Id": "a b\tc", "X-Braze-Sender-Version": "jane@shop.example"}
        late = requests.get(f"{proxy.url}/v1/reviews?sku=A", headers=odd, timeout=5)
        proxy.stop()
    assert given.headers["X-Request-Id"] == "given-1"
    first, second, third = _lines(proxy, "proxy.requests")
    assert {name: first[name] for name in ("request_id", "route", "skus", "cache", "status", "sender", "method")} == {
        "request_id": "given-1",
        "route": "/v1/products",
        "skus": 3,
        "cache": "miss",
        "status": 200,
        "sender": "1.2.3",
        "method": "GET",
    }
    assert first["bytes"] == int(given.headers["Content-Length"])
    assert first["ms"] > 0
    assert (second["request_id"], second["cache"]) == (made_up.headers["X-Request-Id"], "hit")
    assert (third["request_id"], third["status"], third["sender"]) == (late.headers["X-Request-Id"], 401, "")
    calls = _lines(proxy, "proxy.upstream")
    assert sorted(call["kind"] for call in calls) == ["reviews", "reviews", "reviews", "summaries"]
    assert {call["request_id"] for call in calls} == {"given-1"}
    assert {call["outcome"] for call in calls} == {"200"}


def test_each_request_and_call_has_a_line_with_its_own_time(caplog: pytest.LogCaptureFixture) -> None:
    finished = [
        RequestFinished(f"id-{number}", "GET", "/healthz", 200, "none", 0, 0.0012, 10, 0, "", replayed=False)
        for number in range(2)
    ]
    events = [finished[0], CallEnded("reviews", "200", 0.15, 7), BreakerTurned(is_open=True), finished[1]]
    with caplog.at_level(logging.INFO, "proxy"):
        write_lines([Happened(event, 1000.25 + number, "id-1") for number, event in enumerate(events)])
    calls, requests = (record.__dict__["lines"] for record in caplog.records)
    assert calls == [(1001.25, {"request_id": "id-1", "kind": "reviews", "outcome": "200", "ms": 150.0, "bytes": 7})]
    assert [(at, fields["request_id"], fields["ms"]) for at, fields in requests] == [
        (1000.25, "id-0", 1.2),
        (1003.25, "id-1", 1.2),
    ]


def test_without_level_info_there_are_no_lines(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "proxy"):
        write_lines([Happened(CallEnded("reviews", "200", 0.15, 7), 1000.25, "")])
    assert caplog.records == []


@pytest.mark.parametrize("formatter", [JsonLines, Columns])
def test_secrets_and_addresses_are_blotted_out_wherever_they_come_from(formatter: type[JsonLines | Columns]) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter(Redaction(["hush-hush", 'qu"ote', "abc"])))
    logger = logging.getLogger("tests.redaction")
    logger.propagate = False
    logger.addHandler(handler)
    more = {"lines": [(1.5, {"abc": 1})]}
    error = ValueError('no room for jane.doe+x@shop.example, hush-hush, qu"ote')
    try:
        logger.error("GET /?who=jane%%40shop.example %s", "hush-hush", exc_info=error, extra=more)
    finally:
        logger.removeHandler(handler)
    text = out.getvalue()
    assert "jane" not in text
    assert "hush" not in text
    assert "ote" not in text.replace("[secret]", "")
    assert "[secret]" in text
    assert "[address]" in text
    assert "abc" in text
    assert "ValueError" in text


def test_a_terminal_gets_columns_and_anything_else_json() -> None:
    made = {}
    for terminal in (True, False):
        config = log_config("info", [], terminal=terminal)
        made[terminal] = config["formatters"]["line"]["()"]()
        assert "hush" not in repr(log_config("info", ["hush"], terminal=terminal))
    lines = [(1.25, {"ms": 3}), (2.5, {"ms": 4})]
    record = logging.makeLogRecord({"name": "proxy", "levelname": "INFO", "msg": "answered", "lines": lines})
    columns = made[True].format(record).splitlines()
    assert [line[8:] for line in columns] == [" INFO    answered ms=3", " INFO    answered ms=4"]
    read = [json.loads(line) for line in made[False].format(record).splitlines()]
    assert [(line["time"], line["message"], line["ms"]) for line in read] == [
        ("1970-01-01T00:00:01.250+00:00", "answered", 3),
        ("1970-01-01T00:00:02.500+00:00", "answered", 4),
    ]
