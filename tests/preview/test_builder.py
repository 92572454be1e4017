"""The tag builder: whatever is chosen, the proxy takes the tag and the block renders."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from proxy.preview.braze import Channel
from proxy.preview.builder import FALLBACKS, KINDS, SOURCES, BadChoices, Choices, build

from .conftest import Previewing

HOST = "https://reviews.example.com"
EVENT = {"item_sku": "TRUCK-01"}


@pytest.mark.parametrize(("kind", "channel"), list(product(KINDS, Channel)))
def test_every_choice_gives_a_tag_that_works(previewing: Previewing, kind: str, channel: Channel) -> None:
    data = {
        "event_properties": EVENT,
        "custom_attributes": {"item_sku": ["TRUCK-01"]} if kind == "products" else EVENT,
    }
    for source, fallback in product(SOURCES, FALLBACKS):
        chosen = {
            "channel": channel.value,
            "kind": kind,
            "source": source,
            "sku": "TRUCK-01" if source == "fixed" else "item_sku",
            "fallback": fallback,
            "fallback_text": "None & nothing",
            "filters": {
                "stars": "4,5",
                "language": "en",
                "limit": "2",
                "max_chars": "80",
                "min_chars": "",
                "min_reviews": "2",
            },
        }
        built = previewing.ask("/preview/tag", **chosen)
        message = built["tag"] + "\n" + built["block"]
        result = previewing.render(message, channel.value, data=data)
        assert (result["state"], result["mistakes"]) == ("ready", []), chosen
        assert any(seen in result["body"] for seen in ("toy truck", "4.7")), chosen
        message = message.replace("${item_sku}", "${none}").replace("TRUCK-01", "NEW-00")
        without = previewing.render(message, channel.value)
        expected = {"abort": "aborted", "text": "ready", "hide": "blank"}[fallback if built["block"] else "hide"]
        assert without["state"] == expected, chosen
        if expected == "ready":
            assert ("None &amp; nothing" if channel.is_html else "None & nothing") in without["body"]


@pytest.mark.parametrize(
    ("wrong", "name", "told"),
    [
        ({"filters": {"limit": "50"}}, "limit", "from 1 to 20"),
        ({"filters": {"language": "english"}}, "language", "ISO 639-1"),
        ({"source": "fixed", "sku": ""}, "sku", "rendered to nothing"),
        ({"sku": "a}b"}, "sku", "name of the property"),
        ({"credential": "two words"}, "credential", "stored under in Braze"),
        ({"filters": {"min_average": "4,5"}}, "min_average", "such as 4.25"),
        ({"kind": "all"}, "kind", "product, products, stars, fragment"),
        ({"fallback": "pray"}, "fallback", "hide, text, abort"),
    ],
)
def test_a_wrong_choice_is_told_by_its_name(wrong: dict[str, Any], name: str, told: str) -> None:
    with pytest.raises(BadChoices) as caught:
        build(Choices(**{"channel": Channel.EMAIL, "host": HOST, **wrong}))
    assert list(caught.value.mistakes) == [name]
    assert told in caught.value.mistakes[name]


def test_defaults_are_left_out_and_what_is_typed_is_escaped() -> None:
    built = build(Choices(Channel.PUSH, HOST, source="fixed", sku="A&B,Ü", filters={"limit": "3", "sort": "newest"}))
    assert built.tag == (
        "{% connected_content https://reviews.example.com/v1/reviews?sku=A%26B,%C3%9C&format=text&on_error=empty\n"
        "   :basic_auth reviews_proxy :save product %}"
    )
