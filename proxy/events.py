"""What the rooms tell about themselves, as typed events. Who listens is wired in; the rooms know nobody."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from random import getrandbits
from typing import Literal, NamedTuple

from msgspec import Struct

from proxy.clock import CAUSE

Report = Callable[[object], None]
"""Takes one event: a frozen struct of the room that reports it. Never raises, never waits."""

_MOST_WAITING = 100
"""More than these would not be in the processor's cache any more when their turn comes."""


class RequestFinished(Struct, frozen=True, gc=False):
    """One request was answered. Nothing in it can name a product, a person or a secret."""

    request_id: str
    method: str
    route: str
    """A path of the contract, or ``other``."""
    status: int
    cache: str
    """``hit``, ``stale`` or ``miss``; ``none`` for what does not come from the cache."""
    age: int
    """Of the copy, in seconds."""
    seconds: float
    bytes: int
    """Of the body as sent."""
    skus: int
    """How many were asked for."""
    sender: str
    """``X-Braze-Sender-Version``."""
    replayed: bool
    """An invitation that was answered like the first and not sent again."""


def new_request_id() -> str:
    """Return an id that no other request has."""
    # It has to be different, not secret. Written as a UUID (RFC 9562, version 4), which tells it from a token.
    digits = f"{getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


class RedisFailed(Struct, frozen=True, gc=False):
    """A question to Redis failed; ``refused``: Redis answered, with an error. Here, as Redis serves several rooms."""

    refused: bool


class FileFailed(Struct, frozen=True, gc=False):
    """The SQLite file could not be used. ``kind``: ``full``, ``locked``, ``damaged`` or ``other``."""

    kind: str


class CallStarted(Struct, frozen=True, gc=False):
    """A request to Trustpilot is being sent."""

    kind: str


class CallEnded(Struct, frozen=True, gc=False):
    """A request was answered or given up. ``outcome`` is the status, or the name of the error in lower case."""

    kind: str
    outcome: str
    seconds: float
    bytes: int


class CallNotMade(Struct, frozen=True, gc=False):
    """A call was wanted and not made. ``reason``: ``paused``, ``budgetspent`` or ``busy``."""

    reason: str


class AnswerMalformed(Struct, frozen=True, gc=False):
    """A 200 could not be read."""


class ReviewsDropped(Struct, frozen=True, gc=False):
    """So many reviews of one answer could not be read."""

    count: int


class BreakerTurned(Struct, frozen=True, gc=False):
    """The circuit breaker opened or closed."""

    is_open: bool


class Validated(Struct, frozen=True, gc=False):
    """One call told about so many products, of which so many are as they were."""

    products: int
    confirmed: int


class FeedRead(Struct, frozen=True, gc=False):
    """A shop's feed was read, and brought so many reviews.

    ``begun``: for the first time. ``restarted``: it does not lead to what was read last.
    """

    outcome: Literal["read", "begun", "restarted", "out_of_order", "failed"]
    reviews: int = 0


class Compared(Struct, frozen=True, gc=False):
    """A shop's summaries were compared, and so many products were fetched because of it."""

    products: int
    fetched: int


class Backfilled(Struct, frozen=True, gc=False):
    """So many reviews of a shop's list were read."""

    reviews: int


class Deleted(Struct, frozen=True, gc=False):
    """Trustpilot lists so many reviews and consumers as deleted that were not known to be."""

    names: int


def unheard(_event: object) -> None:
    """Report to nobody."""


class Happened(NamedTuple):
    """An event, when it was reported (seconds since the epoch), and the id of the request that it belongs to."""

    event: object
    at: float
    cause: str


Listener = Callable[[Sequence[Happened]], None]
"""Takes events, the frequent and the rare ones each in the order of their report. Never raises, never waits."""


class Events:
    """Has ``listeners`` hear what is reported.

    Counting and writing costs least for many events one after the other. So where there is a server with many
    requests at once, what each of them reports waits a moment for others. Its requests are greenlets of one thread.
    """

    def __init__(self, *listeners: Listener) -> None:
        """Have ``listeners`` told in this order. The first takes no lock that it would have to wait for."""
        self._listeners = listeners
        self._soon: Callable[[Callable[[], None]], object] | None = None
        self._waiting: deque[Happened] = deque()

    def wait_for(self, soon: Callable[[Callable[[], None]], object]) -> None:
        """From now on have events told by what is given to ``soon``, which calls it a moment later."""
        self._soon = soon

    def report(self, event: object) -> None:
        happened = Happened(event, time.time(), CAUSE.get())
        if self._soon is None or not isinstance(event, _FREQUENT):
            # What is rare may come from a thread of its own, to which the server's turns are nothing.
            self._tell([happened])
            return
        self._waiting.append(happened)
        waiting = len(self._waiting)
        if waiting == 1:
            self._soon(self.tell)
        elif waiting >= _MOST_WAITING:
            self.tell()

    def tell(self) -> None:
        """Have all hear what waits."""
        happened = list(self._waiting)
        if not happened:
            return
        try:
            self._tell(happened)
        finally:
            # Only now: a signal that comes meanwhile still finds them.
            for _ in happened:
                self._waiting.popleft()

    def tell_first(self) -> None:
        """Have the first listener hear what waits, some of it twice if need be.

        For the handler of a signal that ends the process: what it interrupts may hold a lock of the other listeners.
        """
        for listener in self._listeners[:1]:
            listener(list(self._waiting))

    def _tell(self, happened: Sequence[Happened]) -> None:
        for listener in self._listeners:
            listener(happened)


_FREQUENT = (RequestFinished, CallStarted, CallEnded)
