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


@pytest.fixture(scope="module")
def tab(browser: Browser, started_previewing: Previewing) -> Iterator[Page]:
    """A tab for all tests of a file; what its pages do wrong fails the last of them."""
    with visit(browser, started_previewing) as page:
        yield page


@pytest.fixture
def page(tab: Page, previewing: Previewing) -> Page:
    """The preview as a first visit finds it."""
    tab.unroute_all()
    # What a page leaves behind when it goes is cleared from one that keeps nothing.
    tab.goto(previewing.url + "/preview/static/icon.svg")
    tab.evaluate("localStorage.clear()")
    open_page(tab, previewing)
    return tab


def open_page(page: Page, previewing: Previewing, link: str = "/preview") -> None:
    """Open the preview, and wait until the first message is shown."""
    page.goto(previewing.url + link, wait_until="domcontentloaded")
    page.wait_for_selector("#state.ready, #state.check")


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
        open_page(page, previewing)
        yield page
