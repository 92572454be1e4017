"""The ready templates, against the running server: with reviews, without any, and with hostile ones."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.preview.page import READY_TEMPLATES, ReadyTemplate
from tests.running import RunningSandbox

from .conftest import Previewing


def shown(previewing: Previewing, ready: ReadyTemplate, data: Any = None) -> Any:
    return previewing.render(ready.template(), ready.channel.value, title=ready.title, data=data or dict(ready.data))


@pytest.mark.parametrize("ready", READY_TEMPLATES, ids=lambda ready: ready.name)
def test_it_is_ready_as_it_comes_and_without_a_mistake(previewing: Previewing, ready: ReadyTemplate) -> None:
    result = shown(previewing, ready)
    assert (result["state"], result["mistakes"]) == ("ready", [])
    assert result["verdict"] == "green"
    # An invitation shows no reviews (Trustpilot: invitations are neutral).
    invites = ready.name == "review-invitation"
    assert [call["status"] for call in result["calls"]] == ([] if invites else [200])
    seen = ("Such a great toy truck", "Rated 4.7 of 5 by 153", "Write a review")
    assert any(text in result["body"] for text in seen)
    assert "{{" not in result["body"] + result["title"]


def with_sku(ready: ReadyTemplate, sku: str) -> dict[str, Any]:
    properties = dict(ready.data["event_properties"])
    properties["skus" if "skus" in properties else "item_sku"] = sku
    return {"event_properties": properties}


@pytest.mark.parametrize("sku", ["NEW-00", "", "no such & product"])
@pytest.mark.parametrize("ready", READY_TEMPLATES, ids=lambda ready: ready.name)
def test_it_goes_out_without_a_review_too(previewing: Previewing, ready: ReadyTemplate, sku: str) -> None:
    result = shown(previewing, ready, with_sku(ready, sku))
    assert result["state"] == "ready"
    assert "★" not in result["body"]


@pytest.mark.parametrize("ready", READY_TEMPLATES, ids=lambda ready: ready.name)
def test_hostile_text_stays_text(previewing: Previewing, ready: ReadyTemplate) -> None:
    result = shown(previewing, ready, with_sku(ready, "HOSTILE-01"))
    assert result["state"] == "ready"
    if ready.channel.is_html:
        assert "<script" not in result["body"]
        assert "<img" not in result["body"]


@pytest.mark.parametrize(
    "ready", [ready for ready in READY_TEMPLATES if not ready.channel.is_html], ids=lambda ready: ready.name
)
def test_a_short_message_fits(previewing: Previewing, ready: ReadyTemplate) -> None:
    length = shown(previewing, ready)["length"]
    assert length.get("segments", 1) == 1
    assert length.get("message", 0) <= 178


@pytest.mark.parametrize("ready", READY_TEMPLATES, ids=lambda ready: ready.name)
def test_who_shows_a_review_says_which_these_are_and_a_mail_leads_to_trustpilot(ready: ReadyTemplate) -> None:
    text = ready.template()
    if ".content }}" in text:
        assert ".disclosure }}" in text
        assert ("links.trustpilot" in text) is ready.channel.is_html


@pytest.mark.parametrize("ready", READY_TEMPLATES, ids=lambda ready: ready.name)
def test_nobody_is_told_to_be_the_first_where_others_were(
    previewing: Previewing, sandbox: RunningSandbox, ready: ReadyTemplate
) -> None:
    bad = {"id": "bad", "createdAt": "2024-10-14T17:42:40Z", "stars": 2, "content": "Broke.", "language": "en"}
    sandbox.put_product("BAD-01", [bad])
    assert "first to review" not in shown(previewing, ready, with_sku(ready, "BAD-01"))["body"]
