from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.trustpilot import upstream as module
from tests.trustpilot.upstream import Upstream, Walk


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A peer that answers what the test says."""
    with module.upstream() as server:
        yield server


@pytest.fixture
def walk(upstream: Upstream) -> Walk:
    """The proxy's way to it."""
    return Walk(upstream.url)
