"""The directory in which the workers keep their counts for prometheus-client, which looks for it when imported."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def prepare() -> None:
    """Make a directory, once per master; one that takes over from another (USR2) counts on in the other's."""
    inherited = "GUNICORN_PID" in os.environ and _VARIABLE in os.environ
    if not (inherited or _made):
        os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="ccproxy-metrics-")
    _made.append(True)


def hand_over(master: Any) -> None:
    """Let the master that takes over count on in the same files: gunicorn starts it with the first environment."""
    master.cfg.env_orig[_VARIABLE] = os.environ[_VARIABLE]


def forget_worker(pid: int) -> None:
    """Take a worker's levels out; what it counted stays."""
    from prometheus_client import multiprocess  # not above: the directory has to be there first

    multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]  # the library's


def remove(master: Any) -> None:
    """Remove the directory, unless another master lives on that uses it too."""
    if not master.reexec_pid and not master.master_pid:
        shutil.rmtree(os.environ[_VARIABLE], ignore_errors=True)


_made: list[bool] = []
