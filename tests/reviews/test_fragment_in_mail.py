"""Fragments as a mail client has them: by what html-validate, caniemail's data, Ruby's Liquid and Chromium say."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, CDPSession, Page

from tests.browser import violations, visitor
from tests.npm import modules
from tests.reviews.fragments import (
    WRITTEN,
    harmless_reviews,
    hostile_reviews,
    html_fragments,
    shown,
)
from tests.reviews.trustpilot import AllAssets

HERE = Path(__file__).parent
PROFILE: dict[str, Any] = json.loads((HERE / "mail.json").read_text("utf-8"))
"""``partly``: of each feature that not all clients know in full, a selector of the uses that some don't know."""

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
# How far each element's lightest and darkest points are from each other (WCAG 2, contrast ratio).
CONTRASTS = """async ([picture, selector]) => {
    const image = new Image()
    image.src = 'data:image/png;base64,' + picture
    await image.decode()
    const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext('2d')
    context.drawImage(image, 0, 0)
    const linear = part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    return [...document.querySelectorAll(selector)].map(element => {
        const box = element.getBoundingClientRect()
        const {data} = context.getImageData(box.x + scrollX, box.y + scrollY, box.width, box.height)
        let darkest = 1, lightest = 0, sum = 0
        for (let at = 0; at < data.length; at += 4) {
            const light = 0.2126 * linear(data[at]) + 0.7152 * linear(data[at + 1]) + 0.0722 * linear(data[at + 2])
            darkest = Math.min(darkest, light)
            lightest = Math.max(lightest, light)
            sum += light
        }
        return [element.textContent || element.alt, (lightest + 0.05) / (darkest + 0.05), 4 * sum / data.length]
    })
}"""
WIDER_THAN_ITS_PLACE = """
    [document.documentElement, ...document.querySelectorAll('td, span')]
        .filter(one => one.scrollWidth > Math.max(one.clientWidth, one.offsetWidth)).map(one => one.outerHTML)"""
# From the picture of the stars to the text beside it.
GAP = """() => {
    const [stars, text] = document.querySelectorAll('table:last-of-type td'), range = document.createRange()
    range.selectNodeContents(text)
    const one = stars.firstChild.getBoundingClientRect(), other = range.getBoundingClientRect()
    return Math.max(other.left - one.right, one.left - other.right)
}"""


def findings(fragments: list[str]) -> list[list[str]]:
    """Return what the validators hold against each of them."""
    command = ["node", "--input-type=module", "--eval", (HERE / "mail.mjs").read_text("utf-8"), json.dumps(PROFILE)]
    done = subprocess.run(
        command, cwd=modules(), input=json.dumps(fragments), capture_output=True, text=True, timeout=120, check=True
    )
    found: list[list[str]] = json.loads(done.stdout)
    return found


def test_validators_find_nothing_in_a_fragment_of_any_kind_and_do_in_others() -> None:
    bad = '<table><tr><td style="display:flex" style="a"><b><i>a</b></i><img src="a.webp"><svg></svg></table>'
    *found, wrong = findings([*html_fragments(), bad])
    assert [*filter(None, found)] == []
    assert len(found) > 20
    assert {"close-order", "no-dup-attr", "wcag/h37"} < {finding.split(":")[0] for finding in wrong}
    assert "`display:flex` is not supported by `outlook.windows`" in wrong


