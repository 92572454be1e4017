"""What went on in the last hour, for the page that a person looks at: of this worker, and of all that share a folder.

Each worker writes its own into a file every two seconds, so that whichever is asked can tell of all. Nothing in it
can name a product, a person or a secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from proxy.clock import Now, Spawn
from proxy.events import BreakerTurned, CallEnded
from proxy.middleware.access_log import RequestFinished

MINUTES = 60
MOST_ERRORS = 20
_EVERY_SECONDS = 2.0
_GONE_SECONDS = 15.0
"""A worker that has written nothing for so long has ended, or hangs."""


_PAGES = frozenset({"/", "/status", "/docs", "/preview"})
"""A browser asks for them without a credential first."""


class Failure(NamedTuple):
    """An answer that was an error. ``at``: seconds since the epoch."""

    at: float
    request_id: str
    method: str
    route: str
    status: int


class Snapshot(TypedDict):
    """What one worker knows, as it is written."""

    pid: int
    started: float
    at: float
    minutes: dict[str, dict[str, int]]
    """By minute since the epoch: how many reads were ``hit``, ``stale``, ``miss`` and ``failed``, and how many calls
    to Trustpilot ended, as ``call `` and the outcome."""
    failures: list[Failure]
    paused_since: float | None
    levels: dict[str, Any]
    """What the rooms say of themselves now."""


class Recent:
    """Remembers what was reported in the last hour."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._started = now()
        self._minutes: dict[int, Counter[str]] = {}
        # Apart, so that many wrong requests don't drive out the few that the proxy failed.
        self._failed: deque[Failure] = deque(maxlen=MOST_ERRORS)
        self._refused: deque[Failure] = deque(maxlen=MOST_ERRORS)
        self._paused_since: float | None = None

    def on_event(self, event: object) -> None:
        """Remember one event; events of no interest pass."""
        match event:
            case RequestFinished():
                if event.cache != "none":
                    self._count(event.cache if event.status < 500 else "failed")
                if event.status >= 400 and not (event.status == 401 and event.route in _PAGES):
                    failure = Failure(self._now(), event.request_id, event.method, event.route, event.status)
                    (self._failed if event.status >= 500 else self._refused).append(failure)
            case CallEnded():
                self._count(f"call {event.outcome}")
            case BreakerTurned():
                self._paused_since = self._now() if event.is_open else None

    def snapshot(self, levels: dict[str, Any]) -> Snapshot:
        """Return what is known."""
        with self._lock:
            oldest = int(self._now() // 60) - MINUTES
            for minute in [minute for minute in self._minutes if minute <= oldest]:
                del self._minutes[minute]
            minutes = {str(minute): dict(counts) for minute, counts in self._minutes.items()}
        return Snapshot(
            pid=os.getpid(),
            started=self._started,
            at=self._now(),
            minutes=minutes,
            failures=[*self._failed, *self._refused],
            paused_since=self._paused_since,
            levels=levels,
        )

    def _count(self, what: str) -> None:
        minute = int(self._now() // 60)
        with self._lock:
            counts = self._minutes.get(minute)
            if counts is None:
                counts = self._minutes[minute] = Counter()
            counts[what] += 1


class Workers:
    """All workers' snapshots: this one's own, and those that the others have written into ``folder``."""

    def __init__(
        self,
        recent: Recent,
        levels: Callable[[], dict[str, Any]],
        folder: Path | None,
        now: Now,
        spawn: Spawn,
    ) -> None:
        """``levels``: what the rooms say of themselves, as JSON. ``folder``: where the workers of one master meet.

        Without a folder there is only this one.
        """
        self._recent = recent
        self._levels = levels
        self._folder = folder
        self._now = now
        self._spawn = spawn
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to write; called once, after the fork."""
        if self._folder is not None:
            self._spawn(self._run)

    def stop(self) -> None:
        """Stop writing."""
        self._stopped.set()

    def snapshots(self) -> tuple[list[Snapshot], list[Snapshot]]:
        """Return the snapshots of the workers that run, this one's first, and of those that ended within the hour."""
        own = self._recent.snapshot(self._levels())
        others = [snapshot for snapshot in self._written() if snapshot["pid"] != own["pid"]]
        running = [other for other in others if self._now() - other["at"] < _GONE_SECONDS]
        return [own, *running], [other for other in others if other not in running]

    def _written(self) -> list[Snapshot]:
        found: list[Snapshot] = []
        for file in sorted(self._folder.glob("status_*.json")) if self._folder else []:
            # One that is just being replaced, or taken away by another worker.
            with contextlib.suppress(OSError, ValueError):
                snapshot: Snapshot = json.loads(file.read_text())
                if self._now() - snapshot["at"] > MINUTES * 60:
                    file.unlink()
                else:
                    snapshot["failures"] = [Failure(*failure) for failure in snapshot["failures"]]
                    found.append(snapshot)
        return found

    def _run(self) -> None:
        assert self._folder is not None  # noqa: S101  # `start` has looked
        file = self._folder / f"status_{os.getpid()}.json"
        new = file.with_suffix(".new")
        while not self._stopped.is_set():
            # The folder is gone when the master stops. A full disk costs this page, and nothing else.
            with contextlib.suppress(OSError):
                new.write_text(json.dumps(self._recent.snapshot(self._levels())))
                new.replace(file)
            self._stopped.wait(_EVERY_SECONDS)
