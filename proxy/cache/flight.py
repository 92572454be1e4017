"""Duplicate suppression: only one execution per key is in flight at a time.

The flight runs beside its callers, so a caller that runs out of time leaves and the flight still lands.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from proxy.cache.entry import Key
from proxy.clock import PATIENCE, Deadline, Patience, Spawn

T = TypeVar("T")


class DeadlinePassed(Exception):
    """The flight had not landed by the caller's deadline. It goes on."""


class Flight(Generic[T]):
    """One execution of a job, and the place where its callers wait."""

    def __init__(self) -> None:
        self.patience = Patience()
        self._landed = threading.Event()
        self._result: T | None = None
        self._error: Exception | None = None

    def land(self, result: T) -> None:
        """Hand ``result`` to everyone who waits."""
        self._result = result
        self._landed.set()

    def crash(self, error: Exception) -> None:
        """Raise ``error`` in everyone who waits."""
        self._error = error
        self._landed.set()

    def wait(self, deadline: Deadline) -> T:
        """Return the job's result or raise its error; raise :class:`DeadlinePassed` when it takes too long."""
        self.patience.extend(deadline)
        if not self._landed.wait(deadline.remaining()):
            raise DeadlinePassed
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # landed without an error: this is the job's T


class Flights(Generic[T]):
    """The flights under way in this process."""

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._lock = threading.Lock()
        self._under_way: dict[Key, Flight[T]] = {}

    def join(self, key: Key, job: Callable[[], T]) -> Flight[T]:
        """Return the flight for ``key``, starting one with ``job`` when none is under way."""
        with self._lock:
            flight = self._under_way.get(key)
            if flight is not None:
                return flight
            flight = self._under_way[key] = Flight()
        self._spawn(lambda: self._fly(key, flight, job))
        return flight

    def ground(self, product: str) -> None:
        """Let nobody join the flights for ``product`` any more: what they bring is already out of date."""
        with self._lock:
            for key in [key for key in self._under_way if key.product == product]:
                del self._under_way[key]

    def _fly(self, key: Key, flight: Flight[T], job: Callable[[], T]) -> None:
        PATIENCE.set(flight.patience)
        try:
            result = job()
        except Exception as error:  # noqa: BLE001  # it is raised again in every caller that waits
            self._close(key, flight)
            flight.crash(error)
        else:
            self._close(key, flight)
            flight.land(result)

    def _close(self, key: Key, flight: Flight[T]) -> None:
        # Closed before it lands, so that nobody joins a flight whose result is already old.
        with self._lock:
            if self._under_way.get(key) is flight:
                del self._under_way[key]
