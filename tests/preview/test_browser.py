"""The page in a real Chromium: a first visit, mistakes, hostile text, and the keyboard alone."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import product

from playwright.sync_api import Browser, Dialog, Error, FrameLocator, Page, Route, expect

from tests.preview.braze.endpoint import running_endpoint
from tests.running import SECRET, RunningSandbox

from .conftest import Previewing, visit

TRUCK = "Such a great toy truck, my kids really enjoy it!"


def mail(page: Page) -> FrameLocator:
    """Return the frame the e-mail stands in."""
    return page.frame_locator("#message iframe")


def state(page: Page, kind: str) -> str:
    """Wait for a state of the result and return its text."""
    page.wait_for_selector(f"#state.{kind}")
    return page.inner_text("#state")


def start_from(page: Page, name: str) -> None:
    """Choose a template of the gallery, and wait until it is shown."""
    page.locator(f"[data-template={name}]").click()
    page.wait_for_selector(f"[data-template={name}][aria-current], #result.outdated")
    page.wait_for_selector("#result:not(.outdated)")


def fill(page: Page, template: str, kind: str = "check") -> None:
    """Put a template of one's own in place, and wait for what becomes of it."""
    page.fill("#body", template)
    state(page, kind)


def a_first_visit_changes_a_choice_and_sees_it_in_the_tag_and_the_message(page: Page) -> None:
    assert state(page, "ready") == "Braze would send this."
    mail(page).locator(f"text={TRUCK}").first.wait_for()
    before = page.input_value("#body")
    page.get_by_label("How many").fill("1")
    page.locator(".call .url", has_text="limit=1").first.wait_for()
    assert page.input_value("#body") == before.replace("limit=2", "limit=1")
    page.get_by_label("Name of the property").fill("product_id")
    expect(page.locator("#body")).to_have_value(re.compile(re.escape("{event_properties.${product_id} | url")))
    assert "product_id" in [name.input_value() for name in page.locator("#rows .name").all()]
    assert state(page, "ready")
    mail(page).locator(f"text={TRUCK}").first.wait_for()
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


def no_star_chosen_is_all_and_it_is_said(page: Page) -> None:
    assert page.inner_text("#stars-said") == "None chosen: all stars are shown."
    page.get_by_label("4 ★").check()
    page.get_by_label("5 ★").check()
    assert page.inner_text("#stars-said") == "Only 4 & 5 stars are shown, and the message has to say so."
    expect(page.locator("#body")).to_have_value(re.compile(re.escape("&stars=4,5")))
    page.get_by_label("4 ★").uncheck()
    page.get_by_label("5 ★").uncheck()
    expect(page.locator("#body")).not_to_have_value(re.compile("stars="))


def a_wrong_choice_is_told_beside_its_field_and_dims_what_is_shown(page: Page) -> None:
    page.get_by_label("How many").fill("50")
    page.wait_for_selector("#limit-wrong:text('takes a whole number from 1 to 20')")
    assert page.get_attribute("#limit", "aria-invalid") == "true"
    assert page.locator("#result.outdated").count() == 1
    assert page.get_by_role("button", name="Copy for Braze").is_disabled()


def an_empty_sku_is_explained_at_its_line_and_at_its_call(page: Page) -> None:
    start_from(page, "own")
    page.get_by_label("Remove TRUCK-01").click()
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


def an_aborted_message_shows_its_reason_and_is_not_copied(page: Page) -> None:
    start_from(page, "own")
    page.select_option("#fallback", "abort")
    page.fill("#sample", "NEW-00")
    page.press("#sample", "Enter")
    told = state(page, "aborted")
    assert "Braze would not send this message." in told
    assert "Reason: no reviews" in told
    assert page.locator("#message").inner_text() == ""
    assert "found is false" in page.inner_text(".call")
    assert page.get_by_role("button", name="Copy for Braze").is_disabled()


