"""The cache: entries that are fresh, stale or gone; one fetch per key; backends behind one small protocol.

A look-up reads as: find the entry; fresh: answer it; stale: answer it and refresh in the background; gone: join
the one call for its key and wait for it, but only until the deadline. The call runs beside its callers, so a caller
that runs out of time leaves and the call still ends for the others. What failed is left alone for a while.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import ClassVar, Generic, NamedTuple, Protocol, TypeVar

from cachetools import LRUCache
from msgspec import Struct
from msgspec.structs import replace

from proxy.cache.backend import Backend, BackendDown
from proxy.cache.entry import SKEW_SECONDS, Entry, FailedElsewhere, Freshness, Key, Lifetimes, Pace, State
from proxy.cache.memory import MemoryBackend
from proxy.cache.tiered import Tiered
from proxy.clock import TRIES_OUT, Deadline, Now, Priority, Spawn

__all__ = [
    "PATIENCE",
    "Backend",
    "BackendDown",
    "Cache",
    "Cached",
    "Call",
    "DeadlinePassed",
    "Entry",
    "FailedElsewhere",
    "Fetch",
    "Fetched",
    "Freshness",
    "Group",
    "Key",
    "Lifetimes",
    "Lookup",
    "MemoryBackend",
    "Pace",
    "Parts",
    "Patience",
    "State",
    "Tiered",
    "Updated",
]

T = TypeVar("T")


class DeadlinePassed(Exception):
    """The call had not ended by the caller's deadline. It goes on."""


class Patience:
    """Until when somebody waits for what is being done beside them: up to the latest deadline of all who joined."""

    def __init__(self) -> None:
        self.until = math.inf
        """On the monotonic clock; infinite before the first has said."""

    def extend(self, deadline: Deadline) -> None:
        """Note one more who waits."""
        self.until = deadline.at if self.until == math.inf else max(self.until, deadline.at)


PATIENCE: ContextVar[Patience | None] = ContextVar("patience", default=None)
"""Of those who wait for what this thread or greenlet does."""


class Call(Generic[T]):
    """One execution, and the place where its callers wait."""

    is_ready = False
    """Not to be had without waiting, when it was asked for."""

    def __init__(self) -> None:
        self.patience = Patience()
        self._done = threading.Event()
        self._result: T | None = None
        self._exception: Exception | None = None

    def set_result(self, result: T) -> None:
        self._result = result
        self._done.set()

    def set_exception(self, exception: Exception) -> None:
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


BACKOFF_SECONDS = 1.0
"""After a failed refresh its key is left alone this long: an entry is cached, so nobody needs the next one sooner."""

_PRODUCTS = 10_000


class Failure(Struct, frozen=True):
    """Why a fetch failed, and until when its key is left alone. ``answers``: who has no entry gets it too."""

    error: Exception
    until: float
    answers: bool


class Backoff:
    """Remembers failures by key, each for its time, and forgets those of a product that changed."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._products: LRUCache[str, dict[str, Failure]] = LRUCache(_PRODUCTS)

    def add(self, key: Key, error: Exception, seconds: float, *, answers: bool) -> None:
        now = self._now()
        with self._lock:
            kept = {
                part: failure for part, failure in self._products.get(key.product, {}).items() if now < failure.until
            }
            kept[key.part] = Failure(error, now + seconds, answers)
            self._products[key.product] = kept

    def get(self, key: Key) -> Failure | None:
        """Return why ``key`` is to be left alone, if it is."""
        with self._lock:
            failure = self._products.get(key.product, {}).get(key.part)
        return failure if failure is not None and self._now() < failure.until else None

    def drop(self, product: str) -> None:
        """Leave no key of ``product`` alone any more."""
        with self._lock:
            self._products.pop(product, None)


class Fetched(Struct, frozen=True):
    """What a fetch brought: the bytes to cache, and whether they hold anything for the product."""

    value: bytes
    found: bool
    source: object = None
    """What the bytes were made from, so that who waits for them in this process need not read them again."""


class Cached(Struct, frozen=True):
    """What to answer with."""

    is_ready: ClassVar = True
    value: bytes
    freshness: Freshness
    source: object = None
    """What the bytes were made from, where they were fetched just now."""

    def wait(self, _deadline: Deadline) -> Cached:
        """Return itself at once, as a :class:`Call` returns what it brought."""
        return self


Lookup = Cached | Call[Cached]
"""An entry that is there already, or a call that will bring it.

