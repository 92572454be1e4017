"""What becomes of a message."""

from __future__ import annotations

import pytest

from proxy.preview.message import sms_length
from tests.preview.braze.endpoint import running_endpoint
from tests.preview.braze.test_seed import REVIEWS, SAMPLE
from tests.running import SECRET, RunningSandbox

from .conftest import Previewing

TAG = (
    "{% connected_content https://reviews.example.com/v1/reviews?sku={{event_properties.${item_sku} "
    "| url_param_escape}}&limit=1"
    " :basic_auth reviews_proxy :save product %}"
)
TRUCK = {"event_properties": {"item_sku": "TRUCK-01"}}


def test_a_message_with_a_review_is_ready(previewing: Previewing) -> None:
    result = previewing.render(TAG + "{% if product.found %}{{product.reviews[0].content}}{% endif %}", data=TRUCK)
    assert (result["state"], result["mistakes"]) == ("ready", [])
    assert result["body"] == "Such a great toy truck, my kids really enjoy it!"
    assert result["frame"].endswith(result["body"])
    (call,) = result["calls"]
    assert (call["status"], call["part"], call["saved_as"]) == (200, "body", "product")
    assert call["response_headers"]["X-Cache"] in ("hit", "miss")
    assert 0 < call["body_bytes"] < 1000


def test_the_callers_credential_is_shown_under_whatever_name_and_starred(previewing: Previewing) -> None:
    for option in (":basic_auth any", ":auth_credentials any-other"):
        result = previewing.render(TAG.replace(":basic_auth reviews_proxy", option) + "x", data=TRUCK)
        assert result["calls"][0]["status"] == 200
        assert SECRET not in str(result)


def test_a_template_without_a_credential_is_told_so(previewing: Previewing) -> None:
    result = previewing.render(TAG.replace(":basic_auth reviews_proxy", "") + "x", data=TRUCK)
    assert "the answer is 401: no or a wrong credential" in result["mistakes"][0]["message"]


@pytest.mark.parametrize(
    ("asked", "review"),
    [
        ("reviews?sku=TRUCK-01", "r.reviews[0]"),
        ("products?skus=TRUCK-01", "r.products[0].reviews[0]"),
        ("business?limit=1", "r.reviews[0]"),
    ],
)
def test_an_address_that_escapes_is_right_for_an_e_mail_and_told_of_in_a_push(
    previewing: Previewing, asked: str, review: str
) -> None:
    tag = f"{{% connected_content https://reviews.example.com/v1/{asked} :basic_auth a :save r %}}"
    body = f"{tag}{{{{ {review}.content }}}}"
    for channel, kind, is_told in (("email", "unescaped-text", False), ("push", "html-shown", True)):
        kinds = [mistake["kind"] for mistake in previewing.render(body, channel)["mistakes"]]
        assert (kind in kinds) is is_told, (channel, kinds)


def test_an_aborted_message_has_its_reason(previewing: Previewing) -> None:
    body = TAG + "{% unless product.found %}{% abort_message('no review') %}{% endunless %}"
    result = previewing.render(body, data={"event_properties": {"item_sku": "NEW-00"}})
    assert (result["state"], result["reason"], result["body"]) == ("aborted", "no review", "")
    assert len(result["calls"]) == 1


@pytest.mark.parametrize("body", ["", " \n", "<p> &nbsp;</p><style>p {color: red}</style><!-- x -->", "{{nothing}}"])
def test_a_message_with_nothing_to_see_is_blank(previewing: Previewing, body: str) -> None:
    assert previewing.render(body)["state"] == "blank"


@pytest.mark.parametrize("opened", ["<style>", "<!--", "<a href='"])
def test_what_is_opened_and_never_closed_hides_the_rest_however_often_it_is(
    previewing: Previewing, opened: str
) -> None:
    # Looked through from each of them to the end, half a million characters would take minutes.
    body = "{% for i in (1..2000) %}" + 40 * opened + "{% endfor %}"
    assert previewing.render(body)["state"] == "blank"


def test_what_no_mail_shows_is_told_of_sixty_times_at_most(previewing: Previewing) -> None:
    # Each found by looking through the rest, and told of by its line, took a minute.
    told = [mistake["kind"] for mistake in previewing.render("Hi" + 15_000 * "<embed>")["mistakes"]]
    assert set(told) == {"not-in-mail"}
    assert len(told) <= 60


