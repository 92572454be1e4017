"""The lines of requests and of calls."""

from __future__ import annotations

import logging

import pytest

from proxy.events import BreakerTurned, CallEnded, Happened, RequestFinished
from proxy.middleware.access_log import write_lines


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
