"""Where it is written down which invitations are being sent and which were, and the ledger in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cachetools import TLRUCache

MOST_NOTES = 100_000
"""About 60 MB. Beyond it the notes used least recently are forgotten before their time."""


class LedgerDown(Exception):
    """The ledger can't be had, so nobody knows whether an invitation was sent already."""


class Ledger(Protocol):
    """Keeps notes by key, each for a time."""

    def claim(self, key: str, mine: bytes, seconds: float) -> bytes | None:
        """Note ``mine`` under ``key`` and return ``None``; where a note is already, return that one.

        Raises :class:`LedgerDown`.
        """

    def keep(self, key: str, note: bytes, seconds: float) -> None:
        """Put ``note`` in place of whatever is noted under ``key``. Never raises."""

    def drop(self, key: str, seen: bytes) -> None:
        """Take ``seen`` away if it is still noted under ``key``. Raises :class:`LedgerDown`."""

    def fail(self, key: str, mine: bytes, reason: bytes, seconds: float) -> None:
        """Take the claim ``mine`` back, and leave ``reason`` for those who have seen it. Never raises."""

    def reason(self, claim: bytes) -> bytes | None:
        """Return why ``claim`` was taken back, if it was. Raises :class:`LedgerDown`."""


@dataclass(frozen=True, slots=True)
class _Note:
    text: bytes
    seconds: float


class MemoryLedger:
    """A ledger in this process only. ``clock`` is seconds that never go back."""

    def __init__(self, clock: Callable[[], float], most: int = MOST_NOTES) -> None:
        self._lock = threading.Lock()
        self._notes: TLRUCache[str | bytes, _Note] = TLRUCache(
            most, ttu=lambda _key, note, now: now + note.seconds, timer=clock
        )

    def claim(self, key: str, mine: bytes, seconds: float) -> bytes | None:
        """Note ``mine`` under ``key``, or return what is noted there."""
        with self._lock:
            noted = self._notes.get(key)
            if noted is not None:
                return noted.text
            self._notes[key] = _Note(mine, seconds)
            return None

    def keep(self, key: str, note: bytes, seconds: float) -> None:
        """Put ``note`` in place of whatever is noted under ``key``."""
        with self._lock:
            self._notes[key] = _Note(note, seconds)

    def drop(self, key: str, seen: bytes) -> None:
        """Take ``seen`` away if it is still noted under ``key``."""
        with self._lock:
            noted = self._notes.get(key)
            if noted is not None and noted.text == seen:
                del self._notes[key]

    def fail(self, key: str, mine: bytes, reason: bytes, seconds: float) -> None:
        """Take the claim ``mine`` back, and leave ``reason``."""
        with self._lock:
            self._notes[mine] = _Note(reason, seconds)
            noted = self._notes.get(key)
            if noted is not None and noted.text == mine:
                del self._notes[key]

    def reason(self, claim: bytes) -> bytes | None:
        """Return why ``claim`` was taken back, if it was."""
        with self._lock:
            noted = self._notes.get(claim)
            return noted.text if noted else None