def the_five_people_are_small_results_and_one_is_shown_large(page: Page, sandbox: RunningSandbox) -> None:
    start_from(page, "own")
    said = page.locator("#people button").all_inner_texts()
    assert [text.split("\n")[0] for text in said] == [
        "All is there",
        "Blank",
        "Blank",
        "Gaps in reviews",
        "Blank",
    ]
    assert page.locator("#people iframe").count() == 2
    calls = sandbox.ledger().total
    page.get_by_role("button", name="Nothing is set").click()
    assert "Nothing is left of the message" in page.inner_text("#message")
    page.get_by_role("button", name="All is there").click()
    mail(page).locator("text=Arrived in two days").first.wait_for()
    page.get_by_role("button", name="Back to yours").click()
    mail(page).locator(f"text={TRUCK}").first.wait_for()
    assert sandbox.ledger().total == calls


def each_kind_of_mistake_is_explained(page: Page) -> None:
    tag = "{% connected_content https://reviews.example.com/v1/reviews?sku=TRUCK-01&PARAM :basic_auth a SAVE %}x"
    for written, explained in {
        tag.replace("PARAM", "colour=red").replace("SAVE", ":save r"): "ignored them: colour",
        tag.replace("&PARAM", "").replace("SAVE", ""): "the tag has no :save",
        tag.replace("PARAM", "format=text").replace("SAVE", ":save r") + "{{r.reviews[0].content}}": "add | escape",
        "{% connected_content http://169.254.169.254/v1/x :save r %}x": "is not its name",
    }.items():
        page.fill("#body", written)
        page.locator("main", has_text=explained).first.wait_for()


def all_is_mended_by_one_button(page: Page) -> None:
    fill(page, "Hi {{first_name}} &amp; {{last_name}}, <a href=''>x</a>")
    page.get_by_role("button", name="Fix all").click()
    expect(page.locator("#body")).to_have_value(re.compile(re.escape("{{${first_name}}}")))
    page.wait_for_selector("#result:not(.outdated)")
    assert "href=''" not in page.input_value("#body")


def a_broken_template_names_its_line_and_comes_back(page: Page) -> None:
    fill(page, "one\n{% if %}", "broken")
    assert "Line 2" in page.inner_text("#state")
    assert page.get_by_role("button", name="Copy for Braze").is_disabled()
    start_from(page, "product-reviews")
    state(page, "ready")
    mail(page).locator(f"text={TRUCK}").first.wait_for()


def test_choices_change_the_tag_and_are_told_where_they_are_wrong(page: Page) -> None:
    a_first_visit_changes_a_choice_and_sees_it_in_the_tag_and_the_message(page)
    no_star_chosen_is_all_and_it_is_said(page)
    a_wrong_choice_is_told_beside_its_field_and_dims_what_is_shown(page)


def test_what_becomes_of_a_message_is_told_for_yours_and_for_five(page: Page, sandbox: RunningSandbox) -> None:
    an_empty_sku_is_explained_at_its_line_and_at_its_call(page)
    an_aborted_message_shows_its_reason_and_is_not_copied(page)
    the_five_people_are_small_results_and_one_is_shown_large(page, sandbox)


def test_mistakes_are_explained_and_mended(page: Page) -> None:
    each_kind_of_mistake_is_explained(page)
    all_is_mended_by_one_button(page)
    a_broken_template_names_its_line_and_comes_back(page)


def test_what_customers_would_see_is_mended_by_buttons_until_it_is_green(page: Page) -> None:
    page.locator("input[name=channel][value=push]").check()
    tag = (
        "{% connected_content http://reviews.example.com/v1/reviews?sku={{event_properties.${item_sku}}}&limit=1"
        " :basic_auth a :save r %}"
    )
    fill(page, tag + "Hi {{${first_name} | default: 'you'}}, <b>they</b> say: {{ r.reviews[0].content }}")
    assert "Braze would send this, but" in page.inner_text("#state")
    for _ in range(8):
        if page.locator("#state.ready").count():
            break
        with page.expect_response("**/preview/render"):
            page.locator("button.mend").first.click()
        page.wait_for_selector("#result:not(.outdated)")
    assert state(page, "ready")
    body = page.input_value("#body")
    assert "https://reviews.example.com" in body
    assert "${item_sku} | url_param_escape}" in body
    assert "<b>" not in body
    assert page.get_by_role("button", name="Copy for Braze").is_enabled()


