"""One log line per request and per call to Trustpilot."""

from __future__ import annotations

import logging
from contextvars import ContextVar

from proxy.observing.answered import Answered
from proxy.trustpilot.reports import CallEnded

CAUSE: ContextVar[str] = ContextVar("cause", default="")
"""The id of the request that this thread or greenlet works for."""

_requests = logging.getLogger("proxy.requests")
_upstream = logging.getLogger("proxy.upstream")


def hear(event: object) -> None:
    """Write the event's line at level info; other events have lines of their own where they happen, or none."""
    match event:
        case Answered() if _requests.isEnabledFor(logging.INFO):
            fields = {
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
            _requests.info("answered", extra={"fields": fields})
        case CallEnded() if _upstream.isEnabledFor(logging.INFO):
            fields = {
                "request_id": CAUSE.get(),
                "kind": event.kind,
                "outcome": event.outcome,
                "ms": round(event.seconds * 1000, 1),
                "bytes": event.bytes,
            }
            _upstream.info("called Trustpilot", extra={"fields": fields})
