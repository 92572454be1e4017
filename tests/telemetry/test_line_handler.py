"""Log lines on a real pipe: whole, in order, and together where they may wait."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.telemetry.logging import LineHandler

LOST = 7


class Pipe:
    """A handler that writes into a pipe, and what has come out of it."""

    def __init__(self, patience_seconds: float = 0.2) -> None:
        self._out, into = os.pipe()
        self.handler = LineHandler(into, patience_seconds)
        self.handler.setFormatter(logging.Formatter("%(message)s"))
        self._into = into

    def log(self, message: object, **more: object) -> None:
        self.handler.handle(logging.makeLogRecord({"msg": message, **more}))

    def log_many(self, lines: int) -> threading.Thread:
        """Log so many lines of 300 digits beside the test."""

        def log() -> None:
            for number in range(lines):
                self.log(f"{number:0300}")

        writer = threading.Thread(target=log, daemon=True)
        writer.start()
        return writer

    def came(self, most: int = 65_536) -> list[str]:
        os.set_blocking(self._out, False)
        try:
            return os.read(self._out, most).decode().splitlines()
        except BlockingIOError:
            return []

    def fill(self) -> None:
        other = os.open(f"/dev/fd/{self._into}", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(other, b"-" * 4096)
        os.close(other)

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


def test_the_lines_of_a_record_are_written_together(pipe: Pipe) -> None:
    pipe.log("one\ntwo", lines=[{}, {}])
    pipe.log("three")
    assert pipe.came() == ["one", "two", "three"]


def test_a_line_larger_than_the_pipe_arrives_whole() -> None:
    pipe = Pipe()
    came: list[bytes] = []
    reader = threading.Thread(target=lambda: came.append(pipe.until(b"\n")))
    reader.start()
    pipe.log("x" * 300_000)
    reader.join(20)
    pipe.close()
    assert came == [b"x" * 300_000 + b"\n"]


def test_a_line_that_can_not_be_made_is_told_and_harms_nothing(
    pipe: Pipe, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("broken")

    pipe.log(Broken())
    pipe.log("after")
    assert pipe.came() == ["after"]
    assert "ValueError: broken" in capsys.readouterr().err


def test_lines_that_can_not_be_written_cost_nobody_an_answer_and_are_told_of_later(tmp_path: Path) -> None:
    kept = tmp_path / "log"
    kept.touch()
    only_read = os.open(kept, os.O_RDONLY)
    handler = LineHandler(only_read)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for number in range(LOST):
        handler.handle(logging.makeLogRecord({"msg": f"{number}\nand", "lines": [{}, {}]}))
    # The same descriptor again, as when a full disk has room again.
    writable = os.open(kept, os.O_WRONLY | os.O_APPEND)
    os.dup2(writable, only_read)
    for message in ("after", "and after"):
        handler.handle(logging.makeLogRecord({"msg": message}))
    os.close(writable)
    os.close(only_read)
    assert kept.read_text().splitlines() == [
        f"{2 * LOST} lines before this one could not be written",
        "after",
        "and after",
    ]


def test_nobody_waits_for_a_reader_that_reads_no_more(pipe: Pipe) -> None:
    logged, came = 1000, list[str]()
    writer = pipe.log_many(logged)
    writer.join(20)
    assert not writer.is_alive()
    while lines := pipe.came():
        came += lines
    pipe.log("after")
    assert came == [f"{number:0300}" for number in range(len(came))]
    assert pipe.came() == [f"{logged - len(came)} lines before this one could not be written", "after"]


def test_a_reader_that_is_slow_for_good_is_waited_for_once(pipe: Pipe) -> None:
    came: list[str] = []
    writer = pipe.log_many(500)
    while writer.is_alive():
        # Room again before the handler has waited for as long as it does.
        writer.join(0.1)
        came += pipe.came(4096)
    while lines := pipe.came():
        came += lines
    pipe.log("after")
    assert "lines before this one could not be written" in " ".join([*came, *pipe.came()])


def test_room_that_another_writer_takes_first_is_waited_for_again(pipe: Pipe) -> None:
    await_room = pipe.handler._await_room

    def found() -> None:
        await_room()
        pipe.fill()

    pipe.handler._await_room = found  # type: ignore[method-assign]  # what the other does in that moment
    writer = threading.Thread(target=pipe.log, args=["lost"], daemon=True)
    writer.start()
    writer.join(20)
    assert not writer.is_alive()


def test_what_comes_after_a_line_that_was_cut_is_a_line_of_its_own(pipe: Pipe) -> None:
    pipe.log("x" * 100_000)
    assert [set(line) for line in pipe.came()] == [{"x"}]
    pipe.log("after")
    assert pipe.came() == ["", "1 lines before this one could not be written", "after"]


_WRITER = """
import logging, sys
from proxy.telemetry.logging import LineHandler

into, lines, width = map(int, sys.argv[1:4])
handler = LineHandler(into, 60)
handler.setFormatter(logging.Formatter('%(message)s'))
for number in range(0, lines, 10):
    text = '\\n'.join(f'{line:05}' + sys.argv[4] * width for line in range(number, number + 10))
    handler.handle(logging.makeLogRecord({'msg': text, 'lines': [{}] * 10}))
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


def test_long_lines_of_two_processes_in_one_file_are_never_mixed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines, width = 2000, 8_000
    with log.open("ab") as file:
        command = [sys.executable, "-c", _WRITER, str(file.fileno()), str(lines), str(width)]
        children = [subprocess.Popen([*command, name], pass_fds=[file.fileno()]) for name in ("a", "b")]
    assert [child.wait(20) for child in children] == [0, 0]
    told = log.read_text().splitlines()
    assert sorted(told) == sorted(f"{n:05}" + name * width for n in range(lines) for name in ("a", "b"))


def test_a_line_within_a_write_leaves_both_to_the_write_under_way(pipe: Pipe) -> None:
    """As when a signal's handler, about to end the process, comes in the middle of a write."""
    with pipe.handler._writing:
        pipe.log("one")
        assert pipe.came() == []
    pipe.handler.flush()
    assert pipe.came() == ["one"]