def test_no_review_is_read_as_liquid_by_rubys_engine() -> None:
    fragments = [shown("limit=20", hostile_reviews())]
    fragments += [shown("max_chars=200", [one], as_text=True) for one in hostile_reviews()]
    program = """
        require "liquid"
        require "json"
        puts JSON.parse(STDIN.read).map { |one| Liquid::Template.parse(one, error_mode: :strict).render }.to_json
    """
    done = subprocess.run(
        ["ruby", "-e", program], input=json.dumps(fragments), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == fragments


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with visitor(browser, console=False) as page:
        yield page


class Mail:
    """A mail around fragments, in a client that shows it in one of three ways and loads pictures or none."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._client: CDPSession = page.context.new_cdp_session(page)
        page.route("https://**", lambda route: route.fulfill(body=PICTURE))
        page.route("https://blocked.**", lambda route: route.abort())

    def open(
        self, body: str, width: int = 375, colours: str = "light", *, blocked: bool = False, rtl: bool = False
    ) -> None:
        """``colours``: ``light``; ``dark``: of the mail around only; ``turned``: the client turns all of them."""
        if blocked:  # by an address of its own, as Chromium keeps what it has loaded
            body = body.replace('src="https://', 'src="https://blocked.')
        self._client.send("Emulation.setAutoDarkModeOverride", {"enabled": colours == "turned"})
        self.page.set_viewport_size({"width": width, "height": 500})
        self.page.emulate_media(color_scheme="light" if colours == "light" else "dark")
        around = "background:#121212;color:#eee" if colours == "dark" else "background:#fff;color:#111"
        self.page.set_content(
            f'<!doctype html><html lang="en" dir="{"rtl" if rtl else "ltr"}"><title>Mail</title>'
            f'<body style="margin:0;padding:8px;{around}"><main><h1>Hello</h1>{body}</main></body></html>'
        )

    def contrasts(self, selector: str) -> list[tuple[str, float, float]]:
        """Return text, contrast and mean light of each element, as a picture has them."""
        asked = [base64.b64encode(self.page.screenshot(full_page=True)).decode(), selector]
        found: list[tuple[str, float, float]] = self.page.evaluate(CONTRASTS, asked)
        return found


@pytest.mark.parametrize("language", WRITTEN)
def test_at_each_width_in_light_and_dark_with_and_without_pictures_all_is_seen(page: Page, language: str) -> None:
    mail = Mail(page)
    reviews = harmless_reviews(language)
    query = f"display_locale={language}"
    body = f"{shown(f'{query}&with_image=true', reviews, assets=AllAssets())}<p></p>{shown(query, reviews)}<p></p>"
    body += shown(query, reviews, "line", assets=AllAssets())
    # Colours move nothing, so that one width will do for all but the light ones.
    for width, colours in ((320, "light"), (375, "light"), (600, "light"), (375, "dark"), (375, "turned")):
        for blocked in (False, True):
            mail.open(body, width, colours, blocked=blocked, rtl=language == "ar")
            assert page.evaluate(WIDER_THAN_ITS_PLACE) == []
            assert page.evaluate(GAP) >= 8
            alts = [alt for alt in page.locator("img").evaluate_all("all => all.map(one => one.alt)") if alt]
            assert len(alts) == 5
            seen = mail.contrasts(f"td:not(:has(img)), span[role=img]{', img' if blocked else ''}")
            assert [one for one in seen if one[1] < 4.5] == []
            assert {text for text, *_ in seen} >= set(alts if blocked else [])
            assert {light < 0.4 for _, _, light in seen} == {colours == "turned"}
        misused = page.locator(f"main :is({','.join(PROFILE['partly'].values())})")
        assert misused.evaluate_all("all => all.map(one => one.outerHTML)") == []
    for colours in ("light", "dark"):
        mail.open(body, 375, colours, rtl=language == "ar")
        assert violations(page) == []
        assert min(page.locator("td, a, span").evaluate_all(SIZES)) >= 14


SIZES = "all => all.filter(one => one.textContent).map(one => parseFloat(getComputedStyle(one).fontSize))"


def test_nothing_hostile_runs_and_nothing_is_wider_than_a_phone(page: Page) -> None:
    opened: list[str] = []
    page.on("dialog", lambda dialog: opened.append(dialog.message))
    mail = Mail(page)
    mail.open(shown("limit=20&with_image=true", hostile_reviews(), assets=AllAssets()), 320)
    assert page.evaluate("document.querySelectorAll('script, h1 ~ h1, [onerror], [onmouseover]').length") == 0
    page.mouse.move(160, 250)
    assert page.evaluate(WIDER_THAN_ITS_PLACE) == []
    assert page.inner_text("main").count("alert(1)") == 2 * sum("alert(1)" in str(one) for one in hostile_reviews())
    assert opened == []
