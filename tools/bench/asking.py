"""Asks over kept connections with as little of its own as possible: the load generator shares the machine."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

LATE_SECONDS = 2.0
"""Braze: an answer that takes longer is not inserted."""


@dataclass(frozen=True, slots=True)
class Got:
    """One answer; ``status`` 0 when there was none. ``at`` and ``took`` in seconds, on the monotonic clock."""

    path: str
    status: int
    body: bytes
    at: float
    took: float


class Connection:
    """One kept HTTP connection, opened again when it was lost."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> Got:
        """Ask once, and once more where a kept connection turns out to be closed."""
        at = time.monotonic()
        for kept in (self._streams is not None, False):
            try:
                status, body = await asyncio.wait_for(self._ask(path), 20)
            except (OSError, EOFError, TimeoutError):
                self.close()
                if kept:
                    continue
                return Got(path, 0, b"", at, time.monotonic() - at)
            return Got(path, status, body, at, time.monotonic() - at)
        raise AssertionError("the second attempt always returns")

    async def _ask(self, path: str) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{self._headers}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        assert length is not None, "only answers that say their length are expected"
        body = await reader.readexactly(int(length[1]))
        if re.search(rb"(?i)\r\nconnection: *close", head):
            self.close()
        return int(head[9:12]), body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


Render = Sequence[str]
"""The paths that one message asks for, one after the other, as Braze runs a template's tags."""


async def rendered(
    url: str, headers: Mapping[str, str], renders: Sequence[Render], users: int, *, pause: float = 0.0
) -> list[Got]:
    """Render all messages, ``users`` at a time, with a connection each. ``pause``: seconds after each message."""
    pending = iter(renders)
    answers: list[Got] = []

    async def user() -> None:
        with Connection(url, headers) as connection:
            for render in pending:
                answers.extend([await connection.get(path) for path in render])
                if pause:
                    await asyncio.sleep(pause)

    await asyncio.gather(*(user() for _ in range(users)))
    return answers
