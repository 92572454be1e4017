"""The page in a real Chromium: a first visit, mistakes, hostile text, the keyboard, and two widths."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Literal

import pytest
from playwright.sync_api import Browser, Dialog, Frame, Page

from tests.browser import artefact, fits, violations
from tests.preview.braze.endpoint import running_endpoint
from tests.running import SECRET, RunningSandbox

from .conftest import Previewing, visit

TRUCK = "Such a great toy truck, my kids really enjoy it!"


def mail(page: Page) -> Frame:
    """Return the frame the e-mail stands in."""
    handle = page.wait_for_selector(".mail iframe")
    assert handle is not None
    frame = handle.content_frame()
    assert frame is not None
    return frame


def state(page: Page, kind: str) -> str:
    """Wait for a state of the result and return its text."""
    page.wait_for_selector(f"#state.{kind}")
    return page.inner_text("#state")


def fill(page: Page, template: str, kind: str = "check") -> None:
    """Put a template of one's own in place, and wait for what becomes of it."""
    page.fill("#body", template)
    state(page, kind)


def test_a_first_visit_builds_a_tag_copies_it_and_sees_the_toy_truck(page: Page) -> None:
    assert state(page, "ready") == "Braze would send this."
    mail(page).wait_for_selector(f"text={TRUCK}")
    page.get_by_label("Name of the property").fill("product_id")
    page.get_by_label("How many").fill("1")
    page.locator("#tag", has_text="limit=1").first.wait_for()
    page.get_by_label("Copy the tag").click()
    page.wait_for_selector("button.done:text('Copied')")
    page.locator("#announcer", has_text="Tag copied").wait_for(state="attached")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(
        "{% connected_content https://reviews.example.com/v1/reviews?sku={{event_properties.${product_id}"
    )
    assert copied.endswith(":basic_auth reviews_proxy :save product %}")
    page.locator(".call .url", has_text="limit=1").first.wait_for()
    assert state(page, "ready")
    mail(page).wait_for_selector(f"text={TRUCK}")
    page.get_by_text("Headers and body").click()
    details = page.inner_text(".call details")
    assert "X-Braze-Sender-Version" in details
    assert "Basic ***" in details
    assert SECRET not in page.content()
    call = page.inner_text(".call")
    assert "200" in call
    assert "ms" in call
    assert "X-Cache" in call
    assert "bytes of 1 MB" in call
    assert "JSON: saved as {{product}}. Braze keeps it for 5 minutes." in call


def test_an_empty_sku_is_explained_at_its_line_and_at_its_call(page: Page) -> None:
    page.locator("#rows .value").fill("")
    told = state(page, "blank")
    assert "The message would be blank." in told
    assert "2 things need a look" in told
    expected = "sku= arrives empty: {{event_properties.${item_sku} | url_param_escape}} rendered to nothing"
    assert expected in page.inner_text("#body-mistakes")
    assert expected in page.inner_text(".call .mistakes")
    assert page.inner_text("#gutter .marked") == "1"
    page.locator("#body-mistakes button").first.click()
    assert page.evaluate("document.activeElement.id") == "body"
    assert page.evaluate("[document.activeElement.selectionStart, document.activeElement.scrollTop]") == [0, 0]
    page.screenshot(path=artefact("preview-empty-sku.png"), full_page=True)


def test_each_kind_of_mistake_is_explained(page: Page) -> None:
    tag = "{% connected_content https://reviews.example.com/v1/reviews?sku=TRUCK-01&PARAM :basic_auth a SAVE %}x"
    for written, explained in {
        tag.replace("PARAM", "colour=red").replace("SAVE", ":save r"): "ignored them: colour",
        tag.replace("&PARAM", "").replace("SAVE", ""): "the tag has no :save",
        tag.replace("PARAM", "format=text").replace("SAVE", ":save r") + "{{r.reviews[0].content}}": "add | escape",
        "{% connected_content http://169.254.169.254/v1/x :save r %}x": "is not its name",
    }.items():
        page.fill("#body", written)
        page.locator("main", has_text=explained).first.wait_for()


def test_an_aborted_message_shows_its_reason(page: Page) -> None:
    page.select_option("#fallback", "abort")
    page.fill("#sample", "NEW-00")
    told = state(page, "aborted")
    assert "Braze would not send this message." in told
    assert "Reason: no reviews" in told
    assert page.locator("#message").inner_text() == ""
    assert "found is false" in page.inner_text(".call")
    page.screenshot(path=artefact("preview-aborted.png"), full_page=True)


