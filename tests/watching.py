"""A pytest plugin: everything of :mod:`tools.leaks` that any test receives is kept, and a leak fails the run.

It records around the real thing: ``requests``, the raw connections of :class:`tests.running.RunningProxy`, the
browser's answers, the reports of schemathesis, and the logs of the proxies, in processes of their own or in this one.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol, cast

import pytest
import requests

from proxy.telemetry.logging import JsonLines, Redaction
from tools.leaks import COMMON_SECRETS, FOLDER, KINDS, WATCH, Tally


class OwnLog(logging.Handler):
    """The log of the proxies that run in this process, as the product would write it, but with no secret known."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines(Redaction([])))

    def emit(self, record: logging.LogRecord) -> None:
        WATCH.log("a proxy in the process of the tests", [self.format(record) + "\n"], COMMON_SECRETS)


class _Worker(Protocol):
    workeroutput: dict[str, Any]


_tallies: list[Tally] = []


def pytest_configure(config: pytest.Config) -> None:
    worker = getattr(config, "workerinput", {}).get("workerid")
    if worker is None:
        shutil.rmtree(FOLDER, ignore_errors=True)
    WATCH.begin(FOLDER / (worker or "alone"))
    logging.getLogger("proxy").addHandler(OwnLog())
    sent = requests.Session.send

    def send(session: requests.Session, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        answer = sent(session, request, **how)
        if not how.get("stream"):
            WATCH.answer(answer.url, answer.status_code, answer.content)
        return answer

    requests.Session.send = send  # type: ignore[method-assign, assignment]  # it records, and sends as ever


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    output: Mapping[str, Any] = getattr(node, "workeroutput", {})
    if "said" in output:
        _tallies.append(output["said"])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        cast("_Worker", session.config).workeroutput["said"] = WATCH.tally()
        return
    _tallies.append(WATCH.tally())
    if any(tally["found"] for tally in _tallies):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    kept: Counter[str] = sum((Counter(tally["kept"]) for tally in _tallies), Counter())
    size = sum(tally["bytes"] for tally in _tallies)
    counted = ", ".join(f"{kept[kind]} of kind {kind}" for kind in KINDS)
    terminalreporter.write_line(f"looked for secrets and addresses in {size} bytes: {counted} ({FOLDER})")
    for found in [found for tally in _tallies for found in tally["found"]]:
        terminalreporter.write_line(f"LEAK {found}", red=True)
