"""Metrics of what the rooms report, and the log. Here: the directory in which the workers keep their counts.

prometheus-client looks for it when it is imported, so the master makes it before. A lock keeps a scrape from reading
the workers' files while those of an ended worker are added to the others'.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_log = logging.getLogger(__name__)


def prepare_folder() -> None:
    """Make a directory, once per master; one that takes over from another (USR2) counts on in the other's."""
    inherited = "GUNICORN_PID" in os.environ and _VARIABLE in os.environ
    if not (inherited or _made):
        os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="ccproxy-metrics-")
    # Whatever tidies up temporary files may have taken it away: no worker begins without.
    Path(os.environ[_VARIABLE]).mkdir(mode=0o700, parents=True, exist_ok=True)
    _made.append(True)


def folder() -> Path | None:
    """Return the directory, where the workers meet; ``None`` outside gunicorn."""
    return Path(os.environ[_VARIABLE]) if _VARIABLE in os.environ else None


def hand_over(master: Any) -> None:
    """Let the master that takes over count on in the same files: gunicorn starts it with the first environment."""
    master.cfg.env_orig[_VARIABLE] = os.environ[_VARIABLE]


def forget_worker(pid: int) -> None:
    """Take a worker's levels out, and add what it counted to one file per kind.

    Otherwise each worker that ends leaves its files for ever, and each scrape reads them all.
    """
    from prometheus_client import multiprocess  # not above: the directory has to be there first

    shared_by_all = Path(os.environ[_VARIABLE])
    try:
        with locked(shared_by_all, fcntl.LOCK_EX):
            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]  # the library's
            for kind in _KINDS:
                _fold(shared_by_all / f"{kind}_{pid}.db", shared_by_all / f"{kind}_ended.db")
    except Exception as error:  # noqa: BLE001  # the master would end for it, and all workers with it
        # Of an OSError the name alone is no cause: a full disk has none of its own.
        why = getattr(error, "strerror", None) or type(error).__name__
        _log.warning("what an ended worker counted is not added to the others' counts: %s", why)


def reserve(file: Path, size: int) -> None:
    """Have ``file`` take ``size`` bytes of the disk. Raises ``OSError`` where it is full.

    The system ends a process that writes to a page of a mapped file for which the disk has no room (SIGBUS).
    """
    with file.open("ab") as end:
        end.write(bytes(max(0, size - end.tell())))


def _fold(ended: Path, total: Path) -> None:
    """Add the values of ``ended`` to those of ``total``. A histogram's buckets are kept apart, so they add up too."""
    from prometheus_client.mmap_dict import MmapedDict  # as above

    if not ended.exists():
        return
    values: dict[str, float] = defaultdict(float)
    size = 0
    for file in (total, ended):
        if file.exists():
            size += file.stat().st_size
            read: Any = MmapedDict.read_all_values_from_file  # the library has no types
            for key, value, *_ in read(file):
                values[key] += value
    # Made beside and put in place at once: a stop in the middle must not leave half of what was counted.
    new = total.with_suffix(".new")
    new.unlink(missing_ok=True)
    reserve(new, size)
    written: Any = MmapedDict(str(new))  # type: ignore[no-untyped-call]  # the library's
    for key, value in values.items():
        written.write_value(key, value, 0.0)
    written.close()
    new.replace(total)
    ended.unlink()


def remove_folder(master: Any) -> None:
    """Remove the directory, unless another master lives on that uses it too."""
    if not master.reexec_pid and not master.master_pid:
        shutil.rmtree(os.environ[_VARIABLE], ignore_errors=True)


_KINDS = ("counter", "histogram")
"""Of what keeps counting. Every level is of a mode that leaves with its worker."""
_made: list[bool] = []


@contextmanager
def locked(folder: Path, how: int = fcntl.LOCK_SH) -> Iterator[None]:
    """Hold ``folder`` with others who only read; ``fcntl.LOCK_EX``: alone, to move counts between its files."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The system's lock: it ends with a process that is killed.
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, how)
        yield
