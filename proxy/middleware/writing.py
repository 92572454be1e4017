"""Puts log lines on a file descriptor: each in one piece, and the many lines of a busy moment in few writes.

A write wakes whoever reads the log, which costs more than making the line.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque
from collections.abc import Iterator

_MOST_WAITING = 500
_PIECE = select.PIPE_BUF
"""Bytes that a pipe takes in one piece, whoever else writes into it (POSIX, write): several workers share one."""


class Writing(logging.Handler):
    """Writes lines in the order they come. Never waits for another writer, and never raises.

    Those of the loggers named in ``patient`` and below ``WARNING`` wait for :meth:`flush`, which whoever logs there
    has to call; any other line is written at once, after those that wait. Lines that can't be written are lost, and
    the next line that can be is preceded by their number.
    """

    def __init__(self, descriptor: int, patient: frozenset[str]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._patient = patient
        self._waiting: deque[str] = deque()
        self._writing = threading.Lock()
        self._lost = 0

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a line, without the library's lock: making one touches nothing that is shared, and a deque is safe."""
        kept = self.filter(record)
        if kept:
            # Since Python 3.12 a filter may return another record.
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, now or soon."""
        try:
            self._waiting.append(self.format(record))
        except Exception:  # noqa: BLE001  # logging's own way: a line that can't be made must not fail an answer
            self.handleError(record)
            return
        if (
            record.levelno >= logging.WARNING
            or record.name not in self._patient
            or len(self._waiting) >= _MOST_WAITING
        ):
            self.flush()

    def flush(self) -> None:
        """Write all lines that wait; also called when the process ends."""
        # A signal's handler may come here in the middle of a write. Who holds the lock looks again once it is free.
        while self._waiting and self._writing.acquire(blocking=False):
            try:
                self._write([self._waiting.popleft() for _ in range(len(self._waiting))])
            finally:
                self._writing.release()

    def _write(self, lines: list[str]) -> None:
        told = [self._about_the_lost()] if self._lost else []
        written = -len(told)
        try:
            for count, piece in _pieces([*told, *lines]):
                rest = piece
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
                written += count
                self._lost = 0
        except OSError:
            # There is no other place to tell it; it is told here as soon as that goes again.
            self._lost += len(lines) - max(written, 0)

    def _about_the_lost(self) -> str:
        told = "%d lines before this one could not be written"
        return self.format(logging.LogRecord(__name__, logging.ERROR, "", 0, told, (self._lost,), None))


def _pieces(lines: list[str]) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines together, as many as stay in one piece, and how many they are."""
    piece, count = b"", 0
    for line in lines:
        encoded = line.encode("utf-8", "backslashreplace") + b"\n"
        if count and len(piece) + len(encoded) > _PIECE:
            yield count, piece
            piece, count = b"", 0
        piece += encoded
        count += 1
    yield count, piece