def test_an_old_verdict_is_dimmed_when_the_server_is_gone(page: Page) -> None:
    fill(page, "Hi 😀 {{first_name}}, hello")
    page.get_by_role("button", name="Fix it: Write ${first_name}").click()
    assert page.input_value("#body") == "Hi 😀 {{${first_name}}}, hello"
    page.route("**/preview/render", lambda route: route.abort())
    page.fill("#body", "Other words")
    assert "could not be made" in state(page, "failed")
    assert page.locator("#result.outdated").count() == 1
    for name in ("Copy for Braze", "Share"):
        assert page.get_by_role("button", name=name).is_disabled()


def test_a_slow_answer_is_never_shown_as_the_newer_messages(page: Page) -> None:
    waiting: list[Route] = []
    page.route("**/preview/render", lambda route: waiting.append(route))
    with page.expect_request("**/preview/render"):
        page.fill("#body", "First words")
    assert page.locator("#result.outdated").count() == 1
    with page.expect_request("**/preview/render"):
        page.fill("#body", "Second words")
    page.unroute_all()
    for route in waiting:
        with suppress(Error):  # the page has given the first one up
            route.continue_()
    state(page, "ready")
    assert mail(page).locator("body").inner_text() == "Second words"


def test_an_email_is_as_wide_as_chosen_as_high_as_it_is_and_dark_or_without_pictures(page: Page) -> None:
    frame = page.locator("#message iframe")
    page.get_by_label("Phone 375").check()
    assert page.eval_on_selector("#message iframe", "frame => frame.offsetWidth") == 375
    fill(
        page,
        "<p style='margin:0;height:700px'>Hi {{first_name}}</p><img src='https://shop.invalid/a.png' alt='A lorry'>",
    )
    expect(page.locator("#message iframe")).to_have_css("height", re.compile(r"7\d\d(\.\d+)?px"))
    assert page.eval_on_selector("#message iframe", "frame => frame.offsetWidth") == 375
    assert "36 characters; phones show about 40" in page.inner_text("#title-count")
    assert "33 characters" in page.inner_text("#preheader-count")
    page.get_by_label("Blocked").check()
    assert "img-src 'none'" in (frame.get_attribute("srcdoc") or "")
    page.get_by_label("Dark").check()
    assert "invert(1)" in (frame.get_attribute("srcdoc") or "")
    assert "Pictures blocked" in page.inner_text("#message")
    page.get_by_label("Desk 600").check()
    assert page.eval_on_selector("#message iframe", "frame => frame.offsetWidth") == 600
    fill(page, "<style>@media (prefers-color-scheme: dark) {p {color: red}}</style><p>Hi {{first_name}}</p>")
    mail(page).locator("p").first.wait_for()
    expect(mail(page).locator("p")).to_have_css("color", "rgb(255, 0, 0)")


def test_a_cart_is_chips_and_a_misspelt_sku_is_asked_about(page: Page) -> None:
    start_from(page, "abandoned-cart")
    page.locator("#chips li", has_text="★ 4.7 (153)").wait_for()
    assert page.locator("#chips b").all_inner_texts() == ["TRUCK-01", "BLENDER-450", "NEW-00"]
    page.get_by_label("Remove NEW-00").click()
    expect(page.locator("#rows .value")).to_have_value('["TRUCK-01","BLENDER-450"]')
    start_from(page, "product-reviews")
    page.get_by_label("Preview with SKU").fill("truk-01")
    assert page.locator("#sku-list li").all_inner_texts()[0].startswith("TRUCK-01")
    page.press("#sample", "Enter")
    page.get_by_role("button", name="TRUCK-01 ★ 4.7 (153)").click()
    mail(page).locator(f"text={TRUCK}").first.wait_for()
    assert page.locator("#chips b").all_inner_texts() == ["TRUCK-01"]


def test_the_builder_steps_back_from_a_text_that_is_not_its_own(page: Page) -> None:
    assert "The text around the tag is yours" in page.inner_text("#build")
    assert page.locator("#kind").is_disabled()
    fill(page, "Hello there", "ready")
    assert "This text is yours: it makes no call" in page.inner_text("#yours")
    assert page.locator("#builder").is_hidden()
    page.evaluate("document.getElementById('body').setSelectionRange(6, 6)")
    page.get_by_role("button", name="Put reviews in at the cursor").click()
    page.locator("#builder").wait_for()
    assert page.locator("#kind").is_enabled()
    assert page.input_value("#body").startswith("Hello {% connected_content")
    page.select_option("#kind", "stars")
    expect(page.locator("#body")).to_have_value(re.compile(re.escape("{{ rating.average_text }}")))
    assert page.input_value("#body").endswith("there")


