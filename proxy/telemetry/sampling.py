"""Takes levels down every few seconds: what has no event of its own, such as how full the cache is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from proxy.clock import Spawn

EVERY_SECONDS = 5.0


class Sampling:
    """Calls ``sample`` in the process that serves, from its first request on."""

    def __init__(self, sample: Callable[[], None], spawn: Spawn, every: float = EVERY_SECONDS) -> None:
        self._sample = sample
        self._spawn = spawn
        self._every = every
        self._lock = threading.Lock()
        self._started = False

    def on_event(self, _event: object) -> None:
        """Start with the first event: before it, gunicorn may still fork."""
        if self._started:
            return
        with self._lock:
            if self._started:
                return
            self._started = True
        self._spawn(self._run)

    def now(self) -> None:
        """Sample at once, as when somebody looks."""
        self._sample()

    def _run(self) -> None:
        while True:
            self._sample()
            time.sleep(self._every)
