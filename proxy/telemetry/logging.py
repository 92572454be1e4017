"""The log: a line per request and call, as JSON for machines or columns on a terminal; no secret, no e-mail address.

A record of the access log has many lines: its ``lines`` are when each was, and what it says beside the message.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

import msgspec
from gevent.monkey import get_original

from proxy.events import CallEnded, Happened, RequestFinished

_IN_ADDRESS = r"[^\s\x00-\x1f\x7f-\x9f\ufeff@<>(),;:\"\[\]\\]"
_ADDRESS = re.compile(rf"(?<!{_IN_ADDRESS}){_IN_ADDRESS}+(?:@|%40){_IN_ADDRESS}+")
"""Rather too much than too little: whatever an invitation takes as an address, and what only looks like one. It
begins where a word begins, or a long word would be searched anew from each of its characters."""

_PIECE = select.PIPE_BUF
"""Bytes that a pipe takes in one piece, whoever else writes into it (POSIX, write): several workers share one."""

_PATIENCE_SECONDS = 0.25
"""How much of each second whoever reads is waited for. One who is slow would hold up every answer."""

_Poll = get_original("select", "poll")
"""It asks the system. gevent's own would have others go on in the middle of a line."""

_SHORTEST_SECRET = 4
"""A shorter one would blot out ordinary words, and hides nothing."""

_requests = logging.getLogger("proxy.requests")
_upstream = logging.getLogger("proxy.upstream")


def write_lines(happened: Sequence[Happened]) -> None:
    """Write the line of each call and each answered request; other events have lines where they happen, or none."""
    if _upstream.isEnabledFor(logging.INFO):
        calls = [(at, _of_call(event, cause)) for event, at, cause in happened if isinstance(event, CallEnded)]
        _write(_upstream, "called Trustpilot", calls)
    if _requests.isEnabledFor(logging.INFO):
        requests = [(at, _of_request(event)) for event, at, _ in happened if isinstance(event, RequestFinished)]
        _write(_requests, "answered", requests)


def _write(logger: logging.Logger, message: str, lines: Sequence[tuple[float, dict[str, object]]]) -> None:
    if lines:
        logger.info(message, extra={"lines": lines})


def _of_request(event: RequestFinished) -> dict[str, object]:
    return {
        "request_id": event.request_id,
        "method": event.method,
        "route": event.route,
        "status": event.status,
        "cache": event.cache,
        "skus": event.skus,
        "ms": round(event.seconds * 1000, 1),
        "bytes": event.bytes,
        "sender": event.sender,
    }


def _of_call(event: CallEnded, cause: str) -> dict[str, object]:
    return {
        "request_id": cause,
        "kind": event.kind,
        "outcome": event.outcome,
        "ms": round(event.seconds * 1000, 1),
        "bytes": event.bytes,
    }


def _encode(value: object) -> str:
    try:
        return _encoder.encode(value).decode()
    except UnicodeEncodeError:
        # Half a character, as in a name that was cut; msgspec takes whole ones only, and a fifth of the time.
        return json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))


_encoder = msgspec.json.Encoder(enc_hook=str)


class Redaction:
    """Blots out what must not be in a log, wherever it came from: an exception's text, a library's message."""

    def __init__(self, secrets: Collection[str]) -> None:
        long = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]
        # Also as JSON writes them: quotes and backslashes escaped. The longest first: one may hold another.
        self._secrets = sorted({*long, *(_encode(secret)[1:-1] for secret in long)}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "[secret]")
        return _ADDRESS.sub("[address]", text) if _may_hold_address(text) else text

    def may_change(self, text: str) -> bool:
        """Tell quickly whether there may be anything to blot out."""
        if _may_hold_address(text):
            return True
        for secret in self._secrets:  # noqa: SIM110  # any() takes twice as long, and this looks at every line
            if secret in text:
                return True
        return False


def _may_hold_address(text: str) -> bool:
    return "@" in text or "%40" in text


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, logger, message, then the fields of the line's kind."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__()
        self._redacted = redaction

    def format(self, record: logging.LogRecord) -> str:
        common = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        lines: list[dict[str, Any]] = [{"time": _time(at), **common, **fields} for at, fields in _lines(record)]
        if record.exc_info:
            lines[-1]["exception"] = self.formatException(record.exc_info)
        text = "\n".join(map(_encode, lines))
        # Looked at together, as each look takes longer to begin than to make.
        return "\n".join(_encode(self._without(line)) for line in lines) if self._redacted.may_change(text) else text

    def _without(self, value: Any) -> Any:
        """Return ``value`` redacted, before it is JSON: blots within JSON could take an escape apart."""
        match value:
            case None | bool() | int() | float():
                return value
            case dict():
                return {str(name): self._without(item) for name, item in value.items()}
            case list() | tuple():
                return [self._without(item) for item in value]
            case _:
                return self._redacted(str(value))


