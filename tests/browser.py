"""One real Chromium for every test of this process; each test gets a context, and so a visitor, of its own.

One only: Playwright keeps an event loop in this thread, beside which it starts no second one.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.npm import modules
from tools.leaks import WATCH

CHROMIUM = "/usr/bin/chromium-headless-shell"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --disable-dev-shm-usage"
)
# For a machine that does much else beside.
PATIENCE_MILLISECONDS = 60_000
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
        context = browser.new_context(
            reduced_motion="reduce",
            record_har_path=report if proxy else None,
            # What is the same for everybody holds nobody's secrets.
            record_har_url_filter=re.compile(r"^(?!.*/static/)"),
            **how,
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MILLISECONDS)
        expect.set_options(timeout=PATIENCE_MILLISECONDS)
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


def faults(page: Page, name: str) -> list[str]:
    """Return what axe finds wrong, and whether the page is wider than its window; keep a picture of what has any."""
    fits = page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    found = [*violations(page), *([] if fits else ["too wide"])]
    if found:
        page.screenshot(path=Path(__file__).parent / "artefacts" / f"{name}.png", full_page=True)
    return found


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


@cache
def _axe() -> str:
    return (modules() / "axe-core/axe.min.js").read_text()
