"""The servers that are measured beside each other, all under the settings of ``gunicorn.conf.py``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.running import SECRET, UNIT, Process, RunningSandbox

KEEP_ALIVE_SECONDS = 75
"""As Braze's side has it: a kept connection outlives the pauses of a measurement."""

HEADERS = {"X-Api-Key": SECRET, "Accept-Encoding": "gzip"}
"""What Braze sends of what matters: a credential, and that it takes gzip."""


class Gunicorn(Process):
    """One gunicorn with one worker, as the proxy is started, for any WSGI application."""

    def __init__(self, app: str, settings: dict[str, str], *options: str, under: Sequence[str] = ()) -> None:
        environment = {
            **os.environ,
            "TRUSTPILOT_API_KEY": RunningSandbox.api_key,
            "TRUSTPILOT_BUSINESS_UNIT_ID": UNIT,
            "PROXY_CREDENTIALS": f"braze:{SECRET}",
            "WEB_CONCURRENCY": "1",
            **settings,
        }
        command = [*under, sys.executable, "-m", "gunicorn", app, "--bind", "127.0.0.1:0", "--no-control-socket"]
        command += ["--keep-alive", str(KEEP_ALIVE_SECONDS), *options]
        super().__init__(command, environment, r"Listening at: (http://\S+)")

    @property
    def worker(self) -> int:
        """The worker's process id."""
        for line in self.log:
            if found := re.search(r"Booting worker with pid: (\d+)", line):
                return int(found[1])
        raise LookupError("the worker has not started")


def proxy(sandbox: RunningSandbox, *options: str, under: Sequence[str] = (), **settings: str) -> Gunicorn:
    """Start the proxy in front of the sandbox."""
    return Gunicorn("wsgi:app", {"TRUSTPILOT_API_URL": sandbox.api_url, **settings}, *options, under=under)


def bare(body: bytes, folder: Path, *options: str, under: Sequence[str] = ()) -> Gunicorn:
    """Start the bare function with ``body``; ``folder`` is a place for it."""
    kept = folder / "body"
    kept.write_bytes(body)
    return Gunicorn("tests.bench.bare:app", {"BENCH_BODY": str(kept)}, *options, under=under)