def test_a_broken_template_names_its_line_and_comes_back(page: Page) -> None:
    fill(page, "one\n{% if %}", "broken")
    assert "Line 2" in page.inner_text("#state")
    page.select_option("#ready", "")
    state(page, "ready")
    mail(page).wait_for_selector(f"text={TRUCK}")


def test_a_wrong_choice_is_told_beside_its_field(page: Page) -> None:
    page.get_by_label("How many").fill("50")
    page.wait_for_selector("#limit-wrong:text('takes a whole number from 1 to 20')")
    assert page.get_attribute("#limit", "aria-invalid") == "true"


HOSTILE = """<script>alert(1)</script><img src=x onerror="alert(2)"><svg onload="alert(3)"></svg>
<iframe src="javascript:alert(4)"></iframe><iframe srcdoc="<script>alert(5)</script>"></iframe>
<meta http-equiv="refresh" content="0;url=http://EVIL/"><link rel="stylesheet" href="http://EVIL/a.css">
<base href="http://EVIL/"><img src="http://EVIL/b.png"><form action="http://EVIL/" id="f">
<button autofocus onfocus="alert(6)">x</button></form><style>@import "http://EVIL/c.css";body{background:url(http://EVIL/d)}
</style><object data="http://EVIL/e"></object><a id="link" href="javascript:alert(7)">press</a></iframe></div>
--><details open ontoggle="alert(8)">x</details><video src="http://EVIL/v" onerror="alert(9)"></video>"""


def test_hostile_text_runs_nothing_and_asks_no_one(
    page: Page, previewing: Previewing, sandbox: RunningSandbox
) -> None:
    refused: list[str] = []
    opened: list[str] = []

    def note_dialog(dialog: Dialog) -> None:
        opened.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", note_dialog)
    page.on("popup", lambda popup: opened.append(popup.url))
    page.on("requestfailed", lambda request: refused.append(f"{request.url} {request.failure}"))
    with running_endpoint() as evil:
        text = HOSTILE.replace("http://EVIL", evil.url)
        review = {"stars": 5, "createdAt": "2024-10-14T17:42:40Z", "content": text, "consumer": {"displayName": text}}
        sandbox.put_product("EVIL-01", [review])
        show_hostile(page)
        # Chromium does not tell each time what it refused, and sometimes late: the message is shown until it has.
        for _ in range(20):
            if any(evil.url in request for request in refused):
                break
            page.reload()
            page.locator("input[name=channel][value=email]").check()
            show_raw(page, "EVIL-01", "email")
            page.wait_for_timeout(500)
    assert evil.received == []
    # Chromium tried, and the frame's policy stood in the way: the text really was there.
    assert {request for request in refused if evil.url in request}
    assert {request for request in refused if evil.url in request and "csp" not in request.lower()} == set()
    assert opened == []
    assert page.url == f"{previewing.url}/preview"
    frame = page.locator(".mail iframe")
    assert frame.get_attribute("sandbox") == ""
    assert "default-src 'none'; img-src https: data:; style-src" in (frame.get_attribute("srcdoc") or "")


def show_hostile(page: Page) -> None:
    """Show hostile texts in every channel, long enough for a script, a picture or a refresh to start."""
    for sku, channel in (("HOSTILE-01", "email"), *product(["EVIL-01"], ("push", "sms", "in-app", "email"))):
        page.locator(f"input[name=channel][value={channel}]").check()
        show_raw(page, sku, channel)
        assert "alert(1)" in page.inner_html("#message")
        page.wait_for_timeout(150)
    page.screenshot(path=artefact("preview-hostile.png"), full_page=True)
    frame = page.get_attribute(".mail iframe", "srcdoc") or ""
    assert "<script>alert(1)</script>" in frame
    assert "unescaped: leave out format=text" in page.inner_text("#body-mistakes")


def show_raw(page: Page, sku: str, channel: str) -> None:
    """Preview a message with a product's texts as Trustpilot holds them, in its title too."""
    query = f"sku={sku}&format=text&limit=20"
    tag = f"{{% connected_content https://reviews.example.com/v1/reviews?{query} :basic_auth a :save r %}}"
    texts = "{% for review in r.reviews %}{{review.content}} {{review.author}}{% endfor %}"
    if channel != "sms":
        page.fill("#title", tag + texts)
    body = f"{tag}{texts} by {channel}"
    with page.expect_response(lambda answer: f" by {channel}" in (answer.request.post_data or "") and answer.ok):
        page.fill("#body", body)
    page.locator(".call .url", has_text=sku).first.wait_for()


