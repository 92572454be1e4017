"""gunicorn's settings: gevent workers for thousands of connections, and a stop that finishes what is under way."""

import os
import sys
from typing import Any

import gevent
from gevent import monkey

# Before proxy brings in urllib3: ssl must not be imported unpatched.
monkey.patch_all()

from proxy.settings import Settings, SettingsError  # noqa: E402  # after the patch, see above

try:
    _settings = Settings.from_environment(os.environ)
except SettingsError as error:
    # Here and not only in the workers: one line per mistake instead of a worker's traceback.
    sys.exit(str(error))

bind = f"0.0.0.0:{_settings.port}"
workers = _settings.workers
worker_class = "gevent"
worker_connections = 10_000
backlog = 4096
keepalive = 5
timeout = 30
graceful_timeout = 15
limit_request_line = 8190
loglevel = _settings.log_level


def on_starting(server: Any) -> None:
    """Say what several workers without a shared store cost."""
    if _settings.workers > 1 and not _settings.shared_store:
        server.log.warning(
            "WEB_CONCURRENCY=%d with CACHE_URL=memory://: each worker pays for the same products and has the "
            "whole call budget for itself, and a purge or webhook reaches one of them; use redis:// or one worker",
            _settings.workers,
        )


def post_request(_worker: Any, _request: Any, _environ: Any, _response: Any) -> None:
    """Let the other connections have their turn: without it a fast caller's next request starves them."""
    gevent.sleep(0)
