"""One real Chromium for every test of this process; each test gets a context, and so a visitor, of its own.

One only: Playwright keeps an event loop in this thread, beside which it starts no second one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.npm import modules
from tools.leaks import WATCH

CHROMIUM = "/usr/bin/chromium-headless-shell"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --disable-dev-shm-usage"
)
# The first time a browser asks without the credential that its address holds; and some tests end the proxy.
_HARMLESS = ("status of 401", "ERR_CONNECTION")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as home:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS.split(), env={"HOME": home, "PATH": "/usr/bin:/bin"}
        )
        yield launched
        launched.close()


@contextmanager
def visitor(browser: Browser, proxy: str = "", *, console: bool = True, **how: Any) -> Iterator[Page]:
    """Open a tab in a context made with ``how``, and fail for what its pages do wrong.

    What the proxy at that address says to it is looked through for secrets. Errors in the ``console`` count, but for
    pages that show what others wrote: the browser says there what it refused.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "answers.har"
        context = browser.new_context(reduced_motion="reduce", record_har_path=report if proxy else None, **how)
        page = context.new_page()
        page.set_default_timeout(15_000)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        if console:
            page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        try:
            yield page
        finally:
            context.close()
        if proxy:
            WATCH.har(report, proxy)
        assert [error for error in errors if not any(part in error for part in _HARMLESS)] == []


def violations(page: Page) -> list[str]:
    """Return what axe-core finds wrong, from moderate up."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe())
    found = page.evaluate("axe.run(document, {iframes: false, resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']]}"
        for one in found["violations"]
        if one["impact"] in ("moderate", "serious", "critical")
    ]


def fits(page: Page) -> bool:
    """Tell whether the page is no wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def artefact(name: str) -> Path:
    """Return where a screenshot is kept."""
    folder = Path(__file__).parent / "artefacts"
    folder.mkdir(exist_ok=True)
    return folder / name


@cache
def _axe() -> str:
    return (modules() / "axe-core/axe.min.js").read_text()
