"""What a link may hold: no secret anywhere, and no person's own data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.preview.braze import Channel, Profile
from proxy.preview.message import Message
from proxy.preview.page import shareable
from tests.running import SECRET

from .conftest import Previewing

CALL = "{% connected_content https://reviews.example.com/v1/reviews?sku=A MORE :save r %}{{ r.count"  # can't be read


@pytest.mark.parametrize(
    "body",
    [
        CALL.replace("MORE", ":basic_auth name:hunter2hunter2"),
        CALL.replace("MORE", ':headers {"X-Api-Key": "hunter2hunter2"}'),
        CALL.replace("MORE", ':headers {"Authorization": "Bearer abcdefgh12345678"}'),
        CALL.replace("sku=A", "sku=A&apikey=hunter2hunter2"),
        CALL.replace("https://", "https://name:hunter2@"),
        '<a href="https://shop.example/?token=3f786850e387550f">x</a>',
        "{{ 'x' | hmac_sha256: 'hunter2' }}",
        "My key is own-secret-1, don't tell",
    ],
)
@pytest.mark.parametrize("part", ["title", "preheader", "body"])
def test_a_message_with_a_secret_is_not_shared(part: str, body: str) -> None:
    written: Any = {part: body}
    message = replace(Message(Channel.EMAIL, "x"), **written)
    refused = shareable(message, ["own-secret-1"])["refused"]
    assert "secret" in refused
    assert "hunter2" not in refused
    assert "own-secret-1" not in refused


@pytest.mark.parametrize("body", [CALL.replace("MORE", ":basic_auth reviews_proxy"), "?sku=A&key=b", "Bearer", ""])
def test_a_message_without_one_is(body: str) -> None:
    assert shareable(Message(Channel.EMAIL, body), ["own-secret-1"]) == {"refused": "", "personal": []}


def test_of_the_values_a_secret_refuses_and_what_is_a_persons_own_is_left_out() -> None:
    data: dict[str, dict[str, object]] = {
        "attributes": {"first_name": "Ann", "email_address": "x", "phone_number": "1"},
        "event_properties": {
            "skus": ["TRUCK-01"],
            "ean": "4006381333931",
            "to": "ann@shop.example",
            "call": "+46 70 123 45 67",
        },
    }
    shared = shareable(
        Message(Channel.PUSH, "x", profile=Profile(data["attributes"], event_properties=data["event_properties"])), []
    )
    assert shared["refused"] == ""
    assert [name for _, name in shared["personal"]] == ["email_address", "phone_number", "to", "call"]
    for name, value in (("api_key", "x"), ("note", "own-secret-1"), ("note", ["Bearer abcdefgh12345678"])):
        given = Profile(custom_attributes={name: value})
        assert (
            f"The value of {name}"
            in shareable(Message(Channel.PUSH, "x", profile=given), ["own-secret-1"])["refused"]
        )


def test_the_proxys_own_secret_is_known(previewing: Previewing) -> None:
    # Where it is not shown: what the proxy answers is searched for secrets.
    message = f"{{% comment %}}{SECRET}{{% endcomment %}}"
    assert "secret" in previewing.render(message)["sharing"]["refused"]
