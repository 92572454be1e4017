"""What is counted, for Prometheus. Labels have few values each: no SKU, no URL, nothing a caller writes.

Under several workers prometheus-client keeps every value in a file per process (``PROMETHEUS_MULTIPROC_DIR``, set by
``gunicorn.conf.py``), and a scrape of any worker adds them up.

For the page that a person looks at each worker remembers its last hour, and writes it into a file every two seconds,
so that whichever is asked can tell of all. Nothing in it can name a product, a person or a secret.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from bisect import bisect_left
from collections import Counter as Counts
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from proxy.api import RIGHT_FOR
from proxy.cache import Tiered
from proxy.clock import Now
from proxy.events import (
    AnswerMalformed,
    Backfilled,
    BreakerTurned,
    CallEnded,
    CallNotMade,
    CallStarted,
    Compared,
    Deleted,
    FeedRead,
    FileFailed,
    Happened,
    RedisFailed,
    RequestFinished,
    ReviewsDropped,
    Validated,
)
from proxy.telemetry import locked, reserve
from proxy.trustpilot.quota import YEAR_DAYS, Quota
from proxy.trustpilot.transport import KINDS

SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 1.75, 2.0, 2.5, 5.0, 10.0)
"""Braze inserts nothing after 2 s, and ``DEADLINE_SECONDS`` is 1.5: each has a bucket, and one beside it."""

AGES = (60, 300, 900, 1800, 3600, 7200, 14_400, 28_800, 57_600, 86_400)

_INVITATIONS = frozenset({"/v1/invitations", "/v1/private/business-units/{bu}/email-invitations"})
_STATUSES = (400, 401, 403, 500, 502, 503, 504)
_log = logging.getLogger(__name__)
_OUTCOMES = ("200", "401", "403", "429", "500", "503", "timedout", "unreachable")
_Mode = Literal["livemostrecent", "livesum", "livemax"]
GAUGE_SECONDS = 5.0


_FIRST_BYTES = 1 << 16
_LONGEST_ENTRY = 4096
"""Bytes: more than a metric's name, what it says and its labels take."""


class _Counts(MmapedDict):
    """A worker's file of counts, of which nothing is written that is not on the disk already.

    Where the disk is full the worker counts on in its own memory, which no scrape sees.
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:  # noqa: FBT001, FBT002  # the library's
        name = _with_room(filename, _FIRST_BYTES)
        if name != filename:
            Path(filename).unlink(missing_ok=True)  # a scrape can't read an empty one
        super().__init__(name, read_mode)  # type: ignore[no-untyped-call]  # the library's

    def _init_value(self, key: str) -> None:
        if self._used + _LONGEST_ENTRY > self._capacity:
            name = _with_room(self._fname, 2 * self._capacity)
            if name != self._fname:
                Path(name).write_bytes(self._m)
                super().__init__(name)  # type: ignore[no-untyped-call]  # as above
        super()._init_value(key)  # type: ignore[no-untyped-call]  # as above


def _with_room(file: str, size: int) -> str:
    """Return ``file``, which takes ``size`` bytes from now on, or one in memory where the disk is full."""
    try:
        reserve(Path(file), size)
    except OSError as error:
        _log.warning("this worker's counts are not in /metrics: %s", error.strerror)
        return f"/dev/fd/{os.memfd_create('counts')}"
    return file


values.MmapedDict = _Counts  # type: ignore[attr-defined]  # what the library makes for each worker


class _Observed(Histogram):
    """A histogram that takes many values at once: each of them alone takes two writes into the workers' file."""

    def observe_all(self, amounts: Collection[float]) -> None:
        self._sum.inc(sum(amounts))
        buckets = Counts(bisect_left(self._upper_bounds, amount) for amount in amounts)
        for bucket, count in buckets.items():
            self._buckets[bucket].inc(count)