def _time(at: float) -> str:
    return f"{_second(int(at))}.{int(at % 1 * 1000):03d}+00:00"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class Columns(logging.Formatter):
    """For eyes: clock, level, message, ``name=value`` pairs."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__("%(levelname)-7s %(message)s")
        self._redacted = redaction

    def format(self, record: logging.LogRecord) -> str:
        message, *below = super().format(record).split("\n")
        lines = [
            f"{datetime.fromtimestamp(at):%H:%M:%S} {message}"
            + "".join(f" {name}={value}" for name, value in fields.items() if value != "")
            for at, fields in _lines(record)
        ]
        return self._redacted("\n".join([*lines, *below]))


class LineHandler(logging.Handler):
    """Writes lines in the order they come, each in one piece. Never waits for another writer, and never raises.

    Who reads them is waited for a moment, and not again before there is room: lines are lost, answers are not late.

    Lines that can't be written are lost, and the next line that can be is preceded by their number. The lines of one
    record are written together: each write wakes whoever reads the log, which costs more than making the line.
    """

    def __init__(self, descriptor: int, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        super().__init__()
        self._descriptor = descriptor
        # Opened anew a pipe waits for nobody, and does so still for whoever else has it. Another user's can't be
        # opened: there another worker may take the room that this one has found.
        with suppress(OSError):
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                self._descriptor = os.open(f"/dev/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK)
        self._patience_seconds = patience_seconds
        self._patience_left = 0.0
        self._patient_since = -math.inf
        self._waiting: deque[str] = deque()
        self._writing = threading.Lock()
        self._lost = 0
        self._is_cut = False

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a line, without the library's lock: making one touches nothing that is shared, and a deque is safe."""
        kept = self.filter(record)
        if kept:
            # Since Python 3.12 a filter may return another record.
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001  # logging's own way: a line that can't be made must not fail an answer
            self.handleError(record)
            return
        self._waiting.extend(text.split("\n") if hasattr(record, "lines") else [text])
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
        notice = [self._lost_notice()] if self._lost else []
        if self._is_cut:
            notice.insert(0, "")
        written = -len(notice)
        try:
            for count, piece in _pieces([*notice, *lines]):
                rest = piece
                while rest:
                    self._await_room()
                    with suppress(BlockingIOError):  # another worker took the room
                        rest = rest[os.write(self._descriptor, rest) :]
                        self._is_cut = bool(rest)
                written += count
                self._lost = 0
        except OSError:
            # There is no other place to tell it; it is told here as soon as that goes again.
            self._lost += len(lines) - max(written, 0)

    def _await_room(self) -> None:
        """Raise ``BlockingIOError`` where nobody reads."""
        room = _Poll()
        room.register(self._descriptor, select.POLLOUT)
        if room.poll(0):
            return
        now = time.monotonic()
        if now > self._patient_since + 1:
            self._patient_since, self._patience_left = now, self._patience_seconds
        ready = room.poll(0 if self._lost else max(0.0, self._patience_left) * 1000)
        self._patience_left -= time.monotonic() - now
        if not ready:
            raise BlockingIOError

    def _lost_notice(self) -> str:
        message = "%d lines before this one could not be written"
        return self.format(logging.LogRecord(__name__, logging.ERROR, "", 0, message, (self._lost,), None))


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


def log_config(level: str, secrets: Collection[str], *, terminal: bool) -> dict[str, Any]:
    """Return the configuration of the standard library's logging for the whole process, gunicorn's lines included."""
    # No line shows what the library would find out for each ("Optimization" in its documentation).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    redaction = Redaction(secrets)
    # The redaction and not the secrets: gunicorn prints this whole dictionary at level debug.
    make = partial(Columns if terminal else JsonLines, redaction)
    write = partial(LineHandler, 2)
    ours = {"level": level.upper(), "handlers": ["stderr"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": make}},
        "handlers": {"stderr": {"()": write, "formatter": "line"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {"proxy": ours, "gunicorn.error": ours},
    }


def _lines(record: logging.LogRecord) -> Sequence[tuple[float, dict[str, object]]]:
    """Return when each line of a record was, and what it says beside the message."""
    lines: Sequence[tuple[float, dict[str, object]]] = getattr(record, "lines", ((record.created, {}),))
    return lines
