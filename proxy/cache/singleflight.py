"""Duplicate suppression: of all who ask for the same key at the same time, one causes the work.

The work runs beside its callers, so a caller that runs out of time leaves and the call still ends for the others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from proxy.cache.entry import Key
from proxy.clock import PATIENCE, Deadline, Patience, Spawn

T = TypeVar("T")


class DeadlinePassed(Exception):
    """The call had not ended by the caller's deadline. It goes on."""


class Call(Generic[T]):
    """One execution, and the place where its callers wait."""

    def __init__(self) -> None:
        self.patience = Patience()
        self._done = threading.Event()
        self._result: T | None = None
        self._exception: Exception | None = None

    def set_result(self, result: T) -> None:
        """Return ``result`` to everyone who waits."""
        self._result = result
        self._done.set()

    def set_exception(self, exception: Exception) -> None:
        """Raise ``exception`` in everyone who waits."""
        self._exception = exception
        self._done.set()

    def wait(self, deadline: Deadline) -> T:
        """Return the result or raise the exception; raise :class:`DeadlinePassed` when it takes too long."""
        self.patience.extend(deadline)
        if not self._done.wait(deadline.remaining()):
            raise DeadlinePassed
        if self._exception is not None:
            raise self._exception
        return self._result  # type: ignore[return-value]  # done without an exception: this is the call's T


class Group(Generic[T]):
    """The calls under way in this process, one per key."""

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._lock = threading.Lock()
        self._calls: dict[str, dict[str, Call[T]]] = {}

    def do(self, key: Key, work: Callable[[], T]) -> Call[T]:
        """Return the call for ``key``, starting one that runs ``work`` when none is under way."""
        with self._lock:
            calls = self._calls.setdefault(key.product, {})
            call = calls.get(key.part)
            if call is not None:
                return call
            call = calls[key.part] = Call()
        self._spawn(lambda: self._run(key, call, work))
        return call

    def forget(self, product: str) -> None:
        """Let nobody join the calls for ``product`` any more: what they return is already out of date."""
        with self._lock:
            self._calls.pop(product, None)

    def _run(self, key: Key, call: Call[T], work: Callable[[], T]) -> None:
        PATIENCE.set(call.patience)
        try:
            result = work()
        except Exception as exception:  # noqa: BLE001  # it is raised again in every caller that waits
            self._end(key, call)
            call.set_exception(exception)
        else:
            self._end(key, call)
            call.set_result(result)

    def _end(self, key: Key, call: Call[T]) -> None:
        # Before it is done, so that nobody joins a call whose result is already old.
        with self._lock:
            calls = self._calls.get(key.product)
            if calls is None or calls.get(key.part) is not call:
                return
            del calls[key.part]
            if not calls:
                del self._calls[key.product]
