"""Braze's cache: by URL, five minutes, up to four hours."""

import pytest

from proxy.preview.braze import MemoryAnswers, MistakeKind
from proxy.preview.braze.wire import CACHE_DEFAULT_SECONDS, Question

from .memory import World, answer


def tag(options: str = "", url: str = "https://x.test/a?b=1") -> str:
    return "{% connected_content " + url + " " + options + " %}"


def test_the_same_url_is_asked_once_within_five_minutes(world: World) -> None:
    """Braze: Cache Connected Content responses, "Default cache settings"."""
    world.steps = [answer(200, "one"), answer(200, "two")]
    assert world.render(tag() + tag()).output == "oneone"
    world.now += 299
    cached = world.render(tag())
    assert (cached.output, cached.calls[0].from_cache) == ("one", True)
    assert cached.calls[0].attempts == 0
    assert cached.calls[0].duration_ms is None
    world.now += 2
    fresh = world.render(tag())
    assert (fresh.output, fresh.calls[0].from_cache) == ("two", False)


def test_the_cache_goes_by_the_full_url_and_nothing_else(world: World) -> None:
    """Braze: Cache Connected Content responses, "Things to know"."""
    world.render(tag() + tag(':headers {"X-Other": "1"} :save r') + tag(url="https://x.test/a?b=2"))
    assert [request.url for request in world.sent] == ["https://x.test/a?b=1", "https://x.test/a?b=2"]


@pytest.mark.parametrize(("asked", "kept"), [(1, 300), (300, 300), (900, 900), (14_400, 14_400), (99_999, 14_400)])
def test_cache_max_age_stays_between_five_minutes_and_four_hours(world: World, asked: int, kept: int) -> None:
    """Braze: Cache Connected Content responses, "Cache time"."""
    rendering = world.render(tag(f":cache_max_age {asked}"))
    assert rendering.calls[0].cached_seconds == kept
    kinds = [mistake.kind for mistake in rendering.mistakes]
    assert (MistakeKind.CACHE_AGE in kinds) is (asked != kept)
    world.now += kept - 1
    world.render(tag())
    assert len(world.sent) == 1
    world.now += 2
    world.render(tag())
    assert len(world.sent) == 2


def test_no_cache_asks_every_time(world: World) -> None:
    """Braze: Cache Connected Content responses, "Cache busting"."""
    rendering = world.render(tag(":no_cache") + tag(":no_cache"))
    assert len(world.sent) == 2
    assert rendering.calls[0].cached_seconds is None


@pytest.mark.parametrize(("options", "sent"), [("", 2), (":cache_max_age 900", 1)])
def test_post_is_cached_only_when_an_age_is_given(world: World, options: str, sent: int) -> None:
    """Braze: Cache Connected Content responses, "Default cache settings"."""
    post = tag(f":method post :body a=1 {options}")
    world.render(post + post)
    assert len(world.sent) == sent


def test_two_bodies_are_not_the_same_post(world: World) -> None:
    world.render("".join(tag(f":method post :body a={n} :cache_max_age 900") for n in (1, 2, 1)))
    assert [request.body for request in world.sent] == [b"a=1", b"a=2"]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_failure_is_not_cached(world: World, status: int) -> None:
    """Braze: Cache Connected Content responses, "Cache time": what is cached is the value a call returns."""
    world.steps = [answer(status), answer(200, "good")]
    assert world.render(tag() + tag()).output == "good"


def test_an_age_must_be_a_number_and_may_be_liquid(world: World) -> None:
    rendering = world.render("{% assign age = 600 %}" + tag(":cache_max_age {{age}}"))
    assert rendering.calls[0].cached_seconds == 600


def test_the_cache_is_small_and_forgets_the_longest_unused() -> None:
    """Braze: Cache Connected Content responses: the cache is volatile."""
    cache = MemoryAnswers(lambda: 0.0, most=2)
    first, second, third = (Question("GET", f"https://x.test/{n}") for n in range(3))
    cache.put(first, answer(200, "1"), CACHE_DEFAULT_SECONDS)
    cache.put(second, answer(200, "2"), CACHE_DEFAULT_SECONDS)
    cache.get(first)
    cache.put(third, answer(200, "3"), CACHE_DEFAULT_SECONDS)
    assert cache.get(second) is None
    assert cache.get(first) is not None
    assert cache.get(third) is not None
