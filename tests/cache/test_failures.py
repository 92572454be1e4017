"""What a failed fetch means for who asks next, with a clock that is set and fetches that run at once."""

from __future__ import annotations

import pytest

from proxy.cache import Cache, Fetched, Group, Key, Lifetimes, MemoryBackend, State, Tiered
from proxy.clock import TRIES_OUT, Deadline, Priority

KEY = Key("unit/A", "page")
SOON = Deadline.after(600)


class Lasting(Exception):
    """What asking again would not change."""


class Asking:
    """One process's cache. ``error``: what the next fetches raise; ``fetched``: for whom they were."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.error: Exception | None = None
        self.fetched: list[Priority] = []
        lifetimes = Lifetimes(fresh=10, stale=1000, missing=300)
        store = Tiered(
            MemoryBackend(), lifetimes, lambda: self.now, lambda job: job(), l1_bytes=10**6, fetch_seconds=60
        )
        self.cache = Cache(store, Group(lambda job: job()), lambda: self.now, lasting=(Lasting,))

    def fetch(self, *, priority: Priority) -> Fetched:
        self.fetched.append(priority)
        if self.error is not None:
            raise self.error
        return Fetched(b"value", found=True)

    def read(self) -> State:
        return self.cache.get_or_fetch(KEY, self.fetch).wait(SOON).freshness.state


def test_a_failure_that_lasts_answers_who_asks_until_nothing_would_be_forgotten_too() -> None:
    asking = Asking()
    asking.error = Lasting("unknown locale")
    for _ in range(3):
        with pytest.raises(Lasting, match="unknown locale"):
            asking.read()
    assert asking.fetched == [Priority.FOREGROUND]
    asking.now += 300
    asking.error = None
    assert asking.read() is State.MISS
    assert asking.read() is State.HIT


def test_a_failure_that_passes_answers_nobody_else() -> None:
    asking = Asking()
    asking.error = ValueError("down")
    for _ in range(3):
        with pytest.raises(ValueError, match="down"):
            asking.read()
    assert len(asking.fetched) == 3


@pytest.mark.parametrize(("error", "pause"), [(ValueError("down"), 1.0), (Lasting("unknown"), 300.0)])
def test_a_refresh_that_failed_is_tried_again_after_its_pause(error: Exception, pause: float) -> None:
    asking = Asking()
    asking.read()
    asking.now += 10
    asking.error = error
    for _ in range(3):
        assert asking.read() is State.STALE
    assert asking.fetched == [Priority.FOREGROUND, Priority.VALIDATION]
    asking.now += pause
    assert asking.read() is State.STALE
    assert asking.fetched[2:] == [Priority.VALIDATION]


def test_a_refresh_that_failed_for_good_does_not_answer_once_the_entry_is_gone() -> None:
    asking = Asking()
    asking.read()
    asking.now += 900
    asking.error = Lasting("unknown")
    assert asking.read() is State.STALE
    asking.now += 100
    with pytest.raises(Lasting):
        asking.read()
    assert asking.fetched[-1] is Priority.FOREGROUND
    assert len(asking.fetched) == 3


@pytest.mark.parametrize(("error", "pause"), [(ValueError("down"), 1.0), (Lasting("unknown"), 300.0)])
def test_what_nobody_waits_for_is_tried_again_after_its_pause(error: Exception, pause: float) -> None:
    asking = Asking()
    asking.error = error
    for _ in range(3):
        assert not asking.cache.get_or_fetch(KEY, asking.fetch, awaited=False).is_ready
    assert asking.fetched == [Priority.VALIDATION]
    with pytest.raises(type(error)):
        asking.read()
    assert asking.fetched[1:] == [Priority.FOREGROUND]
    asking.now += pause
    asking.cache.get_or_fetch(KEY, asking.fetch, awaited=False)
    assert asking.fetched[2:] == [Priority.VALIDATION]


def test_a_change_of_the_product_forgets_its_failures_and_no_others() -> None:
    asking = Asking()
    asking.error = Lasting("unknown")
    keys = KEY, Key("unit/A", "another"), Key("unit/B", "page")
    for key in keys:
        with pytest.raises(Lasting):
            asking.cache.get_or_fetch(key, asking.fetch).wait(SOON)
    asking.error = None
    asking.cache.invalidate("unit/A")
    for key in keys[:2]:
        assert asking.cache.get_or_fetch(key, asking.fetch).wait(SOON).value == b"value"
    with pytest.raises(Lasting):
        asking.cache.get_or_fetch(keys[2], asking.fetch).wait(SOON)


def test_a_failure_that_is_over_is_not_kept() -> None:
    asking = Asking()
    asking.error = ValueError("down")
    for part in ("one", "another"):
        with pytest.raises(ValueError, match="down"):
            asking.cache.get_or_fetch(Key("unit/A", part), asking.fetch).wait(SOON)
        asking.now += 1
    assert [*asking.cache._backoff._products["unit/A"]] == ["another"]


def test_a_message_that_is_tried_out_leaves_no_failure_and_refreshes_nothing() -> None:
    asking = Asking()
    token = TRIES_OUT.set(True)
    try:
        asking.error = Lasting("unknown")
        for _ in range(2):
            with pytest.raises(Lasting):
                asking.read()
        assert asking.fetched == [Priority.TRIAL] * 2
        asking.error = None
        asking.read()
        asking.now += 10
        assert asking.read() is State.STALE
    finally:
        TRIES_OUT.reset(token)
    assert asking.fetched == [Priority.TRIAL] * 3


def test_a_refresh_asked_for_is_not_content_with_a_stale_entry() -> None:
    asking = Asking()
    asking.read()
    assert asking.cache.refresh(KEY, asking.fetch).is_ready
    asking.now += 10
    assert asking.cache.refresh(KEY, asking.fetch).wait(SOON).freshness.state is State.MISS
    assert asking.fetched == [Priority.FOREGROUND, Priority.BACKGROUND]
    assert asking.read() is State.HIT
    asking.cache.refetch(KEY, asking.fetch).wait(SOON)
    assert asking.fetched[2:] == [Priority.FOREGROUND]
