"""Puts log lines on a file descriptor, each in one piece, and the many lines of a busy moment together.

A write wakes whoever reads the log, which costs more than making the line.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque

_MOST_WAITING = 500


class Writing(logging.Handler):
    """Writes lines in the order they come.

    Those of the loggers named in ``patient`` and below ``WARNING`` wait for :meth:`flush`, which whoever logs there
    has to call; any other line is written at once, after those that wait.
    """

    def __init__(self, descriptor: int, patient: frozenset[str]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._patient = patient
        self._waiting: deque[str] = deque()
        self._writing = threading.Lock()

    def createLock(self) -> None:  # noqa: N802  # the library's name
        """Have no lock around the making of a line: it touches nothing that is shared, and a deque is its own."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, now or soon."""
        try:
            self._waiting.append(self.format(record))
            if (
                record.levelno >= logging.WARNING
                or record.name not in self._patient
                or len(self._waiting) >= _MOST_WAITING
            ):
                self.flush()
        except Exception:  # noqa: BLE001  # logging's own way: a line that can't be written must not fail an answer
            self.handleError(record)

    def flush(self) -> None:
        """Write all lines that wait; also called when the process ends."""
        with self._writing:
            while self._waiting:
                lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
                rest = "\n".join([*lines, ""]).encode("utf-8", "backslashreplace")
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
