"""One proxy with the preview on, and one real browser, for all tests of the room."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, sync_playwright

from tests.running import SECRET, RunningProxy, RunningSandbox
from tools.leaks import WATCH

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as home:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS.split(), env={"HOME": home, "PATH": "/usr/bin:/bin"}
        )
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, previewing: Previewing, tmp_path: Path) -> Iterator[Page]:
    """The preview as a first visit finds it; what the page itself does wrong fails the test."""
    report = tmp_path / "answers.har"
    context = browser.new_context(
        record_har_path=report,
        viewport={"width": 1280, "height": 900},
        http_credentials={"username": "braze", "password": SECRET},
        permissions=["clipboard-read", "clipboard-write"],
    )
    page = context.new_page()
    page.set_default_timeout(15_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(previewing.url + "/preview")
    page.wait_for_selector("#state.ready, #state.check")
    yield page
    context.close()
    WATCH.har(report, previewing.url)
    assert errors == []


def artefact(name: str) -> Path:
    """Return where a screenshot is kept."""
    folder = Path(__file__).parents[1] / "artefacts"
    folder.mkdir(exist_ok=True)
    return folder / name
