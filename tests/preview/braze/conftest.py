"""Fixtures of the Braze room: a world in memory, and an endpoint on a real socket."""

from collections.abc import Iterator

import pytest

from .endpoint import Endpoint, running_endpoint
from .memory import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with running_endpoint() as running:
        yield running