def test_a_picture_alone_is_not_blank(previewing: Previewing) -> None:
    assert previewing.render('<img src="https://shop.example.com/a.png" alt="">')["state"] == "ready"


def test_a_broken_template_names_its_line(previewing: Previewing) -> None:
    result = previewing.render("one\n{% if product %}")
    assert (result["state"], result["reason"]) == ("broken", "{% if %} is never closed by {% endif %}")
    (mistake,) = result["mistakes"]
    assert (mistake["part"], mistake["line"], mistake["fix"]["label"]) == ("body", 2, "Write {% endif %}")
    assert result["repaired"] == {"body": "one\n{% if product %}{% endif %}"}


def test_the_title_is_rendered_with_the_same_person_and_its_calls_are_its_own(previewing: Previewing) -> None:
    title = TAG + "{{product.reviews[0].author}} & co"
    result = previewing.render(TAG + "{{product.sku}}", title=title, data=TRUCK)
    assert result["title"] == "Kevin Bob & co"
    assert [call["part"] for call in result["calls"]] == ["title", "body"]
    assert result["calls"][1]["from_cache"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (TAG.replace("${item_sku}", "${nothing}") + "x", "empty-parameter"),
        (TAG.replace("&limit", "&limits") + "x", "ignored-parameters"),
        (TAG.replace(":save product", "") + "{{product.sku}}x", "missing-save"),
        (TAG.replace("&limit=1", "&format=text") + "{{product.reviews[0].content}}", "unescaped-text"),
    ],
)
def test_mistakes_are_told_at_their_line(previewing: Previewing, body: str, kind: str) -> None:
    result = previewing.render("\n" + body, data=TRUCK)
    assert (kind, 2) in [(mistake["kind"], mistake["line"]) for mistake in result["mistakes"]]


def test_the_lengths_of_push_and_sms_are_told(previewing: Previewing) -> None:
    assert previewing.render("four", "push", title="Hi")["length"] == {"title": 2, "message": 4}
    assert previewing.render("★", "sms")["length"]["encoding"] == "UCS-2"


def test_the_seeds_reviews_snippet_works_character_for_character(sandbox: RunningSandbox) -> None:
    """Host, business unit and key as they stand there: a proxy that is set up with them answers."""
    with running_endpoint() as trustpilot:
        path = "/v1/product-reviews/business-units/66ea0530xxxxxx/reviews"
        trustpilot.says(path, SAMPLE + "}", content_type="application/json")
        with Previewing(
            sandbox,
            PREVIEW="true",
            TRUSTPILOT_API_URL=f"{trustpilot.url}/v1",
            TRUSTPILOT_BUSINESS_UNIT_ID="66ea0530xxxxxx",
            PROXY_CREDENTIALS=f"braze:{SECRET},seed:xxxxx",
        ) as proxy:
            result = proxy.render(REVIEWS + "{{result.productReviews[0].content | escape}}", data=TRUCK)
            sample = proxy.render(SAMPLE)
    assert result["body"].strip() == "Such a great toy truck, my kids really enjoy it!"
    # What it does not do, and Trustpilot or Braze wants: escape the SKU, say that only five stars are shown, and ask
    # whether there is a review.
    assert [mistake["kind"] for mistake in result["mistakes"]] == ["not-escaped", "no-disclosure", "came-up-empty"]
    assert (sample["body"], sample["calls"]) == (SAMPLE, [])


@pytest.mark.parametrize(
    ("text", "characters", "segments", "encoding"),
    [
        ("", 0, 0, "GSM-7"),
        ("a" * 160, 160, 1, "GSM-7"),
        ("a" * 161, 161, 2, "GSM-7"),
        ("é" * 306, 306, 2, "GSM-7"),
        ("a" * 307, 307, 3, "GSM-7"),
        ("€" * 80, 160, 1, "GSM-7"),
        ("★" * 70, 70, 1, "UCS-2"),
        ("★" * 71, 71, 2, "UCS-2"),
        ("😀" * 35, 70, 1, "UCS-2"),
    ],
)
def test_a_text_is_counted_as_the_network_counts(text: str, characters: int, segments: int, encoding: str) -> None:
    """Braze: Message copy segments; GSM 03.38."""
    length = sms_length(text)
    assert (length["characters"], length["segments"], length["encoding"]) == (characters, segments, encoding)
    assert bool(length["outside"]) == (encoding == "UCS-2")
