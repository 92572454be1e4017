"""One log line per request and per call to Trustpilot."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple

from proxy.middleware.answered import Answered
from proxy.trustpilot.reports import CallEnded

CAUSE: ContextVar[str] = ContextVar("cause", default="")
"""The id of the request that this thread or greenlet works for."""

REQUESTS, UPSTREAM = "proxy.requests", "proxy.upstream"
"""The loggers of the two kinds of lines."""

_MOST_WAITING = 100
"""More than these would not be in the processor's cache any more when their turn comes."""

_requests = logging.getLogger(REQUESTS)
_upstream = logging.getLogger(UPSTREAM)


class _Heard(NamedTuple):
    event: Answered | CallEnded
    at: float
    cause: str


class Lines:
    """Writes an event's line at level info; other events have lines of their own where they happen, or none.

    A line costs least when many are made one after the other and leave together. So where there is a server that does
    several things in turn, lines wait until it has done what is at hand; under little load that is at once. Lines of
    other kinds, warnings say, don't wait for these; each has its time.
    """

    def __init__(self) -> None:
        self._soon: Callable[[Callable[[], None]], object] = lambda write: write()
        self._waiting: deque[_Heard] = deque()

    def wait_for(self, soon: Callable[[Callable[[], None]], object]) -> None:
        """From now on have lines written by what is given to ``soon``, which calls it in the server's next turn."""
        self._soon = soon

    def hear(self, event: object) -> None:
        """Note what has a line."""
        match event:
            case Answered() if _requests.isEnabledFor(logging.INFO):
                pass
            case CallEnded() if _upstream.isEnabledFor(logging.INFO):
                pass
            case _:
                return
        self._waiting.append(_Heard(event, time.time(), CAUSE.get()))
        waiting = len(self._waiting)
        if waiting == 1:
            self._soon(self.write)
        elif waiting >= _MOST_WAITING:
            self.write()

    def write(self) -> None:
        """Write all lines that wait."""
        while self._waiting:
            event, at, cause = self._waiting.popleft()
            if isinstance(event, Answered):
                _handle(_requests, "answered", at, _of_request(event))
            else:
                _handle(_upstream, "called Trustpilot", at, _of_call(event, cause))
        for handler in logging.getLogger("proxy").handlers:
            handler.flush()


def _handle(logger: logging.Logger, message: str, at: float, fields: dict[str, object]) -> None:
    # Not by logger.info, which would look for the line of code that calls it and take the time anew.
    record = logging.LogRecord(logger.name, logging.INFO, "", 0, message, None, None)
    record.created = at
    record.fields = fields
    logger.handle(record)


def _of_request(event: Answered) -> dict[str, object]:
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
