"""What people had deleted at Trustpilot leaves all stores: "You must delete" it (Trustpilot: Data Solutions)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from proxy.cache.backend import FOR_GOOD_SECONDS, Backend
from proxy.clock import Now, in_turns
from proxy.events import Deleted, Report, unheard
from proxy.reviews import Updates

EVERY_SECONDS = 3600.0
OVERLAP_SECONDS = 86_400.0
FIRST_SECONDS = 30 * 86_400.0
"""How far back the first look goes: what is cached may have been so by an earlier proxy."""

_KEY = "sync:deletions"
_MOST_PAGES = 1000

_List = Callable[[float, str | None], tuple[list[str], str | None]]


class Lists(Protocol):
    """The calls that list what was deleted since a moment, a page at a time."""

    def reviews(self, since: float, token: str | None) -> tuple[list[str], str | None]:
        """Return ids of reviews, and the token of the next page."""

    def consumers(self, since: float, token: str | None) -> tuple[list[str], str | None]:
        """Return ids of consumers, and the token of the next page."""


class Deletions:
    """Looks once an hour, from the last look on with a day's overlap."""

    def __init__(
        self,
        lists: Lists,
        updates: Updates,
        backend: Backend,
        business_units: Sequence[str],
        now: Now,
        report: Report = unheard,
    ) -> None:
        self._lists = lists
        self._updates = updates
        self._backend = backend
        self._units = business_units
        self._now = now
        self._report = report
        self._removed: dict[str, float] = {}
        """When what was removed already was so, which the overlap lists again."""

    def is_due(self) -> bool:
        """Tell whether nobody has looked for an hour. Raises :class:`~proxy.cache.BackendDown`."""
        return self._now() >= self._last() + EVERY_SECONDS

    def remove(self) -> None:
        """Remove what was deleted since the last look.

        Raises :class:`~proxy.trustpilot.errors.TrustpilotError` or :class:`~proxy.cache.BackendDown`.
        """
        at, last = self._now(), self._last()
        since = (last or at - FIRST_SECONDS) - OVERLAP_SECONDS
        self._remove(self._lists.reviews, since, self._updates.remove_reviews)
        self._remove(self._lists.consumers, since, self._updates.remove_consumers)
        self._backend.set(_KEY, repr(at).encode(), FOR_GOOD_SECONDS)
        self._removed = {name: when for name, when in self._removed.items() if when > since - EVERY_SECONDS}

    def _remove(self, list_: _List, since: float, remove: Callable[[str, list[str]], None]) -> None:
        token: str | None = None
        for _ in range(_MOST_PAGES):
            listed, token = list_(since, token)
            names = [name for name in listed if name not in self._removed]
            for unit in in_turns(self._units if names else ()):
                remove(unit, names)
            self._removed.update(dict.fromkeys(names, self._now()))
            self._report(Deleted(len(names)))
            if token is None:
                return

    def _last(self) -> float:
        kept = self._backend.get(_KEY)
        try:
            return float(kept) if kept else 0.0
        except ValueError:
            return 0.0
