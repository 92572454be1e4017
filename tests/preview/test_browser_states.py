"""Every state of the page, on a desk and a phone: axe finds nothing, and nothing is too wide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import faults

from .conftest import Previewing, visit
from .test_browser import fill, start_from, state

MISTAKES = (
    "{% connected_content http://reviews.example.com/v1/reviews?sku={{event_properties.${item_sku}}}&stars=5"
    " :basic_auth a :save r %}\nHi {{first_name}}, <p>{{ r.reviews[0].content }}</p>\n<a href=''>x</a>"
)


def misspell(page: Page) -> None:
    start_from(page, "product-reviews")
    page.fill("#sample", "TRUK-01")
    page.press("#sample", "Enter")
    page.wait_for_selector("#meant button")


def wrong_choice(page: Page) -> None:
    page.fill("#limit", "50")
    state(page, "failed")


def one_of_five(page: Page) -> None:
    start_from(page, "own")
    page.get_by_role("button", name="Nothing is set").click()


def drafts(page: Page) -> None:
    page.click("#drafts-count")


def copying(page: Page) -> None:
    start_from(page, "product-reviews")
    page.get_by_role("button", name="Copy for Braze").click()
    page.wait_for_selector("#copying button.done")


def sharing(page: Page) -> None:
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Share").click()
    page.wait_for_selector("#copy-link.done")


def long_address(page: Page) -> None:
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 360, "height": 900})
    fill(page, "{% connected_content https://reviews.example.com/v1/reviews?sku=" + "A" * 300 + " :save r %}x")
    page.get_by_text("Headers and body").click()


def server_gone(page: Page) -> None:
    page.keyboard.press("Escape")
    page.route("**/preview/render", lambda route: route.abort())
    page.fill("#title", "x")
    state(page, "failed")


# In this order: each begins where the one before ended.
STATES: dict[str, Callable[[Page], object]] = {
    "first": lambda page: state(page, "ready"),
    "dark mail": lambda page: page.get_by_label("Dark").check(),
    "picker": lambda page: page.click("#sample"),
    "misspelt": misspell,
    "five people": one_of_five,
    "wrong choice": wrong_choice,
    "mistakes": lambda page: fill(page, MISTAKES),
    "not the builder's": lambda page: fill(page, "Hello", "ready"),
    "blank": lambda page: fill(page, "{{ x }}", "blank"),
    "broken": lambda page: fill(page, "one\n{% if %}", "broken"),
    "aborted": lambda page: fill(page, "{% abort_message('so') %}", "aborted"),
    "push": lambda page: start_from(page, "push-quote"),
    "drafts": drafts,
    "sms": lambda page: start_from(page, "sms-stars"),
    "in-app": lambda page: start_from(page, "in-app-rating"),
    "copying": copying,
    "sharing": sharing,
    "long address on a small phone": long_address,
    "server gone": server_gone,
}


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_state_is_accessible_and_fits(
    browser: Browser, previewing: Previewing, width: int, scheme: Literal["light", "dark"]
) -> None:
    with visit(browser, previewing, width, scheme) as page:
        found = {}
        for name, enter in STATES.items():
            enter(page)
            found[name] = faults(page, f"preview-{name.replace(' ', '-')}-{width}-{scheme}")
        assert {name: wrong for name, wrong in found.items() if wrong} == {}