class Keyboard:
    """Somebody without a mouse."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.press = page.keyboard.press
        self.type = page.keyboard.type

    def tab_to(self, wanted: str) -> None:
        """Press Tab until what has the focus matches ``wanted``; what is never reached fails."""
        for _ in range(80):
            self.press("Tab")
            if self._page.evaluate("wanted => document.activeElement.matches(wanted)", wanted):
                return
        raise AssertionError(f"Tab never reaches {wanted}")


def test_the_page_works_with_the_keyboard_alone(page: Page) -> None:
    keyboard = Keyboard(page)
    keyboard.tab_to(".skip")
    keyboard.tab_to("input[name=channel]")
    keyboard.press("ArrowRight")
    keyboard.press("ArrowRight")
    page.wait_for_selector(".bubble:has-text('toy truck')")
    keyboard.tab_to("#sample")
    keyboard.press("Control+A")
    keyboard.type("BLENDER-450")
    page.locator(".call .url", has_text="BLENDER-450").first.wait_for()
    keyboard.tab_to("[data-copy=tag]")
    keyboard.press("Enter")
    page.wait_for_selector("button.done:text('Copied')")
    keyboard.tab_to("#ready")
    keyboard.type("One quote")
    page.wait_for_selector(".note:has-text('toy truck')")
    keyboard.tab_to("#body")
    keyboard.press("Control+A")
    keyboard.type("{{${first_name}}}, hello")
    keyboard.tab_to("#add-row")
    keyboard.press("Enter")
    keyboard.type("first_name")
    keyboard.tab_to(".value")
    keyboard.type("Ann")
    keyboard.press("Shift+Tab")
    keyboard.press("Shift+Tab")
    keyboard.type("At")
    page.wait_for_selector(".note:has-text('Ann, hello')")
    page.select_option("#ready", "")
    keyboard.tab_to("#calls summary")
    keyboard.press("Enter")
    assert page.locator("#calls details").get_attribute("open") is not None


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_is_accessible(
    browser: Browser, previewing: Previewing, width: int, scheme: Literal["light", "dark"]
) -> None:
    with visit(browser, previewing, width, scheme) as page:
        checks: dict[str, tuple[Callable[[], None], str]] = {
            "email": (lambda: None, "#message .mail"),
            "push": (lambda: page.locator("input[value=push]").check(), "#message .phone"),
            "mistakes": (
                lambda: fill(page, "{% connected_content https://reviews.example.com/v1/reviews?sku= :save r %}x"),
                "#state.check",
            ),
        }
        for name, (prepare, shown) in checks.items():
            prepare()
            page.wait_for_selector(shown)
            page.screenshot(path=artefact(f"preview-{name}-{width}-{scheme}.png"), full_page=True)
            assert violations(page) == [], name
            assert fits(page), name
        other: Literal["light", "dark"] = "light" if scheme == "dark" else "dark"
        page.emulate_media(color_scheme=other)
        page.screenshot(path=artefact(f"preview-mistakes-{width}-{other}.png"), full_page=True)


def test_nothing_is_wider_than_a_small_phone(browser: Browser, previewing: Previewing) -> None:
    with visit(browser, previewing, 360, "light") as page:
        fill(page, "{% connected_content https://reviews.example.com/v1/reviews?sku=" + "A" * 300 + " :save r %}x")
        page.get_by_text("Headers and body").click()
        assert fits(page)


def test_an_old_verdict_is_dimmed_and_a_button_mends_what_is_told(page: Page) -> None:
    fill(page, "Hi 😀 {{first_name}}, hello")
    assert page.locator("#people li").count() == 5
    page.get_by_role("button", name="Fix it: Write ${first_name}").click()
    assert page.input_value("#body") == "Hi 😀 {{${first_name}}}, hello"
    page.route("**/preview/render", lambda route: route.abort())
    page.fill("#body", "Other words")
    assert "could not be made" in state(page, "failed")
    assert page.locator("#result.outdated").count() == 1
    assert page.get_by_label("Copy the message").is_disabled()


def test_an_email_is_shown_as_wide_as_on_a_phone_and_stays_so(page: Page) -> None:
    page.get_by_label("Phone, 375").check()
    assert page.eval_on_selector(".mail iframe", "frame => frame.offsetWidth") == 375
    fill(page, "Hi {{first_name}}")
    assert page.eval_on_selector(".mail iframe", "frame => frame.offsetWidth") == 375
    assert "24 characters" in page.inner_text(".mail-head")