class Metrics:
    """Counts the events that the rooms report, and shows them in Prometheus's text format."""

    def __init__(self, *, shared_quota: bool) -> None:
        """``shared_quota``: all workers count calls together, so each shows the same number and not its part."""
        self._registry = own = CollectorRegistry()

        def counter(name: str, what: str, **label: Sequence[str]) -> Counter:
            """Return a counter with the label's known values at 0: a rate misses a series' first event otherwise."""
            made = Counter(f"ccproxy_{name}", what, [*label], registry=own)
            for value in chain(*label.values()):
                made.labels(value)
            return made

        def gauge(name: str, what: str, mode: _Mode, *labels: str) -> Gauge:
            return Gauge(f"ccproxy_{name}", what, labels, multiprocess_mode=mode, registry=own)

        def histogram(name: str, what: str, buckets: Sequence[float], *labels: str) -> _Observed:
            return _Observed(f"ccproxy_{name}", what, labels, buckets=buckets, registry=own)

        self._requests = Counter("ccproxy_requests", "Requests answered.", ["route", "status", "cache"], registry=own)
        arrival = "From the request's arrival to its answer being ready."
        self._request_seconds = histogram("request_seconds", arrival, SECONDS, "route")
        # The library looks each label set up anew, which costs more than counting.
        self._requests_by = cache(lambda route, status, state: self._requests.labels(route, str(status), state))
        self._seconds_by = cache(self._request_seconds.labels)
        self._stale_age = histogram("stale_age_seconds", "Age of the copies served stale.", AGES)
        self._calls = Counter("ccproxy_upstream_calls", "Calls to Trustpilot.", ["kind", "outcome"], registry=own)
        self._call_seconds = histogram("upstream_seconds", "How long they took.", SECONDS, "kind")
        self._calls_by, self._call_seconds_by = cache(self._calls.labels), cache(self._call_seconds.labels)
        self._in_flight = gauge("upstream_in_flight", "Calls under way.", "livesum")
        reasons = ("paused", "budgetspent", "busy")
        self._not_made = counter("upstream_not_made", "Calls wanted and not made.", reason=reasons)
        self._malformed_answers = counter("malformed_answers", "Answers of Trustpilot that could not be read.")
        self._malformed_reviews = counter("malformed_reviews", "Single reviews that could not be read.")
        mode: _Mode = "livemostrecent" if shared_quota else "livesum"
        self._budget_used = gauge("budget_used_calls", "Calls made within the window.", mode, "window")
        self._budget_limit = gauge(
            "budget_limit_calls", "Calls allowed within the window.", "livemostrecent", "window"
        )
        of_plan = (
            "Calls of the plan: the year's limit, those used, today's share of the rest, and those used of that."
        )
        self._plan_calls = gauge("plan_calls", of_plan, "livemostrecent", "what")
        until = "Age until which copies are fresh now, as far as the plan goes."
        self._fresh_seconds = gauge("fresh_seconds", until, "livemax")
        self._breaker_open = gauge("breaker_open", "1 while calls are paused.", "livemax")
        self._breaker_openings = counter("breaker_openings", "Pauses begun.")
        self._entries = gauge("cache_entries", "Copies in memory.", "livesum")
        self._bytes = gauge("cache_bytes", "Memory they take.", "livesum")
        self._states = gauge("cache_copies", "Copies in memory, by what may be done with them.", "livesum", "state")
        self._age_sum = gauge("cache_age_seconds_sum", "Their ages, added up.", "livesum")
        self._oldest = gauge("cache_oldest_seconds", "Age of the oldest.", "livemax")
        self._evictions = counter("cache_evictions", "Copies that had to leave for others.")
        outcomes: Sequence[str] = ("sent", "replayed", "refused", "failed")
        self._invitations = counter("invitations", "Invitations asked for.", outcome=outcomes)
        troubles = ("unreachable", "refused")
        self._redis_errors = counter("redis_errors", "Questions to Redis that failed.", kind=troubles)
        damages = ("full", "locked", "damaged", "other")
        self._file_errors = counter("sqlite_errors", "Uses of the SQLite file that failed.", kind=damages)
        outcomes = ("confirmed", "changed")
        self._validated = counter("sync_products", "Stale products asked about by their counts.", outcome=outcomes)
        outcomes = ("read", "begun", "restarted", "out_of_order", "failed")
        self._feed_reads = counter("sync_feed_reads", "Readings of a feed.", outcome=outcomes)
        self._feed_reviews = counter("sync_reviews", "New reviews that feeds brought.")
        self._compared = counter("sync_compared", "Products compared by a shop's summaries.")
        self._deleted = counter("sync_deletions", "Deletions that Trustpilot listed.")
        whole = "Reviews read of the list that is read once."
        self._backfilled = gauge("sync_backfill_reviews", whole, "livemax")
        shops = "Shops with a feed: all, those whose feed is read, and those of which all reviews are cached."
        self._shops = gauge("sync_shops", shops, "livemostrecent", "what")
        days = "Days until the plan is used up if it goes on as up to now; a year while it lasts the year."
        self._plan_days = gauge("plan_days_left", days, "livemostrecent")
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Show as 0 what has several labels and has not happened yet."""
        for route, right in RIGHT_FOR.items():
            if route.startswith("/v1/"):
                self._seconds_by(route)
                for status in _STATUSES:
                    self._requests_by(route, status, "none")
                for state in ("hit", "stale", "miss") if right == "read" else ("none",):
                    self._requests_by(route, 200, state)
        for kind in KINDS:
            self._call_seconds.labels(kind)
            for outcome in _OUTCOMES:
                self._calls.labels(kind, outcome)

    def on_events(self, happened: Sequence[Happened]) -> None:
        finished: list[RequestFinished] = []
        for event, _, _ in happened:
            if isinstance(event, RequestFinished):
                finished.append(event)
            else:
                self._count(event)
        self._requests_finished(finished)

    def _count(self, event: object) -> None:
        match event:
            case CallStarted():
                self._in_flight.inc()
            case CallEnded():
                self._in_flight.dec()
                self._calls_by(event.kind, event.outcome).inc()
                self._call_seconds_by(event.kind).observe(event.seconds)
            case Validated():
                self._validated.labels("confirmed").inc(event.confirmed)
                self._validated.labels("changed").inc(event.products - event.confirmed)
            case FeedRead():
                self._feed_reads.labels(event.outcome).inc()
                self._feed_reviews.inc(event.reviews)
            case Backfilled():
                self._backfilled.set(event.reviews)
            case Compared():
                self._compared.inc(event.products)
            case Deleted():
                self._deleted.inc(event.names)
            case CallNotMade():
                self._not_made.labels(event.reason).inc()
            case AnswerMalformed():
                self._malformed_answers.inc()
            case ReviewsDropped():
                self._malformed_reviews.inc(event.count)
            case BreakerTurned():
                self._breaker_open.set(event.is_open)
                self._breaker_openings.inc(event.is_open)
            case RedisFailed():
                self._redis_errors.labels("refused" if event.refused else "unreachable").inc()
            case FileFailed():
                self._file_errors.labels(event.kind).inc()

    def evicted(self) -> None:
        """Count a copy that had to leave memory."""
        self._evictions.inc()

    def set_gauges(self, store: Tiered, quota: Quota, shops: Mapping[str, int]) -> None:
        """Set what has a level and no event: the copies in this process's memory, the quota, the plan, the sync."""
        self._fresh_seconds.set(store.lifetimes.fresh_now)
        for what, name in (("all", "shops"), ("read by feed", "read_by_feed"), ("whole", "whole")):
            self._shops.labels(what).set(shops.get(name, 0))
        if plan := quota.plan_use():
            days = plan.days_until_used_up
            self._plan_days.set(YEAR_DAYS if days is None else days)
            calls = {"limit": plan.limit, "used": plan.used, "share of today": plan.share, "used today": plan.today}
            for what, count in calls.items():
                self._plan_calls.labels(what).set(count)
        self._entries.set(len(store))
        self._bytes.set(store.l1_bytes)
        ages = store.ages()
        for state in ("fresh", "stale", "gone"):
            self._states.labels(state).set(getattr(ages, state))
        self._age_sum.set(ages.sum)
        self._oldest.set(ages.oldest)
        for use in quota.uses():
            self._budget_used.labels(use.window.name).set(use.used)
            self._budget_limit.labels(use.window.name).set(use.window.calls)

    def text(self) -> bytes:
        """Return everything in Prometheus's text format, of all workers where there are several."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        everyone = CollectorRegistry()
        with locked(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])):
            MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]  # the library's
            return generate_latest(everyone)

    def _requests_finished(self, events: Sequence[RequestFinished]) -> None:
        seconds: defaultdict[str, list[float]] = defaultdict(list)
        for event in events:
            seconds[event.route].append(event.seconds)
            if event.route in _INVITATIONS:
                self._invitations.labels(_outcome(event)).inc()
        if ages := [event.age for event in events if event.cache == "stale"]:
            self._stale_age.observe_all(ages)
        for route, amounts in seconds.items():
            self._seconds_by(route).observe_all(amounts)
        for labels, count in Counts((event.route, event.status, event.cache) for event in events).items():
            self._requests_by(*labels).inc(count)


def _outcome(event: RequestFinished) -> str:
    if event.replayed:
        return "replayed"
    if event.status < 300:
        return "sent"
    return "refused" if event.status < 500 else "failed"


MINUTES = 60
MOST_ERRORS = 20
SNAPSHOT_SECONDS = 2.0
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
        self._minutes: dict[int, dict[str, int]] = {}
        # Apart, so that many wrong requests don't drive out the few that the proxy failed.
        self._failed: deque[Failure] = deque(maxlen=MOST_ERRORS)
        self._refused: deque[Failure] = deque(maxlen=MOST_ERRORS)
        self._paused_since: float | None = None

    def on_events(self, happened: Sequence[Happened]) -> None:
        counted: Counts[tuple[int, str]] = Counts()
        for event, at, _ in happened:
            match event:
                case RequestFinished():
                    if event.cache != "none":
                        counted[int(at // 60), event.cache if event.status < 500 else "failed"] += 1
                    if event.status >= 400 and not (event.status == 401 and event.route in _PAGES):
                        failure = Failure(at, event.request_id, event.method, event.route, event.status)
                        (self._failed if event.status >= 500 else self._refused).append(failure)
                case CallEnded():
                    counted[int(at // 60), f"call {event.outcome}"] += 1
                case BreakerTurned():
                    self._paused_since = at if event.is_open else None
        with self._lock:
            for (minute, what), count in counted.items():
                counts = self._minutes.setdefault(minute, {})
                counts[what] = counts.get(what, 0) + count

    def snapshot(self, levels: dict[str, Any]) -> Snapshot:
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


@dataclass(frozen=True)
class Workers:
    """All workers' snapshots: this one's own, and those that the others have written into ``folder``.

    ``levels``: what the rooms say of themselves, as JSON. Without a folder, where the workers of one master meet,
    there is only this one.
    """

    recent: Recent
    levels: Callable[[], dict[str, Any]]
    folder: Path | None
    now: Now

    def write(self) -> None:
        """Write this worker's snapshot, where the workers meet."""
        if self.folder is None:
            return
        file = self.folder / f"status_{os.getpid()}.json"
        new = file.with_suffix(".new")
        # The folder is gone when the master stops. A full disk costs this page, and nothing else.
        with contextlib.suppress(OSError):
            new.write_text(json.dumps(self.recent.snapshot(self.levels())))
            new.replace(file)

    def snapshots(self) -> tuple[list[Snapshot], list[Snapshot]]:
        """Return the snapshots of the workers that run, this one's first, and of those that ended within the hour."""
        own = self.recent.snapshot(self.levels())
        others = [snapshot for snapshot in self._written() if snapshot["pid"] != own["pid"]]
        running = [other for other in others if self.now() - other["at"] < _GONE_SECONDS]
        return [own, *running], [other for other in others if other not in running]

    def _written(self) -> list[Snapshot]:
        found: list[Snapshot] = []
        for file in sorted(self.folder.glob("status_*.json")) if self.folder else []:
            # One that is just being replaced, or taken away by another worker.
            with contextlib.suppress(OSError, ValueError):
                snapshot: Snapshot = json.loads(file.read_text())
                if self.now() - snapshot["at"] > MINUTES * 60:
                    file.unlink()
                else:
                    snapshot["failures"] = [Failure(*failure) for failure in snapshot["failures"]]
                    found.append(snapshot)
        return found
