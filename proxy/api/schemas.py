"""The JSON of the contract's answers and bodies, as JSON Schema for ``/openapi.json``.

Answers are described by the types that they are made as; bodies by what :mod:`proxy.invitations` takes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict, get_type_hints, is_typeddict

import msgspec
from msgspec import Meta

from proxy import invitations
from proxy.reviews import answers
from proxy.reviews.answers import Count, is_

Json = dict[str, Any]


class Problem(TypedDict):
    type: str
    title: str
    status: int
    detail: Annotated[str, is_("what is wrong, and what would be right")]
    found: Annotated[bool, Meta(extra_json_schema={"const": False})]


class NextPage(TypedDict):
    href: str
    method: str
    rel: str


class TrustpilotReviews(TypedDict):
    productReviews: list[Json]
    links: list[NextPage]


class TrustpilotServiceReviews(TypedDict):
    reviews: list[Json]
    links: list[NextPage]


class TrustpilotSummaries(TypedDict):
    summaries: list[answers.TrustpilotProduct]


class Purged(TypedDict):
    purged: Annotated[list[str], is_("what was dropped, where it was cached")]


class Applied(TypedDict):
    applied: Annotated[Count, is_("events that changed what is cached")]
    ignored: Annotated[Count, is_("events of other kinds")]


class Alive(TypedDict):
    status: Literal["alive"]


class Calls(TypedDict):
    used: Count
    limit: Count


class Plan(Calls):
    today: Count
    share_of_today: Annotated[Count, is_("calls that the plan has for today")]
    days_until_used_up: Annotated[float | None, is_("if it goes on like this; null: not this year")]


class Readiness(TypedDict):
    status: Literal["ready"]
    trustpilot: Annotated[Literal["calling", "paused"], is_("whether it is called")]
    calls: Annotated[dict[str, Calls], is_("by window")]
    plan: Annotated[Plan | None, is_("the year's calls; null: unlimited")]
    fresh_seconds: Annotated[Count, is_("age until which a copy is fresh now")]
    sync: Annotated[Json | None, is_("how far the copies are kept true; null: SYNC is off")]


class Token(TypedDict):
    access_token: str
    token_type: str
    expires_in: str


class Link(TypedDict):
    found: bool
    url: Annotated[str, is_("the link, for one customer and one order")]


class Status(TypedDict):
    """What the page of the same address shows; keys are added with time."""

    state: Literal["well", "attention"]
    notices: Annotated[list[str], is_("a sentence for each thing that somebody should know")]
    version: str


class Batch(TypedDict):
    skus: Annotated[
        list[Annotated[str, Meta(pattern=r"^[^\s,\x00-\x1f\x7f-\x9f\ufffd{}$]{1,200}$")]],
        Meta(min_length=1, max_length=100),
    ]


class Grant(TypedDict):
    grant_type: NotRequired[Literal["client_credentials"]]


_OPEN = frozenset({"Batch", "Grant", "Problem", "Status"})
"""They may have other keys."""


def _of_types() -> dict[str, Json]:
    types = {known.__name__: known for known in (*vars(answers).values(), *globals().values()) if is_typeddict(known)}
    _, schemas = msgspec.json.schema_components(types.values(), ref_template="#/components/schemas/{name}")
    for name, schema in schemas.items():
        # msgspec sorts them.
        schema["properties"] = {key: schema["properties"][key] for key in get_type_hints(types[name])}
        if name not in _OPEN:
            schema["additionalProperties"] = False
    return schemas


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


_NULL: Json = {"type": "null"}
_SEND_TIME: Json = _or_null({"type": "string", "pattern": invitations.VISIBLE, "examples": ["2026-01-31T09:00:00"]})
_SKU_TEXT: Json = {"type": "string", "pattern": invitations.VISIBLE, "not": {"pattern": invitations.UNRENDERED}}


def _products(given: str, items: Json, absent: str) -> Json:
    listed = {"type": "array", "minItems": 1, "items": items}
    return {
        "type": "object",
        "properties": {given: listed, absent: _NULL, "preferredSendTime": _SEND_TIME},
        "required": [given],
    }


_PRODUCT_REVIEW: Json = {
    "anyOf": [
        _products("productSkus", _SKU_TEXT, "products"),
        _products("products", {"type": "object"}, "productSkus"),
    ]
}
_SERVICE_REVIEW: Json = {"type": "object", "properties": {"preferredSendTime": _SEND_TIME}}
_ADDRESS: Json = {
    "type": "string",
    "pattern": f"^{invitations.ADDRESS}$",
    "maxLength": invitations.LONGEST_ADDRESS,
    "examples": ["jane@example.com"],
}
_TEXT: Json = {
    "type": "string",
    "pattern": invitations.VISIBLE,
    "maxLength": invitations.LONGEST_TEXT,
    "not": {"pattern": invitations.UNRENDERED},
}
_A_SKU = rf"(?=[^,]*{invitations.VISIBLE}){invitations.SKU}"
_SKU_LIST: Json = {
    "type": "string",
    "pattern": rf"^{_A_SKU}(,{_A_SKU}){{0,{invitations.MOST_SKUS - 1}}}$",
    "not": {"pattern": invitations.UNRENDERED},
}


def _link_request(*absent: Json, number: Json) -> Json:
    """Return what a link takes; ``absent``: what stands for a field that is not given, in JSON."""
    return {
        "type": "object",
        "properties": {
            "email": _ADDRESS,
            "name": _TEXT,
            "reference": number,
            "sku": {
                "description": "what the link is about; without it the shop itself",
                "anyOf": [
                    _SKU_LIST,
                    {"type": "array", "items": _SKU_LIST, "minItems": 1, "maxItems": invitations.MOST_SKUS},
                    *absent,
                ],
            },
            "locale": {"anyOf": [{"type": "string", "pattern": f"^{invitations.LOCALE}$"}, *absent]},
            "redirect_url": {"anyOf": [{"type": "string", "pattern": f"^{invitations.REDIRECT_URL}$"}, *absent]},
        },
        "required": ["email", "name", "reference"],
    }


_INVITATION: Json = {
    "type": "object",
    "description": "Trustpilot's own body; what is not described here is passed on as it is.",
    "properties": {
        "consumerEmail": _ADDRESS,
        "referenceNumber": {
            "type": ["string", "integer", "null"],
            "not": {"type": "string", "pattern": invitations.UNRENDERED},
        },
        "serviceReviewInvitation": _or_null(_SERVICE_REVIEW),
        "productReviewInvitation": _or_null(_PRODUCT_REVIEW),
    },
    "required": ["consumerEmail"],
    "anyOf": [
        {"properties": {"serviceReviewInvitation": {"type": "object"}}, "required": ["serviceReviewInvitation"]},
        {"properties": {"productReviewInvitation": {"type": "object"}}, "required": ["productReviewInvitation"]},
    ],
}

SCHEMAS: dict[str, Json] = {
    **_of_types(),
    # The settings page of Trustpilot's sends an empty object as a test.
    "Webhook": {
        "anyOf": [
            {"type": "object", "properties": {"events": {"type": "array", "items": {}}}, "required": ["events"]},
            {"type": "object", "maxProperties": 0},
        ]
    },
    "Invitation": _INVITATION,
    "LinkRequest": _link_request(_NULL, number={"anyOf": [_TEXT, {"type": "integer"}]}),
    "LinkForm": _link_request(number=_TEXT),
}
