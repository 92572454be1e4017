"""What a place that keeps bytes has to offer: one protocol for the cache, the quota, the token and the invitations.

Three keep it: :mod:`proxy.cache.memory`, :mod:`proxy.cache.sqlite` and :mod:`proxy.cache.redis`. Everything else is
written once, above it, and ``tests/cache/test_backends.py`` runs against all three.

Every method may raise :class:`BackendDown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

FOR_GOOD_SECONDS = 3_153_600_000.0
"""A hundred years, for what is kept until it is replaced."""


class BackendDown(Exception):
    """The backend can't be had: not reachable, too slow, or refusing (full, read-only, damaged)."""


class Product(NamedTuple):
    """What is kept of one product: its entries by part, and its generation.

    ``generation`` is the moment of the last :meth:`Backend.replace`, in microseconds since the epoch; it rises with
    each and never goes back.
    """

    parts: Mapping[str, bytes]
    generation: int


class Lock(NamedTuple):
    """A lock that is held. ``token`` tells its holder from a later one."""

    name: str
    token: str


class Change(NamedTuple):
    """One thing that happened, here or in another process.

    ``replaced``: the parts of ``product`` are others since ``generation``. ``written``: a part of ``product`` can be
    read. Both ``written`` and ``released`` may name a ``lock`` that is free again, with what its holder left for
    those who wait. ``is_own``: it was done through this very backend.
    """

    kind: Literal["replaced", "written", "released"]
    product: str = ""
    generation: int = 0
    lock: str = ""
    outcome: bytes = b""
    is_own: bool = False


class Changes(NamedTuple):
    """What happened since a moment in the feed. ``cursor`` is the moment to ask from next.

    Not ``complete``: more happened than is remembered, so whatever was read before may be old. ``are_last`` tells
    whether surely nothing happened after them: asked for each answer, it takes a fraction of a microsecond.
    """

    cursor: int
    are_last: Callable[[], bool]
    items: Sequence[Change] = ()
    complete: bool = True


class Window(NamedTuple):
    """At most ``calls`` in any ``seconds``. Beyond :data:`EXACT_SECONDS` calls are counted by the day."""

    name: str
    calls: int
    seconds: int


class Use(NamedTuple):
    """How much of a window is used, and in how many seconds there is room for one more call (0.0: there is)."""

    window: Window
    used: int
    frees_in: float


class Usage(NamedTuple):
    """What :meth:`Backend.count` did: whether it counted, and how much of each window is used after it."""

    counted: bool
    uses: tuple[Use, ...]


EXACT_SECONDS = 86_400
"""The longest window that moves with each call. A longer one, a year's, moves at midnight UTC and costs nothing."""

DAY_SECONDS = 86_400
CHANGES_REMEMBERED = 1000
"""Who asks for changes that lie further back than so many later ones is told that something is missing."""


class Backend(Protocol):
    """Keeps bytes for everybody who shares it. It may forget an entry at any time, and never returns a wrong one."""

    @property
    def is_heard(self) -> bool:
        """Tell whether :meth:`changes` is told right now what others do; else what was read may be old."""

    @property
    def l1_ttl(self) -> float:
        """Return the seconds for which what was read may be repeated although nothing was heard of it.

        A connection may be broken for a while before anybody notices; infinite where that can't be.
        """

    @property
    def keeps_entries(self) -> bool:
        """Tell whether entries are kept at all; else none need be made ready for it."""

    def read(self, product: str, part: str | None = None) -> Product:
        """Return the entries of ``product``, or the one named ``part``, that are kept, and its generation."""

    def write(
        self, product: str, part: str, entry: bytes, generation: int, *, ttl: float, lock: Lock | None = None
    ) -> bool:
        """Keep ``entry`` for ``ttl`` seconds, unless ``product`` was replaced since ``generation``.

        Tells whether it was kept. Releases ``lock`` in either case.
        """

    def replace(self, product: str, parts: Mapping[str, bytes], generation: int | None, *, ttl: float) -> int | None:
        """Keep ``parts`` and nothing else of ``product``; raise its generation and return that.

        Does nothing and returns ``None`` if ``product`` was replaced since ``generation``, unless that is ``None``.
        ``ttl`` has to be longer than any fetch that may be under way takes.
        """

    def scan(self, prefix: str) -> Iterator[tuple[str, str, bytes]]:
        """Go through product, part and entry of all products that begin with ``prefix``, some perhaps twice."""

    def lock(self, name: str, ttl: float) -> Lock | None:
        """Take the lock ``name``, which ends by itself after ``ttl`` seconds; ``None`` while another holds it."""

    def prolong(self, lock: Lock, ttl: float) -> bool:
        """Hold ``lock`` for ``ttl`` seconds from now on; tell whether it was still held."""

    def release(self, lock: Lock, outcome: bytes = b"") -> None:
        """Give ``lock`` back, if it is still held, and tell those who wait for it ``outcome``."""

    def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        """Keep ``value`` for ``ttl`` seconds and return ``None``, or return what is kept under ``key`` already."""

    def set(self, key: str, value: bytes, ttl: float) -> None:
        """Keep ``value`` for ``ttl`` seconds in place of whatever is kept under ``key``."""

    def get(self, key: str) -> bytes | None:
        """Return what is kept under ``key``."""

    def remove(self, key: str, expected: bytes) -> None:
        """Remove what is kept under ``key`` if it is ``expected``."""

    def count(self, windows: Sequence[Window], calls: int = 1, *, missed: Sequence[float] = ()) -> Usage:
        """Count ``calls`` in all ``windows`` if each then holds at most its ``calls``, else in none.

        The windows are the same at each call but for how much they may hold; what costs nothing of a year is counted
        without the windows that are counted by the day. ``missed`` are the ages, in seconds, of
        calls that were made already and are counted in any case. No ``calls``: return how much is used.
        """

    def changes(self, since: int) -> Changes:
        """Return what happened since the cursor ``since``, at once; 0 is the beginning."""

    def wait(self, since: int, seconds: float) -> None:
        """Return when :meth:`changes` has something since ``since``, a few milliseconds later at most.

        Also after ``seconds``, and where nothing is heard, sooner.
        """

    def is_reachable(self) -> bool:
        """Tell whether it can be used right now. Never raises."""

    def close(self) -> None:
        """Let go of files and connections. Never raises."""
