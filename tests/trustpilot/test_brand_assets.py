"""Pictures of stars and the shop's page: one call each for all, kept for weeks, never waited for."""

from __future__ import annotations

from collections import Counter

import pytest

from proxy.cache import MemoryBackend
from proxy.trustpilot import Busy, NotFound, TrustpilotError, Unreachable
from proxy.trustpilot.brand_assets import (
    ABSENT_SECONDS,
    FAILED_SECONDS,
    KEPT_SECONDS,
    QUIET_SECONDS,
    RETRY_SECONDS,
    KeptAssets,
)


class Calls:
    """Trustpilot's answers, counted."""

    def __init__(self, error: TrustpilotError | None = None) -> None:
        self.error = error
        self.made: Counter[str] = Counter()

    def stars_image(self, stars: float) -> str | None:
        return self._made(f"https://images.example/{stars:g}.png")

    def shop_page(self, business_unit: str) -> str | None:
        return self._made(f"https://www.trustpilot.com/review/{business_unit}.example")

    def _made(self, address: str) -> str:
        self.made[address] += 1
        if self.error:
            raise self.error
        return address


class World:
    """Workers that share a backend, and the clock that they go by."""

    def __init__(self, calls: Calls) -> None:
        self.now = 1_700_000_000.0
        self.calls = calls
        self.backend = MemoryBackend(lambda: self.now)

    def worker(self) -> KeptAssets:
        return KeptAssets(self.calls, self.backend, "api", ("u",), lambda: self.now)


def test_what_one_worker_fetched_all_others_know_at_once_and_after_a_restart() -> None:
    world = World(Calls())
    first = world.worker()
    assert (first.known.stars_image(4.5), first.known.shop_page("u")) == (None, None)
    assert world.calls.made == {}
    assert first.fetch()
    second = world.worker()
    second.load()
    for worker in (first, second):
        assert worker.known.stars_image(4.5) == "https://images.example/4.5.png"
        assert worker.known.shop_page("u") == "https://www.trustpilot.com/review/u.example"
    third = world.worker()
    assert third.known.stars_image(4.5) is None
    assert third.fetch()
    assert third.known.stars_image(4.5) is not None
    assert world.calls.made.total() == 2


def test_an_address_outlives_its_weeks_until_there_is_another() -> None:
    world = World(Calls())
    worker = world.worker()
    worker.known.stars_image(4.5)
    worker.fetch()
    world.now += KEPT_SECONDS + 1
    world.calls.error = Unreachable("down")
    assert worker.known.stars_image(4.5) is not None
    assert worker.fetch()
    assert worker.known.stars_image(4.5) is not None
    assert world.calls.made.total() == 2


@pytest.mark.parametrize(
    ("error", "seconds"), [(NotFound("404"), ABSENT_SECONDS), (Unreachable("down"), FAILED_SECONDS)]
)
def test_that_there_is_nothing_is_remembered_by_all(error: TrustpilotError, seconds: float) -> None:
    world = World(Calls(error))
    for worker in (world.worker(), world.worker()):
        assert worker.known.stars_image(3) is None
        assert worker.fetch()
        assert worker.known.stars_image(3) is None
    assert world.calls.made.total() == 1
    world.now += seconds + 1
    worker.known.stars_image(3)
    worker.fetch()
    assert world.calls.made.total() == 2


def test_where_no_call_can_be_spared_it_is_tried_again() -> None:
    world = World(Calls(Busy("no calls to spare")))
    worker = world.worker()
    heard: list[bool] = []
    worker.when_found(lambda: heard.append(True))
    worker.known.stars_image(1)
    assert not worker.fetch()
    world.calls.error = None
    assert worker.fetch()
    assert (worker.known.stars_image(1), heard) == ("https://images.example/1.png", [True])


@pytest.mark.parametrize("junk", [b"junk", b"7", b'["https://a.example", "soon"]', b"[7, 8.5]", b"\xff"])
def test_junk_where_an_address_is_kept_counts_as_absent(junk: bytes, caplog: pytest.LogCaptureFixture) -> None:
    world = World(Calls())
    world.backend.set("brand/api/stars/4.5", junk, 100)
    worker = world.worker()
    worker.load()
    assert caplog.messages == ["what is stored as brand/api/stars/4.5 is not the proxy's: treated as absent"]
    assert worker.known.stars_image(4.5) is None
    assert worker.fetch()
    assert worker.known.stars_image(4.5) is not None


def test_nobody_can_have_other_things_asked_for() -> None:
    world = World(Calls())
    worker = world.worker()
    assert (worker.known.shop_page("another"), worker.known.stars_image(0.5)) == (None, None)
    assert worker.fetch()
    assert world.calls.made == {}


@pytest.mark.parametrize("ticks", [0, 1])
def test_what_is_asked_for_is_fetched_in_a_quiet_moment_and_tried_again(ticks: int) -> None:
    world = World(Calls(Busy("no calls to spare")))
    first = world.worker()
    found: list[bool] = []
    first.when_found(lambda: found.append(True))
    for _ in range(ticks):
        first.tick()
    first.known.stars_image(2.5)
    for seconds, made in ((0.0, 0), (QUIET_SECONDS - 0.1, 0), (0.1, 1), (RETRY_SECONDS - 0.1, 1), (0.1, 2)):
        world.now += seconds
        first.tick()
        assert world.calls.made.total() == made
    world.calls.error = None
    world.now += RETRY_SECONDS
    first.tick()
    assert (first.known.stars_image(2.5), found) == ("https://images.example/2.5.png", [True])
    second = world.worker()
    second.tick()
    assert second.known.stars_image(2.5) == "https://images.example/2.5.png"
    assert world.calls.made.total() == 3
