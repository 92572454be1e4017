"""Many requests at once, or at a steady rate, each with what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import requests

from tests.running import SECRET, RunningProxy


@dataclass(frozen=True)
class Got:
    """One answer. ``took`` is the caller's, ``served`` the proxy's own time, in s.

    ``status`` 0: there was none, and instead of a word of the cache it has the error.
    """

    status: int
    cache: str
    took: float
    served: float
    retry_after: int
    at: float


class Callers:
    """Threads with a kept connection each, so that what is measured is not the connecting.

    To be closed before the proxy is stopped, which waits for its callers.
    """

    def __init__(self, most: int) -> None:
        self._pool = ThreadPoolExecutor(most)
        self._own = threading.local()
        self._sessions: list[requests.Session] = []

    def all_at_once(self, proxies: Sequence[RunningProxy], paths: Sequence[str]) -> list[Got]:
        """Ask for ``paths``, each at the next of ``proxies``."""
        urls = [proxies[place % len(proxies)].url + path for place, path in enumerate(paths)]
        return list(self._pool.map(self.get, urls))

    def steadily(self, rate: float, seconds: float, url: Callable[[int], str]) -> list[Got]:
        """Ask ``rate`` times a second for what ``url`` says of each number."""
        started = time.monotonic()
        pending = []
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, started + number / rate - time.monotonic()))
            pending.append(self._pool.submit(self.get, url(number)))
        return [answer.result() for answer in pending]

    def during(self, work: Callable[[], object], rate: float, url: Callable[[int], str]) -> list[Got]:
        """Ask ``rate`` times a second, for as long as ``work`` lasts and a little before and after it."""
        beside = ThreadPoolExecutor(1)
        before = self.steadily(rate, 0.3, url)
        worked = beside.submit(work)
        started = time.monotonic()
        pending: list[Future[Got]] = []
        while not worked.done():
            time.sleep(max(0.0, started + len(pending) / rate - time.monotonic()))
            pending.append(self._pool.submit(self.get, url(len(pending))))
        beside.shutdown()
        worked.result()
        return before + [answer.result() for answer in pending] + self.steadily(rate, 0.3, url)

    def get(self, url: str) -> Got:
        """Ask once."""
        if not hasattr(self._own, "session"):
            self._own.session = requests.Session()
            self._sessions.append(self._own.session)
        at = time.monotonic()
        try:
            answer = self._own.session.get(url, headers={"X-Api-Key": SECRET}, timeout=20)
        except requests.RequestException as error:
            return Got(0, repr(error), time.monotonic() - at, 0.0, 0, at)
        timing = answer.headers.get("Server-Timing", "dur=0").partition("dur=")[2]
        return Got(
            answer.status_code,
            answer.headers.get("X-Cache", ""),
            time.monotonic() - at,
            float(timing) / 1000,
            int(answer.headers.get("Retry-After", 0)),
            at,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        for session in self._sessions:
            session.close()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of ``values`` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
