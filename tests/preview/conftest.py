"""One proxy with the preview on, for all tests of the room, and its page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
import requests
from playwright.sync_api import Browser, Page

from tests.browser import visitor
from tests.running import SECRET, RunningProxy, RunningSandbox


class Previewing(RunningProxy):
    """A proxy with ``PREVIEW=true``, and its two questions."""

    def ask(self, path: str, **body: Any) -> Any:
        answer = requests.post(self.url + path, json=body, headers={"X-Api-Key": SECRET}, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def render(self, body: str, channel: str = "email", **more: Any) -> Any:
        return self.ask("/preview/render", channel=channel, body=body, **more)


@pytest.fixture(scope="session")
def started_previewing(started_sandbox: RunningSandbox) -> Iterator[Previewing]:
    started_sandbox.reset()
    with Previewing(started_sandbox, PREVIEW="true") as proxy:
        yield proxy


@pytest.fixture
def previewing(started_previewing: Previewing, sandbox: RunningSandbox) -> Previewing:
    """The proxy with the preview, in front of a sandbox on its best behaviour."""
    return started_previewing


@pytest.fixture
def page(browser: Browser, previewing: Previewing) -> Iterator[Page]:
    """The preview as a first visit finds it; what the page itself does wrong fails the test."""
    with visit(browser, previewing) as page:
        yield page


@contextmanager
def visit(
    browser: Browser, previewing: Previewing, width: int = 1280, scheme: Literal["light", "dark"] = "light"
) -> Iterator[Page]:
    """Open the preview in a window of its own, and wait until the first message is shown."""
    how = {
        "viewport": {"width": width, "height": 900},
        "color_scheme": scheme,
        "http_credentials": {"username": "braze", "password": SECRET},
        "permissions": ["clipboard-read", "clipboard-write"],
    }
    with visitor(browser, previewing.url, console=False, **how) as page:
        page.goto(previewing.url + "/preview")
        page.wait_for_selector("#state.ready, #state.check")
        yield page
