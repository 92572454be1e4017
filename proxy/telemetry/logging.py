"""How log lines look: JSON for machines, columns on a terminal; in both, no secret and no e-mail address."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

import msgspec

from proxy.middleware.access_log import REQUESTS, UPSTREAM, BufferedHandler

_IN_ADDRESS = r"[^\s\x00-\x1f\x7f-\x9f\ufeff@<>(),;:\"\[\]\\]"
_ADDRESS = re.compile(rf"(?<!{_IN_ADDRESS}){_IN_ADDRESS}+(?:@|%40){_IN_ADDRESS}+")
"""Rather too much than too little: whatever an invitation takes as an address, and what only looks like one. It
begins where a word begins, or a long word would be searched anew from each of its characters."""

_BUFFERED = frozenset({REQUESTS, UPSTREAM})
_SHORTEST_SECRET = 4
"""A shorter one would blot out ordinary words, and hides nothing."""


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
        line: dict[str, Any] = {
            "time": f"{_second(int(record.created))}.{int(record.created % 1 * 1000):03d}+00:00",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        text = _encode(line)
        return _encode(self._without(line)) if self._redacted.may_change(text) else text

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


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class Columns(logging.Formatter):
    """For eyes: clock, level, message, ``name=value`` pairs."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
        self._redacted = redaction

    def format(self, record: logging.LogRecord) -> str:
        line, *below = super().format(record).split("\n")
        pairs = "".join(f" {name}={value}" for name, value in _fields(record).items() if value != "")
        return self._redacted("\n".join([line + pairs, *below]))


def log_config(level: str, secrets: Collection[str], *, terminal: bool) -> dict[str, Any]:
    """Return the configuration of the standard library's logging for the whole process, gunicorn's lines included."""
    # No line shows what the library would find out for each ("Optimization" in its documentation).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    redaction = Redaction(secrets)
    # The redaction and not the secrets: gunicorn prints this whole dictionary at level debug.
    make = partial(Columns if terminal else JsonLines, redaction)
    write = partial(BufferedHandler, 2, _BUFFERED)
    ours = {"level": level.upper(), "handlers": ["stderr"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": make}},
        "handlers": {"stderr": {"()": write, "formatter": "line"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {"proxy": ours, "gunicorn.error": ours},
    }


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields
