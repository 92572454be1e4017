"""Says whether a call may be made now: the circuit breaker while Trustpilot fails, the bulkhead while it is busy.

The breaker stops calls, so that an outage costs a handful of them and not one per request. One product that fails is
no outage: only that product's calls pause. One business unit that is refused is none either: only that unit's pause.

The bulkhead bounds how many calls are under way at once, and says whose turn it is when they are more. A Trustpilot
that hangs takes a bounded part of the proxy; one that is slow serves as many callers as it can.
"""

from __future__ import annotations

import heapq
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from cachetools import LRUCache
from msgspec import Struct

from proxy.cache import PATIENCE, Patience
from proxy.clock import AWAITED, Deadline, Now, Priority
from proxy.events import BreakerTurned, Report, unheard
from proxy.trustpilot import (
    Busy,
    NotFound,
    Paused,
    QuotaUsedUp,
    RateLimited,
    Refused,
    Rejected,
    TrustpilotError,
    TurnedAway,
)

RUN = 5
"""Different calls that fail in a row open the breaker."""

INTERVAL_SECONDS = 5.0
"""From one failure to the next probe. Trustpilot's own ``Retry-After``, where it is longer, comes first."""

LONGEST_INTERVAL_SECONDS = 300.0
"""After a 429, 401 or 403 without ``Retry-After`` each probe waits twice as long as the one before, up to this. Such
an answer costs a call of the plan, and asking again soon is what it forbids."""

LONGEST_FAILING_SECONDS = 60.0
"""A 5xx says something about one machine or product of Trustpilot's: its ``Retry-After`` pauses the others no longer
than this without a probe."""

CALL_SECONDS = 1.0
"""How long one call pauses after it failed twice in a row; from then on twice as long each time."""

LONGEST_CALL_SECONDS = 60.0
"""The longest pause of one call, unless Trustpilot's own ``Retry-After`` asks for more."""

QUIET_SECONDS = 3600.0
"""From a 401 or 403 to the first probe that nobody waits for: it costs a call of the plan, and a person has to
put right what is wrong."""

_MOST_CALLS = 10_000
_ASKS_FOR_QUIET = (RateLimited, Refused, TurnedAway)

_log = logging.getLogger(__name__)


class Call(Struct, frozen=True):
    """Names what is called: the kind of call, for which products of which business unit."""

    business_unit: str
    kind: str
    skus: frozenset[str]

    def may_share_a_cause_with(self, other: Call) -> bool:
        """Tell whether one failing product explains why both failed."""
        return (self.business_unit, self.kind) == (other.business_unit, other.kind) and bool(self.skus & other.skus)


@dataclass(frozen=True, slots=True)
class Pause:
    """Calls are stopped: all of them, or those of ``business_unit``."""

    business_unit: str | None
    reason: str
    next_try_seconds: float
    """0 when a probe may go, or is under way."""


@dataclass(slots=True)
class _Backoff:
    """How often one call failed in a row, and until when it pauses."""

    failures: int = 0
    until: float = 0.0
    reason: str = ""


class _Circuit:
    """Closed, open, or open with a probe under way; for all of Trustpilot, or for one business unit."""

    def __init__(self) -> None:
        self.open_until: float | None = None
        self.quiet_until = 0.0
        """Until then no call is made that nobody waits for."""
        self.probing = False
        self.reason = ""
        self._failed: list[Call] = []
        self._last: Call | None = None
        self._last_until = 0.0
        self._openings = 0

    def wait(self, call: Call, now: float) -> float:
        """Return how many seconds ``call`` has to wait; 0 when it may pass, as a probe where the circuit is open."""
        if self.open_until is None:
            return 0
        # The call that failed last waits longer, so that another one probes: it may be the only one that fails.
        until = max(self.open_until, self._last_until) if call == self._last else self.open_until
        if now < until:
            return until - now
        return INTERVAL_SECONDS if self.probing else 0

    def close(self) -> None:
        """Let calls pass, and forget what failed."""
        self.open_until, self.probing, self._failed, self._openings = None, False, [], 0
        self._last, self._last_until = None, 0.0

    def failed(self, call: Call, error: TrustpilotError, now: float, *, probes: bool) -> float | None:
        """Count a failure; return how long the circuit is open from now on, ``None`` when it changes nothing."""
        if not any(call.may_share_a_cause_with(before) for before in self._failed) and len(self._failed) < RUN:
            self._failed.append(call)
        speaks_for_all = error.retry_after_header is not None and isinstance(error, _ASKS_FOR_QUIET)
        if probes:
            self.probing = False
        elif not speaks_for_all and (self.open_until is not None or len(self._failed) < RUN):
            return None
        pause = self._pause(error)
        self._openings += probes or self.open_until is None
        self.open_until = max(self.open_until or 0, now + pause)
        self.quiet_until = now + QUIET_SECONDS if isinstance(error, (Refused, TurnedAway)) else 0.0
        self.reason = str(error)
        self._last, self._last_until = call, self.open_until + INTERVAL_SECONDS
        return pause

    def _pause(self, error: TrustpilotError) -> float:
        if isinstance(error, _ASKS_FOR_QUIET):
            growing = min(INTERVAL_SECONDS * 2.0**self._openings, LONGEST_INTERVAL_SECONDS)
            return growing if error.retry_after_header is None else max(INTERVAL_SECONDS, error.retry_after_header)
        return max(INTERVAL_SECONDS, min(error.retry_after_header or 0, LONGEST_FAILING_SECONDS))


class CircuitBreaker:
    """Closed: calls pass. Open: none do. Once the interval is over: one probe at a time, which closes it or not.

    ``now`` is any clock in seconds that never goes back.
    """

    def __init__(self, now: Now, *, report: Report = unheard) -> None:
        self._now = now
        self._report = report
        self._lock = threading.Lock()
        self._everything = _Circuit()
        self._units: dict[str, _Circuit] = {}
        self._backoffs: LRUCache[Call, _Backoff] = LRUCache(_MOST_CALLS)

    @property
    def is_open(self) -> bool:
        """Whether calls are stopped, all of them or those of a business unit."""
        with self._lock:
            return self._is_open()

    def pauses(self) -> list[Pause]:
        """Return what is stopped, all of Trustpilot first."""
        with self._lock:
            return [
                Pause(unit, circuit.reason, max(0.0, circuit.open_until - self._now()))
                for unit, circuit in [(None, self._everything), *self._units.items()]
                if circuit.open_until is not None
            ]

    def awaits_probe(self, call: Call) -> bool:
        """Tell whether calls are stopped, and ``call`` may find out if that is over though nobody waits for it."""
        with self._lock:
            now = self._now()
            backoff = self._backoffs.get(call)
            circuits = [each for each in (self._everything, self._unit(call)) if each.open_until is not None]
            if not circuits or (backoff is not None and now < backoff.until):
                return False
            return all(circuit.wait(call, now) == 0 and now >= circuit.quiet_until for circuit in circuits)

    @contextmanager
    def attempt(self, call: Call, priority: Priority) -> Iterator[None]:
        """Note what becomes of ``call``, which is made inside of this. Raises :class:`Paused` where it may not be."""
        probes = self._admit(call)
        try:
            yield
        except (NotFound, Rejected):
            # Trustpilot works; this request is what is wrong.
            self._note_success(call, probes)
            raise
        except TrustpilotError as error:
            if priority is Priority.TRIAL or isinstance(error, (QuotaUsedUp, Busy)):
                self._note_nothing(probes)
            else:
                self._note_failure(call, error, probes)
            raise
        except BaseException:
            self._note_nothing(probes)
            raise
        self._note_success(call, probes)

    def _admit(self, call: Call) -> list[_Circuit]:
        """Let ``call`` pass, as the probe of those circuits that are open. Raises :class:`Paused`."""
        with self._lock:
            now = self._now()
            circuits = [self._everything, self._unit(call)]
            for circuit in circuits:
                if (wait := circuit.wait(call, now)) > 0:
                    raise _paused("calls to Trustpilot are paused", circuit.reason, wait)
            backoff = self._backoffs.get(call)
            if backoff is not None and now < backoff.until:
                raise _paused("this call to Trustpilot is paused", backoff.reason, backoff.until - now)
            probes = [circuit for circuit in circuits if circuit.open_until is not None]
            for circuit in probes:
                circuit.probing = True
            return probes

    def _unit(self, call: Call) -> _Circuit:
        return self._units.setdefault(call.business_unit, _Circuit())

    def _is_open(self) -> bool:
        return any(circuit.open_until is not None for circuit in (self._everything, *self._units.values()))

    def _note_success(self, call: Call, probes: list[_Circuit]) -> None:
        with self._lock:
            was_open = self._is_open()
            self._backoffs.pop(call, None)
            for circuit in (self._everything, self._unit(call)):
                self._answered(circuit, probes)
            closes = was_open and not self._is_open()
        if closes:
            self._report(BreakerTurned(is_open=False))
        if probes:
            _log.warning("Trustpilot answers again: calls go on")

    def _answered(self, circuit: _Circuit, probes: list[_Circuit]) -> None:
        if circuit.open_until is not None and circuit not in probes:
            # A straggler from before the breaker opened: what came after it failed.
            return
        if circuit.open_until is not None:
            # The outage explains why the calls failed that it met.
            everywhere = circuit is self._everything
            for call in [
                call for call in self._backoffs if everywhere or self._units.get(call.business_unit) is circuit
            ]:
                del self._backoffs[call]
        circuit.close()

    def _note_failure(self, call: Call, error: TrustpilotError, probes: list[_Circuit]) -> None:
        with self._lock:
            now, was_open = self._now(), self._is_open()
            unit = self._unit(call)
            refused = isinstance(error, Refused)
            circuit, other = (unit, self._everything) if refused else (self._everything, unit)
            self._back_off(call, error, now)
            if other in probes:
                if refused:
                    # Whoever refuses answers.
                    self._answered(other, probes)
                other.probing = False
            was_closed = circuit.open_until is None
            pause = circuit.failed(call, error, now, probes=circuit in probes)
            opens = pause is not None and not was_open
        if opens:
            self._report(BreakerTurned(is_open=True))
        if pause is not None and was_closed:
            whose = f" for business unit {call.business_unit}" if refused else ""
            _log.warning("calls to Trustpilot are paused%s for %.0f s: %s", whose, pause, error)

    def _back_off(self, call: Call, error: TrustpilotError, now: float) -> None:
        backoff = self._backoffs.get(call) or _Backoff()
        backoff.failures += 1
        # The first failure costs no pause: a connection that broke is had anew by the very next call.
        pause = 0.0
        if backoff.failures > 1:
            pause = min(CALL_SECONDS * 2.0 ** min(backoff.failures - 2, 30), LONGEST_CALL_SECONDS)
        backoff.until = now + max(pause, error.retry_after_header or 0)
        backoff.reason = str(error)
        self._backoffs[call] = backoff

    def _note_nothing(self, probes: list[_Circuit]) -> None:
        with self._lock:
            for circuit in probes:
                circuit.probing = False


def _paused(what: str, reason: str, wait: float) -> Paused:
    return Paused(f"{what}: {reason}", retry_after=max(1, math.ceil(wait)))


REFRESHES_AT_ONCE = 8
"""When Trustpilot hangs, this many calls are lost finding out. Two in a second are already more than the hourly
quota allows for refreshing, so they need no more slots."""

_KEPT_SHARE = 1 / 8
"""Of the slots, never taken by a refresh: the next caller may need one."""

_NEWEST_WEIGHT = 0.1
"""Of the latest call in what a call is expected to take."""


class _Waiting:
    """A call that waits for a slot. ``turn`` is set when it has one."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.turn = threading.Event()
        self.left = False


class Bulkhead:
    """``size`` calls at once, at most ``refreshes`` of them in the background.

    A free slot goes to the call whose callers' time ends first, among those that can still be answered in time; then
    to those for which it is too late, in the order they came: what they fetch serves the next who asks.
    ``now`` is the clock of :class:`~proxy.clock.Deadline`.
    """

    def __init__(
        self, size: int, *, refreshes: int = REFRESHES_AT_ONCE, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._free = size
        self._kept = int(size * _KEPT_SHARE)
        self._refreshes = refreshes
        self._number = count()
        self._waiting: list[tuple[float, int, _Waiting]] = []
        self._late: deque[_Waiting] = deque()
        self._expected = 0.0
        """Seconds that a call takes, of late."""

    @property
    def waiting(self) -> int:
        """How many calls wait for a slot."""
        with self._lock:
            return sum(not waiting.left for *_, waiting in self._waiting) + len(self._late)

    @contextmanager
    def slot(self, priority: Priority, deadline: Deadline) -> Iterator[None]:
        """Hold a slot, waiting for it until ``deadline``. Raises :class:`Busy`; in the background at once."""
        in_background = priority not in AWAITED
        if in_background:
            self._acquire_for_refresh()
        else:
            self._await_slot(deadline)
        began = self._now()
        try:
            yield
        finally:
            with self._lock:
                self._refreshes += in_background
                self._expected += (self._now() - began - self._expected) * _NEWEST_WEIGHT
                self._give_on()

    def _acquire_for_refresh(self) -> None:
        with self._lock:
            if not self._refreshes:
                raise Busy("too many refreshes are under way")
            if self._free <= self._kept:
                raise Busy("too many calls to Trustpilot are under way")
            self._refreshes -= 1
            self._free -= 1

    def _await_slot(self, deadline: Deadline) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            waiting = _Waiting(PATIENCE.get() or Patience())
            self._queue(waiting)
        try:
            waiting.turn.wait(deadline.remaining())
        except BaseException:
            # Whose request is ended meanwhile must not keep a slot for ever.
            with self._lock:
                waiting.left = True
                if waiting.turn.is_set():
                    self._give_on()
            raise
        with self._lock:
            if not waiting.turn.is_set():
                waiting.left = True
                raise Busy("too many calls to Trustpilot are under way")

    def _queue(self, waiting: _Waiting) -> None:
        heapq.heappush(self._waiting, (waiting.patience.until, next(self._number), waiting))

    def _give_on(self) -> None:
        following = self._following()
        if following is None:
            self._free += 1
        else:
            following.turn.set()

    def _following(self) -> _Waiting | None:
        """Take the call out of the queue whose turn it is."""
        last_start = self._now() + self._expected
        while self._waiting:
            until, _, waiting = heapq.heappop(self._waiting)
            if waiting.left:
                continue
            if waiting.patience.until != until:
                self._queue(waiting)  # somebody else joined meanwhile
            elif until < last_start:
                self._late.append(waiting)
            else:
                return waiting
        while self._late:
            waiting = self._late.popleft()
            if not waiting.left:
                return waiting
        return None
