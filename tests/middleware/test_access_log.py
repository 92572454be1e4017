"""Log lines on a real pipe: whole, in order, and together where they may wait."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.events import Happened, RequestFinished
from proxy.middleware.access_log import REQUESTS, BufferedHandler, write_lines

MOST = 500


class Pipe:
    """A handler that writes into a pipe, and what has come out of it."""

    def __init__(self) -> None:
        self._out, into = os.pipe()
        self.handler = BufferedHandler(into, frozenset({"buffered"}))
        self.handler.setFormatter(logging.Formatter("%(message)s"))
        self._into = into

    def log(self, message: object, name: str = "buffered", level: int = logging.INFO) -> None:
        self.handler.handle(logging.LogRecord(name, level, "", 0, message, None, None))

    def came(self) -> list[str]:
        os.set_blocking(self._out, False)
        try:
            return os.read(self._out, 65_536).decode().splitlines()
        except BlockingIOError:
            return []

    def until(self, end: bytes) -> bytes:
        read = b""
        while not read.endswith(end):
            read += os.read(self._out, 65_536)
        return read

    def close(self) -> None:
        os.close(self._into)
        os.close(self._out)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_buffered_lines_wait_until_they_are_flushed(pipe: Pipe) -> None:
    pipe.log("one")
    pipe.log("two")
    assert pipe.came() == []
    pipe.handler.flush()
    assert pipe.came() == ["one", "two"]


@pytest.mark.parametrize(("name", "level"), [("buffered", logging.WARNING), ("another", logging.INFO)])
def test_any_other_line_is_written_at_once_after_those_that_wait(pipe: Pipe, name: str, level: int) -> None:
    pipe.log("first")
    pipe.log("second", name, level)
    assert pipe.came() == ["first", "second"]


def test_no_more_wait_than_a_few_hundred(pipe: Pipe) -> None:
    for number in range(MOST + 1):
        pipe.log(str(number))
    assert pipe.came() == [str(number) for number in range(MOST)]


def test_a_line_larger_than_the_pipe_arrives_whole() -> None:
    pipe = Pipe()
    came: list[bytes] = []
    reader = threading.Thread(target=lambda: came.append(pipe.until(b"\n")))
    reader.start()
    pipe.log("x" * 300_000, level=logging.ERROR)
    reader.join(20)
    pipe.close()
    assert came == [b"x" * 300_000 + b"\n"]


def test_a_line_that_can_not_be_made_is_told_and_harms_nothing(
    pipe: Pipe, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("broken")

    pipe.log(Broken(), level=logging.ERROR)
    pipe.log("after", level=logging.ERROR)
    assert pipe.came() == ["after"]
    assert "ValueError: broken" in capsys.readouterr().err


def test_each_event_has_its_line_with_its_own_time(caplog: pytest.LogCaptureFixture) -> None:
    events = [
        RequestFinished(f"id-{number}", "GET", "/healthz", 200, "none", 0, 0.001, 10, 0, "", replayed=False)
        for number in range(3)
    ]
    with caplog.at_level(logging.INFO, REQUESTS):
        write_lines([Happened(event, 1000.25 + place, "") for place, event in enumerate(events)])
    told = [(record.__dict__["fields"]["request_id"], record.created) for record in caplog.records]
    assert told == [("id-0", 1000.25), ("id-1", 1001.25), ("id-2", 1002.25)]


def test_lines_that_can_not_be_written_cost_nobody_an_answer_and_are_told_of_later(tmp_path: Path) -> None:
    kept = tmp_path / "log"
    kept.touch()
    only_read = os.open(kept, os.O_RDONLY)
    handler = BufferedHandler(only_read, frozenset({"buffered"}))
    handler.setFormatter(logging.Formatter("%(message)s"))
    for number in range(MOST + 10):
        handler.handle(logging.LogRecord("buffered", logging.INFO, "", 0, str(number), None, None))
    handler.flush()
    # The same descriptor again, as when a full disk has room again.
    writable = os.open(kept, os.O_WRONLY | os.O_APPEND)
    os.dup2(writable, only_read)
    handler.handle(logging.LogRecord("another", logging.INFO, "", 0, "after", None, None))
    handler.handle(logging.LogRecord("another", logging.INFO, "", 0, "and after", None, None))
    os.close(writable)
    os.close(only_read)
    assert kept.read_text().splitlines() == [
        f"{MOST + 10} lines before this one could not be written",
        "after",
        "and after",
    ]


_WRITER = """
import logging, sys
from proxy.middleware.access_log import BufferedHandler

into, lines, width = map(int, sys.argv[1:4])
handler = BufferedHandler(into, frozenset({'buffered'}))
handler.setFormatter(logging.Formatter('%(message)s'))
for number in range(lines):
    text = f'{number:05}' + sys.argv[4] * width
    handler.handle(logging.LogRecord('buffered', logging.INFO, '', 0, text, None, None))
handler.flush()
"""


def test_lines_of_two_processes_on_one_pipe_are_never_mixed() -> None:
    out, into = os.pipe()
    lines, width = 3000, 300
    command = [sys.executable, "-c", _WRITER, str(into), str(lines), str(width)]
    children = [subprocess.Popen([*command, name], pass_fds=[into]) for name in ("a", "b")]
    os.close(into)
    came = b""
    while piece := os.read(out, 65_536):
        came += piece
        # A reader that is slower than the writers, so that the pipe is full all the time.
        time.sleep(0.002)
    os.close(out)
    assert [child.wait(20) for child in children] == [0, 0]
    told = came.decode().splitlines()
    for name in ("a", "b"):
        assert [line for line in told if line.endswith(name)] == [f"{n:05}" + name * width for n in range(lines)]
    assert len(told) == 2 * lines


def test_a_flush_within_a_flush_leaves_the_lines_to_the_one_under_way(pipe: Pipe) -> None:
    """As when a signal's handler, about to end the process, comes in the middle of a write."""
    pipe.log("one")
    with pipe.handler._writing:
        pipe.handler.flush()
        assert pipe.came() == []
    pipe.handler.flush()
    assert pipe.came() == ["one"]