HOSTILE = """<script>alert(1)</script><img src=x onerror="alert(2)"><svg onload="alert(3)"></svg>
<iframe src="javascript:alert(4)"></iframe><iframe srcdoc="<script>alert(5)</script>"></iframe>
<meta http-equiv="refresh" content="0;url=http://EVIL/"><link rel="stylesheet" href="http://EVIL/a.css">
<base href="http://EVIL/"><img src="http://EVIL/b.png"><form action="http://EVIL/" id="f">
<button autofocus onfocus="alert(6)">x</button></form><style>@import "http://EVIL/c.css";body{background:url(http://EVIL/d)}
</style><object data="http://EVIL/e"></object><a id="link" href="javascript:alert(7)">press</a></iframe></div>
--><details open ontoggle="alert(8)">x</details><video src="http://EVIL/v" onerror="alert(9)"></video>"""


def test_hostile_text_runs_nothing_and_asks_no_one(
    browser: Browser, previewing: Previewing, sandbox: RunningSandbox
) -> None:
    with visit(browser, previewing) as page:
        look_at_hostile(page, previewing, sandbox)


def look_at_hostile(page: Page, previewing: Previewing, sandbox: RunningSandbox) -> None:
    """Show a review that tries all, and see that nothing runs and nobody is asked."""
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
        # Chromium tries, and the frame's policy stands in the way: the text really is there.
        with page.expect_console_message(lambda line: evil.url in line.text and "Security Policy" in line.text):
            show_hostile(page)
    assert evil.received == []
    assert {request for request in refused if evil.url in request and "csp" not in request.lower()} == set()
    assert opened == []
    assert page.url == f"{previewing.url}/preview"
    frame = page.locator(".mail iframe")
    assert frame.get_attribute("sandbox") == "allow-same-origin"
    assert "default-src 'none'; img-src https: data:; style-src" in (frame.get_attribute("srcdoc") or "")


def show_hostile(page: Page) -> None:
    """Show hostile texts in every channel, long enough for a script, a picture or a refresh to start."""
    for sku, channel in (("HOSTILE-01", "email"), *product(["EVIL-01"], ("push", "sms", "in-app", "email"))):
        page.locator(f"input[name=channel][value={channel}]").check()
        show_raw(page, sku, channel)
        assert "alert(1)" in page.inner_html("#message")
        page.wait_for_timeout(150)
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
        for _ in range(90):
            self.press("Tab")
            if self._page.evaluate("wanted => document.activeElement.matches(wanted)", wanted):
                return
        raise AssertionError(f"Tab never reaches {wanted}")


def test_the_page_works_with_the_keyboard_alone(page: Page) -> None:
    keyboard = Keyboard(page)
    keyboard.tab_to(".skip")
    keyboard.tab_to("[data-template=push-quote]")
    keyboard.press("Enter")
    page.wait_for_selector(".note:has-text('toy truck')")
    keyboard.tab_to("#sample")
    keyboard.type("TRU")
    keyboard.press("ArrowDown")
    assert page.get_attribute("#sample", "aria-activedescendant") == "sku-0"
    keyboard.press("Escape")
    keyboard.press("Control+A")
    keyboard.type("BLENDER-450")
    keyboard.press("Enter")
    page.locator(".call .url", has_text="BLENDER-450").first.wait_for()
    keyboard.tab_to("input[name=channel]")
    keyboard.press("ArrowRight")
    page.wait_for_selector(".bubble")
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
    page.wait_for_selector(".bubble:has-text('Ann, hello')")
    page.wait_for_selector("#result:not(.outdated)")
    keyboard.tab_to("#people button")
    keyboard.press("Enter")
    page.wait_for_selector(".whose")
    page.wait_for_selector("#result:not(.outdated)")
    keyboard.tab_to("#copy")
    keyboard.press("Enter")
    page.wait_for_selector("dialog[open] button.done")
    keyboard.press("Escape")
    page.wait_for_selector("#copying", state="hidden")
    assert page.evaluate("document.activeElement.id") == "copy"
    keyboard.press("Control+Z")
    page.wait_for_selector("#announcer:has-text('Undone')", state="attached")
