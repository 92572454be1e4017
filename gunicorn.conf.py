"""gunicorn's settings: gevent workers for thousands of connections, and a stop that finishes what is under way."""

import gc
import os
import sys
from typing import Any

# All that is loaded here stays: to look for garbage in it would take a fifth of the start.
gc.disable()

import gevent  # noqa: E402  # without collections, see above
from gevent import monkey  # noqa: E402  # as above

# Before proxy brings in urllib3: ssl must not be imported unpatched.
monkey.patch_all()

from proxy import telemetry  # noqa: E402  # after the patch, see above
from proxy.server import drain_on_sigterm, reload_settings, warnings  # noqa: E402  # as above
from proxy.settings import SettingsError  # noqa: E402  # as above
from proxy.telemetry.logging import log_config  # noqa: E402  # as above

# Braze: Make a Connected Content call. The preview knows it too, but is an extra that the core must not need.
BRAZE_WAITS_SECONDS = 2.0

try:
    _settings = reload_settings(os.environ)
except SettingsError as error:
    # Here and not only in the workers: one line per mistake instead of a worker's traceback.
    sys.exit(str(error))

telemetry.prepare_folder()

# Here and not in each worker: one that is started later, at SIGHUP or in the place of one that ended, answers sooner.
import proxy.app  # noqa: E402, F401  # after prometheus_client's folder is named

gc.freeze()
gc.enable()

bind = f"0.0.0.0:{_settings.port}"
workers = _settings.workers
worker_class = "proxy.server.worker.Worker"
worker_connections = 10_000
backlog = 4096
keepalive = 5
timeout = 30
graceful_timeout = int(15 + _settings.drain_seconds)
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
# By default a caller behind a front on the same machine could move its path with a header SCRIPT_NAME, past what the
# front keeps from it. Nothing here needs a front's word but X-Forwarded-For, which PROXY_TRUSTED_HOPS reads.
forwarded_allow_ips = ""
forwarder_headers = ""
# Nobody asks it, and it wants a home to write to, which a hardened container or unit has not.
control_socket_disable = True
logger_class = "proxy.server.worker.GunicornLog"
loglevel = _settings.log_level
logconfig_dict = log_config(_settings.log_level, _settings.secrets, terminal=sys.stderr.isatty())


def on_reload(server: Any) -> None:
    """Say of new settings what is said of those of the start."""
    _warn_of_names(server)


def on_starting(server: Any) -> None:
    """Say what settings cost that are right and seldom meant."""
    _warn_of_names(server)
    if _settings.workers > 1 and not _settings.shared_store:
        server.log.warning(
            "WEB_CONCURRENCY=%d with CACHE_URL=memory://: each worker pays for the same products and has the "
            "whole call budget for itself, and a purge or webhook reaches one of them; use sqlite:///… or one worker",
            _settings.workers,
        )
    if _settings.deadline_seconds >= BRAZE_WAITS_SECONDS:
        server.log.warning(
            "DEADLINE_SECONDS=%g: Braze inserts nothing that takes %g s or longer",
            _settings.deadline_seconds,
            BRAZE_WAITS_SECONDS,
        )
    if _settings.stale_seconds < _settings.fresh_seconds:
        server.log.warning(
            "CACHE_STALE_SECONDS=%g is below CACHE_FRESH_SECONDS=%g: no copy is ever served stale, so callers wait "
            "for a slow Trustpilot",
            _settings.stale_seconds,
            _settings.fresh_seconds,
        )


def _warn_of_names(server: Any) -> None:
    for line in warnings(os.environ):
        server.log.warning(line)


def when_ready(_server: Any) -> None:
    """Have ``/readyz`` turn before anything else when the stop comes."""
    drain_on_sigterm()


def pre_exec(server: Any) -> None:
    """Let a new master (USR2) count on."""
    telemetry.hand_over(server)


def worker_exit(_server: Any, worker: Any) -> None:
    """Stop what works beside the requests in a worker that ends."""
    if (proxy := worker.app_extensions.get("proxy")) is not None:
        proxy.stop()


def child_exit(_server: Any, worker: Any) -> None:
    """Take an ended worker's levels out of the metrics."""
    telemetry.forget_worker(worker.pid)


def on_exit(server: Any) -> None:
    """Leave nothing behind."""
    telemetry.remove_folder(server)


def post_request(_worker: Any, _request: Any, _environ: Any, _response: Any) -> None:
    """Let the other connections have their turn: without it a fast caller's next request starves them."""
    gevent.sleep(0)
