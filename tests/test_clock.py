"""What works beside the requests."""

from __future__ import annotations

import threading

import pytest

from proxy.clock import Every, spawn


def test_a_bug_in_what_is_done_again_and_again_is_logged_and_does_not_end_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    began, again = threading.Event(), threading.Event()

    def job() -> None:
        if not began.is_set():
            began.set()
            raise ZeroDivisionError
        again.set()

    every = Every(0.001, job, spawn)
    every.start()
    assert again.wait(10)
    every.stop()
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]
