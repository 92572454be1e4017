"""gunicorn's own log, without a line per request: :mod:`proxy.middleware.access_log` writes that."""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger


class GunicornLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """As gunicorn's, which would work out some thirty parts of each access line, also where nobody reads it."""

    def access(self, _resp: Any, _req: Any, _environ: Any, _request_time: Any) -> None:
        """Write nothing."""
