from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.running import RunningProxy, RunningRedis, RunningSandbox

pytest_plugins = ["tests.watching", "tests.browser"]


# Where the environment keeps Python from storing what it compiled, each process would compile all tests anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_configure() -> None:
    # How long an example takes says something about the machine only.
    hypothesis.settings.register_profile("busy", deadline=None)
    hypothesis.settings.load_profile("busy")
    # A shell starts a background job with SIGINT ignored, and so would be every process that a test starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="only tests that need no installed program and no started proxy"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("quick"):
        quick = [item for item in items if isinstance(item, pytest.Function) and _is_quick(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in quick])
        items[:] = quick
    # The long files first: xdist hands out files in this order, and at the end nobody should wait for one.
    lengths = Counter[Path]()
    for item in items:
        lengths[item.path] += _length(item)
    items.sort(key=lambda item: -lengths[item.path])


def _length(item: pytest.Item) -> int:
    """Guess what a test takes, in fiftieths of a second: a browser, a start of a proxy, or next to nothing.

    A file whose tests take longer than they look says so, in ``SECONDS_EACH``.
    """
    fixtures = {*getattr(item, "fixturenames", ())}
    if fixtures & {"browser", "page"}:
        return 150
    if not isinstance(item, pytest.Function):
        return 20
    told: float = getattr(item.module, "SECONDS_EACH", 0.02 if _is_quick(item) else 0.4)
    return int(50 * told)


_STARTERS = {"RunningProxy", "RunningRedis", "Process", "subprocess", "Browser", "Page"}
_STARTED = {"proxy", "shared_proxy", "redis_server", "browser"}


def _is_quick(item: pytest.Function) -> bool:
    """Tell whether a test starts nothing itself, by what its module has imported and its fixtures are."""
    starts = _STARTERS & vars(item.module).keys() or _STARTED & set(item.fixturenames)
    return not starts and "redis" not in item.nodeid


@pytest.fixture(scope="session")
def started_sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(started_sandbox: RunningSandbox) -> RunningSandbox:
    """The sandbox with its own catalogue, its best behaviour and no calls counted."""
    started_sandbox.reset()
    return started_sandbox


@pytest.fixture
def proxy(sandbox: RunningSandbox) -> Iterator[RunningProxy]:
    """A running proxy with an empty cache."""
    with RunningProxy(sandbox) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def shared_proxy(started_sandbox: RunningSandbox) -> Iterator[RunningProxy]:
    """One proxy for all tests of a file, with all its doors open, for those that leave nothing behind in it."""
    # The file before may have left it failing, whichever that was.
    started_sandbox.reset()
    with RunningProxy(started_sandbox, TOKEN_ENDPOINT="true", PREVIEW="true") as proxy:
        yield proxy


@pytest.fixture
def redis_server() -> Iterator[RunningRedis]:
    """A Redis with nothing in it."""
    with RunningRedis() as server:
        yield server