Waiting for one raises :class:`DeadlinePassed`, what the fetch raised, or :class:`FailedElsewhere`.
"""


class Updated(Struct, frozen=True):
    """What to cache in place of an entry. ``refresh``: serve it as stale, so that the next read has it fetched.

    ``found``: it holds something now, and lasts as long as what does, although the entry may have held nothing.
    """

    value: bytes
    refresh: bool
    found: bool = False


class Parts(NamedTuple):
    """All that is cached of a product, and the product's generation."""

    cached: dict[str, Cached]
    generation: int


Validate = Callable[[Key, float, Callable[[], object]], bool]
"""Told of a stale entry that was asked for, as of when it is, and how it is fetched; tells whether it sees to it."""


class Fetch(Protocol):
    """Gets what is to be cached. ``priority``: whether somebody waits for it, as nothing is cached."""

    def __call__(self, *, priority: Priority) -> Fetched:
        """Return what was fetched, or raise why it could not be."""


class Cache:
    """Answers from entries, and fetches each key once, however many ask for it."""

    def __init__(
        self,
        store: Tiered,
        group: Group[Cached],
        now: Now,
        lasting: tuple[type[Exception], ...] = (),
    ) -> None:
        """``lasting``: what a fetch may raise that asking again would not change; it is remembered like "nothing"."""
        self._store = store
        self._group = group
        self._lifetimes = store.lifetimes
        self._now = now
        self._lasting = lasting
        self._backoff = Backoff(now)
        self._validate: Validate = lambda _key, _as_of, _fetch: False
        store.when_changed.append(group.forget)
        store.when_changed.append(self._backoff.drop)

    def get_or_fetch(self, key: Key, fetch: Fetch, *, awaited: bool = True) -> Lookup:
        """Find the entry for ``key``; where it is stale or gone, see to it that ``fetch`` is under way.

        Returns at once: look several keys up first, then wait for them, and their fetches run side by side. With
        ``awaited`` false the caller can do without, and the fetch gives way to those that somebody waits for.
        """
        entry, generation = self._store.get(key)
        state = self._lifetimes.state(entry, self._now())
        if entry is None or state is State.MISS:
            priority = Priority.FOREGROUND if awaited else Priority.VALIDATION
            if TRIES_OUT.get():
                priority = Priority.TRIAL
            return self._failed(key, awaited=awaited) or self._fetch(key, generation, fetch, priority=priority)
        if state is State.STALE and self._backoff.get(key) is None and not TRIES_OUT.get():
            self._revalidate(key, entry, generation, fetch)
        return self._cached(entry, state)

    def refresh(self, key: Key, fetch: Fetch) -> Lookup:
        """Find a fresh entry for ``key``, or see to it that ``fetch`` is under way: a stale one is not enough."""
        cached, generation = self._find(key)
        if cached is not None and cached.freshness.state is State.HIT:
            return cached
        return self._failed(key) or self._fetch(key, generation, fetch, priority=Priority.BACKGROUND)

    def refetch(self, key: Key, fetch: Fetch) -> Lookup:
        """Have ``fetch`` called although a fresh entry is cached, which is stale from now on.

        Raises :class:`BackendDown`.
        """

        def change(part: str, entry: Entry) -> Entry:
            return self._outdated(entry) if part == key.part else entry

        self._store.update(key.product, change)
        return self._fetch(key, self._store.get(key).generation, fetch, priority=Priority.FOREGROUND)

    def validate_with(self, validate: Validate) -> None:
        """Tell ``validate`` of each stale entry that is asked for and may still be right, before it is fetched."""
        self._validate = validate

    def get(self, key: Key) -> Cached | None:
        """Return the entry for ``key`` if there is one that is not gone; never fetch."""
        return self._find(key)[0]

    def invalidate(self, product: str) -> None:
        """Drop all entries of ``product``, also those that are just being fetched. Raises :class:`BackendDown`."""
        self._store.invalidate(product)

    def update(self, product: str, change: Callable[[str, Cached], Updated | None]) -> None:
        """Put all entries of ``product`` through ``change``, which gets a part's name and what is cached.

        ``None`` drops the entry. What is just being fetched is not cached. Raises :class:`BackendDown`.
        """

        def updated(part: str, entry: Entry) -> Entry | None:
            updated = change(part, self._cached(entry, self._lifetimes.state(entry, self._now())))
            if updated is None:
                return None
            kept = replace(entry, value=updated.value, found=entry.found or updated.found)
            return self._outdated(kept) if updated.refresh else kept

        self._store.update(product, updated)

    def confirm(self, key: Key, at: float) -> bool:
        """Note that what is cached for ``key`` was right at ``at``; tell whether anything is cached.

        What an update marked for refreshing is not confirmed by this. Raises :class:`BackendDown`.
        """
        return self._store.confirm(key, at)

    def was_read(self, product: str) -> bool:
        """Tell whether a copy of ``product`` was asked for in this process since it was fetched or confirmed last."""
        return self._store.was_read(product)

    def parts(self, product: str) -> Parts:
        """Return all that is cached of ``product`` and is not gone. Raises :class:`BackendDown`."""
        parts, generation = self._store.parts(product)
        states = {part: self._lifetimes.state(entry, self._now()) for part, entry in parts.items()}
        kept = {part: self._cached(parts[part], state) for part, state in states.items() if state is not State.MISS}
        return Parts(kept, generation)

    def was_changed_after(self, key: Key, moment: float) -> bool:
        """Tell whether the product of ``key`` may have been changed after ``moment``, on whatever machine."""
        return self._find(key)[1] > (moment - SKEW_SECONDS) * 1_000_000

    def put(self, key: Key, fetched: Fetched, at: float, generation: int) -> bool:
        """Cache what was ``fetched`` at ``at``, unless its product changed since ``generation``; tell whether it is.

        Raises :class:`BackendDown`.
        """
        return self._store.put(key, Entry(fetched.value, fetched.found, at), generation)

    def scan(self, prefix: str, look: Callable[[str, str, bytes], None]) -> None:
        """Show ``look`` the product, the part and the value of every entry of the products named ``prefix…``.

        Raises :class:`BackendDown`.
        """
        self._store.scan(prefix, lambda product, part, entry: look(product, part, entry.value))

    def _find(self, key: Key) -> tuple[Cached | None, int]:
        """Return the entry unless it is gone, and its product's generation."""
        entry, generation = self._store.get(key)
        state = self._lifetimes.state(entry, self._now())
        if entry is None or state is State.MISS:
            return None, generation
        return self._cached(entry, state), generation

    def _revalidate(self, key: Key, entry: Entry, generation: int, fetch: Fetch) -> None:
        """Have a stale entry confirmed or fetched, beside the caller."""

        def refetch() -> None:
            self._fetch(key, generation, fetch, priority=Priority.BACKGROUND)

        if entry.outdated_at < math.inf:
            refetch()
        elif not (self._lifetimes.may_be_confirmed(entry, self._now()) and self._validate(key, entry.as_of, refetch)):
            self._fetch(key, generation, fetch, priority=Priority.VALIDATION)

    def _fetch(self, key: Key, generation: int, fetch: Fetch, *, priority: Priority) -> Call[Cached]:
        def work() -> Cached:
            lock = self._store.acquire_lock(key, generation)
            if isinstance(lock, Entry):
                return self._cached(lock, State.MISS)
            try:
                fetched = fetch(priority=priority)
            except Exception as error:
                # A refresh is the first to be refused. Who waits elsewhere with nothing cached may still fetch it.
                self._store.abandon(lock, error if priority is Priority.FOREGROUND else None)
                self._back_off(key, error, priority=priority)
                raise
            entry = Entry(fetched.value, fetched.found, self._now())
            self._store.commit(lock, entry)
            return Cached(entry.value, self._lifetimes.freshness(entry, State.MISS), fetched.source)

        return self._group.do(key, work)

    def _failed(self, key: Key, *, awaited: bool = True) -> Call[Cached] | None:
        """Return a call that failed already, where a fetch would only fail the same way again, or nobody waits."""
        failure = self._backoff.get(key)
        if failure is None or (awaited and not failure.answers):
            return None
        call: Call[Cached] = Call()
        call.set_exception(failure.error)
        return call

    def _back_off(self, key: Key, error: Exception, *, priority: Priority) -> None:
        if priority is Priority.TRIAL:
            return
        lasts = isinstance(error, self._lasting)
        # Why an entry was not refreshed says nothing once the entry is gone.
        answers = lasts and priority is Priority.FOREGROUND
        self._backoff.add(key, error, self._lifetimes.missing if lasts else BACKOFF_SECONDS, answers=answers)

    def _outdated(self, entry: Entry) -> Entry:
        return replace(entry, outdated_at=min(entry.outdated_at, self._now()))

    def _cached(self, entry: Entry, state: State) -> Cached:
        return Cached(entry.value, self._lifetimes.freshness(entry, state))
