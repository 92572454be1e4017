"""The ready templates: whole messages to start from, used by the page and rendered by the tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from proxy.preview.braze.channel import Channel

HOST = "https://reviews.example.com"
"""Stands in the ready templates for the address Braze reaches this proxy by."""


@dataclass(frozen=True)
class Ready:
    """A template with what it needs to be previewed: ``data`` is what `proxy.preview.person.person` reads."""

    name: str
    label: str
    about: str
    channel: Channel
    title: str
    data: Mapping[str, Any]

    def template(self) -> str:
        """Return the template's Liquid, calling `HOST`."""
        return (files(__package__) / "templates" / f"{self.name}.liquid").read_text("utf-8")


READY = (
    Ready(
        "review-email",
        "Review e-mail after delivery",
        "Asks for a review and shows two good ones.",
        Channel.EMAIL,
        "How do you like your {{event_properties.${item_name} | default: 'order'}}?",
        {
            "attributes": {"first_name": "Ann"},
            "event_properties": {
                "item_sku": "TRUCK-01",
                "item_name": "toy truck",
                "review_link": "https://shop.example.com/review/1001",
            },
        },
    ),
    Ready(
        "abandoned-cart",
        "Products in an abandoned cart",
        "Stars and one quote for each of several SKUs.",
        Channel.EMAIL,
        "You left something behind",
        {"event_properties": {"skus": ["TRUCK-01", "BLENDER-450", "NEW-00"]}},
    ),
    Ready(
        "push-quote",
        "One quote for push",
        "A short five-star quote.",
        Channel.PUSH,
        "Still thinking about it?",
        {"event_properties": {"item_sku": "TRUCK-01"}},
    ),
    Ready(
        "sms-stars",
        "Star line for SMS",
        "The rating in figures: ★ would make an SMS twice as long.",
        Channel.SMS,
        "",
        {"event_properties": {"item_sku": "TRUCK-01", "cart_link": "https://shop.example.com/c/1"}},
    ),
)
