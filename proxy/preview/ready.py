"""The templates to start from, each with what it needs to be previewed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from proxy.preview.braze import Channel


@dataclass(frozen=True)
class ReadyTemplate:
    """A template with what it needs to be previewed: ``data`` is what `proxy.preview.message.profile` reads."""

    name: str
    label: str
    about: str
    channel: Channel
    title: str
    data: Mapping[str, Any] = field(hash=False)
    preheader: str = ""

    def template(self) -> str:
        """Return the template's Liquid, calling `HOST`."""
        return (files(__package__) / "templates" / f"{self.name}.liquid").read_text("utf-8")


READY_TEMPLATES = (
    ReadyTemplate(
        "product-reviews",
        "Reviews of a product",
        "The rating and the latest reviews, whatever their stars.",
        Channel.EMAIL,
        "What others say about your {{event_properties.${item_name} | default: 'find'}}",
        {"event_properties": {"item_sku": "TRUCK-01", "item_name": "toy truck"}, "attributes": {"first_name": "Ann"}},
        "Their stars, and their own words.",
    ),
    ReadyTemplate(
        "abandoned-cart",
        "Products in a cart",
        "Stars and one quote for each of several products.",
        Channel.EMAIL,
        "You left something behind",
        {"event_properties": {"skus": ["TRUCK-01", "BLENDER-450", "NEW-00"]}},
        "See what others say about it.",
    ),
    ReadyTemplate(
        "review-invitation",
        "Ask for a review",
        "Neutral, as Trustpilot wants it: no other reviews beside it.",
        Channel.EMAIL,
        "How do you like your {{event_properties.${item_name} | default: 'order'}}?",
        {
            "attributes": {"first_name": "Ann"},
            "event_properties": {"item_name": "toy truck", "review_link": "https://shop.example.com/review/1001"},
        },
        "Two minutes of yours help the next person choose.",
    ),
    ReadyTemplate(
        "push-quote",
        "One quote for push",
        "A short quote, and which reviews it is from.",
        Channel.PUSH,
        "Still thinking about it?",
        {"event_properties": {"item_sku": "TRUCK-01"}},
    ),
    ReadyTemplate(
        "push-rating",
        "Rating for push",
        "Stars in figures, where at least ten people gave four on average.",
        Channel.PUSH,
        "You looked at it twice",
        {"event_properties": {"item_sku": "TRUCK-01"}},
    ),
    ReadyTemplate(
        "sms-stars",
        "Star line for SMS",
        "The rating in figures: ★ would make an SMS twice as long.",
        Channel.SMS,
        "",
        {"event_properties": {"item_sku": "TRUCK-01", "cart_link": "https://shop.example.com/c/1"}},
    ),
    ReadyTemplate(
        "in-app-rating",
        "Rating in the app",
        "Stars and the latest review, in a dialog.",
        Channel.IN_APP,
        "Loved by many",
        {"event_properties": {"item_sku": "TRUCK-01"}},
    ),
    ReadyTemplate(
        "in-app-quotes",
        "Two quotes in the app",
        "The latest words of two people, whatever their stars.",
        Channel.IN_APP,
        "What others say",
        {"event_properties": {"item_sku": "TRUCK-01"}},
    ),
)
