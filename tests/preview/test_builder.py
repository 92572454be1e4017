"""The tag builder: the proxy takes what it writes; in a message it changes its own, and steps back from the rest."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from proxy.preview.braze import Channel
from proxy.preview.builder import FALLBACKS, HOST, KINDS, SOURCES, BadChoices, Choices, build, read, rewritten
from proxy.preview.page import READY_TEMPLATES

from .conftest import Previewing

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


@pytest.mark.parametrize("kind", ["product", "products"])
@pytest.mark.parametrize("channel", [Channel.EMAIL, Channel.SMS])
def test_a_block_with_reviews_says_which_these_are_and_a_mail_leads_to_trustpilot(
    channel: Channel, kind: str
) -> None:
    block = build(Choices(channel, HOST, kind=kind)).block
    assert "{{ product.disclosure }}" in block
    assert ("product.links.trustpilot" in block) is channel.is_html


# ---- In a message

CHOICES = Choices(Channel.EMAIL, HOST, filters={"stars": "4,5", "limit": "2"})
OTHERS: list[dict[str, Any]] = [
    *({"kind": kind, "fallback": fallback} for kind, fallback in product(KINDS, FALLBACKS)),
    {"fallback": "text", "fallback_text": "Be the first & only"},
    {"channel": Channel.PUSH},
    {"source": "fixed", "sku": "A&B,Ü"},
    {"source": "attribute", "sku": "shoe size"},
    {"filters": {}},
    {"filters": {"language": "en,fr", "sort": "highest", "max_chars": "80"}},
    {"credential": "other", "display_locale": "de-DE"},
]


def written(choices: Choices) -> str:
    text = rewritten("", choices)
    assert text is not None
    return text


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_what_the_builder_wrote_it_changes_as_if_written_anew_and_back(other: dict[str, Any]) -> None:
    first, second = written(CHOICES), written(replace(CHOICES, **other))
    assert rewritten(first, replace(CHOICES, **other)) == second
    assert rewritten(second, CHOICES) == first


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_it_reads_what_it_wrote(other: dict[str, Any]) -> None:
    choices = replace(CHOICES, **other)
    found = read(written(choices), HOST, Channel.EMAIL)
    assert found.choices is not None
    assert found.block is not None
    assert written(found.choices) == written(choices)


@pytest.mark.parametrize("ready", READY_TEMPLATES, ids=lambda ready: ready.name)
def test_a_template_s_text_stays_and_its_tag_changes(ready: Any) -> None:
    template = ready.template()
    found = read(template, HOST, ready.channel)
    if "connected_content" not in template:
        assert found.choices is None
        return
    assert found.choices is not None
    assert found.block is None
    assert rewritten(template, found.choices) == template
    other = replace(found.choices, source="attribute", sku="favourite", kind="stars", fallback="abort")
    after = rewritten(template, other)
    assert after is not None
    assert after.partition("%}")[2] == template.partition("%}")[2]
    assert "{{custom_attribute.${favourite}" in after
    assert "item_sku" not in after.partition("%}")[0]


def test_what_it_does_not_know_of_a_tag_stays() -> None:
    tag = (
        "Dear {{${first_name}}}, {% connected_content https://shop.example/v1/reviews?locale=de&sku={{ item.sku }}"
        "&limit=3&business_unit=b :auth_credentials a :retry :save r %}{{ r.count }}"
    )
    found = read(tag, HOST, Channel.EMAIL)
    assert found.choices is not None
    assert (found.choices.source, found.choices.sku) == ("kept", "{{ item.sku }}")
    after = rewritten(tag, replace(found.choices, filters={"limit": "5", "stars": "5"}))
    assert after == tag.replace("&limit=3", "").replace("=b ", "=b&stars=5&limit=5 ")


@pytest.mark.parametrize(
    ("template", "because"),
    [
        ("Hello", "it makes no call"),
        ("{% connected_content https://a.example/v1/reviews?sku=A %}" * 2, "it makes 2 calls"),
        ("{% connected_content https://a.example/v2/x?sku=A %}", "not one that the builder writes"),
        ("{% connected_content https://a.example/v1/reviews?product_url=A %}", "not one that the builder writes"),
        ("{% connected_content https://a.example/v1/reviews?sku=A&limit={{n}} %}", "its limit comes from Liquid"),
        ("{% connected_content {{host}}/v1/reviews?sku=A %}", "not one that the builder writes"),
        ("{% connected_content https://a.example/v1/reviews?sku=A&limit=50 %}", "the proxy refuses"),
    ],
)
def test_it_steps_back_from_what_it_could_not_write(template: str, because: str) -> None:
    found = read(template, HOST, Channel.EMAIL)
    assert found.choices is None
    assert because in found.because
    assert rewritten(template, CHOICES) is None
