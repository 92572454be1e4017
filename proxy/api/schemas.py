"""The JSON of the contract's answers and bodies, as JSON Schema for ``/openapi.json``."""

from __future__ import annotations

from typing import Any

from proxy.invitations import links
from proxy.invitations.validation import ADDRESS, LONGEST_ADDRESS, VISIBLE

Json = dict[str, Any]


def _object(properties: Json, optional: tuple[str, ...] = (), *, open_: bool = False) -> Json:
    schema: Json = {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }
    return schema if open_ else {**schema, "additionalProperties": False}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(schema: Json) -> Json:
    return {"type": "array", "items": schema}


TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
TRUE_OR_FALSE: Json = {"type": "boolean"}
STARS: Json = {"type": "integer", "minimum": 1, "maximum": 5}
HALF_STARS: Json = {"enum": [half / 2 for half in range(11)]}
ADDRESS_OR_NULL: Json = _or_null({"type": "string", "pattern": "^https?://"})
AVERAGE: Json = {"anyOf": [{"type": "number", "minimum": 0, "maximum": 5}, {"type": "null"}]}
NO: Json = {"const": False}

_NUMBERS = ("five_stars", "four_stars", "three_stars", "two_stars", "one_star")
_STARS: Json = {
    "average": AVERAGE,
    "average_text": TEXT,
    "stars": _or_null(HALF_STARS),
    "stars_icons": TEXT,
    "stars_alt": TEXT,
    "stars_image": ADDRESS_OR_NULL,
    "total": COUNT,
    "total_text": TEXT,
    "distribution": _object(dict.fromkeys(_NUMBERS, COUNT)),
}
_REVIEW = _object(
    {
        "id": _or_null(TEXT),
        "stars": STARS,
        "stars_icons": TEXT,
        "source": {"enum": ["trustpilot", "imported"]},
        "content": TEXT,
        "truncated": TRUE_OR_FALSE,
        "author": TEXT,
        "date": _or_null(TEXT),
        "date_text": TEXT,
        "created_at": _or_null(TEXT),
        "language": _or_null(TEXT),
        "reply": _or_null(TEXT),
        "image": _or_null(TEXT),
        "attributes": _list(_object({"name": TEXT, "rating": {"type": ["number", "null"]}})),
    }
)
_BUSINESS = _object(
    {
        "found": TRUE_OR_FALSE,
        "name": TEXT,
        "trust_score": AVERAGE,
        "trust_score_text": TEXT,
        **{name: _STARS[name] for name in ("stars", "stars_icons", "stars_alt", "stars_image")},
        "label": TEXT,
        "total": COUNT,
        "total_text": TEXT,
        "count": COUNT,
        "reviews": _list(_object({**_REVIEW["properties"], "title": TEXT})),
        "disclosure": TEXT,
        "links": _object({"trustpilot": ADDRESS_OR_NULL}),
        "error": TEXT,
    },
    ("error",),
)
_BLOCK = _object(
    {
        "sku": TEXT,
        "found": TRUE_OR_FALSE,
        "count": COUNT,
        "scope": {"enum": ["product", "business"]},
        "summary": _or_null(_object(_STARS)),
        "reviews": _list(_REVIEW),
        "disclosure": TEXT,
        "links": _object({"trustpilot": ADDRESS_OR_NULL}),
        "error": TEXT,
    },
    ("error",),
)
_UNRENDERED = r"\{\{|\}\}|\{%|\$\{"
_NULL: Json = {"type": "null"}
_SEND_TIME: Json = _or_null({"type": "string", "pattern": VISIBLE, "examples": ["2026-01-31T09:00:00"]})
_SKU_TEXT: Json = {"type": "string", "pattern": VISIBLE, "not": {"pattern": _UNRENDERED}}


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
    "pattern": f"^{ADDRESS}$",
    "maxLength": LONGEST_ADDRESS,
    "examples": ["jane@example.com"],
}
_TEXT: Json = {
    "type": "string",
    "pattern": VISIBLE,
    "maxLength": links.LONGEST_TEXT,
    "not": {"pattern": _UNRENDERED},
}
_A_SKU = rf"(?=[^,]*{VISIBLE}){links.SKU}"
_SKU_LIST: Json = {
    "type": "string",
    "pattern": rf"^{_A_SKU}(,{_A_SKU}){{0,{links.MOST_SKUS - 1}}}$",
    "not": {"pattern": _UNRENDERED},
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
                    {"type": "array", "items": _SKU_LIST, "minItems": 1, "maxItems": links.MOST_SKUS},
                    *absent,
                ],
            },
            "locale": {"anyOf": [{"type": "string", "pattern": f"^{links.LOCALE}$"}, *absent]},
            "redirect_url": {"anyOf": [{"type": "string", "pattern": f"^{links.REDIRECT_URL}$"}, *absent]},
        },
        "required": ["email", "name", "reference"],
    }


_INVITATION: Json = {
    "type": "object",
    "description": "Trustpilot's own body; what is not described here is passed on as it is.",
    "properties": {
        "consumerEmail": _ADDRESS,
        "referenceNumber": {"type": ["string", "integer", "null"], "not": {"type": "string", "pattern": _UNRENDERED}},
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
    "Block": _BLOCK,
    "Products": _object(
        {"found": TRUE_OR_FALSE, "count": COUNT, "products": _list(_BLOCK), "error": TEXT}, ("error",)
    ),
    "Summary": _object({"sku": TEXT, "found": TRUE_OR_FALSE, **_STARS, "error": TEXT}, ("error",)),
    "TrustpilotReviews": _object({"productReviews": _list({"type": "object"}), "links": _list({"type": "object"})}),
    "TrustpilotSummary": _object(
        {
            "starsAverage": {"type": "number"},
            "numberOfReviews": _object(
                dict.fromkeys(("total", "oneStar", "twoStars", "threeStars", "fourStars", "fiveStars"), COUNT)
            ),
        }
    ),
    "Business": _BUSINESS,
    "TrustpilotBusinessUnit": _object({"id": TEXT, "displayName": TEXT}, open_=True),
    "TrustpilotServiceReviews": _object({"reviews": _list({"type": "object"}), "links": _list({"type": "object"})}),
    "TrustpilotSummaries": _object({"summaries": _list({"type": "object"})}),
    "Batch": _object(
        {
            "skus": {
                "type": "array",
                "minItems": 1,
                "maxItems": 100,
                "items": {"type": "string", "pattern": r"^[^\s,\x00-\x1f\x7f-\x9f\ufffd{}$]{1,200}$"},
            }
        },
        open_=True,
    ),
    "Problem": _object(
        {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT, "found": NO}, open_=True
    ),
    "Purged": _object({"purged": _list(TEXT)}),
    "Applied": _object({"applied": COUNT, "ignored": COUNT}),
    # The settings page of Trustpilot's sends an empty object as a test.
    "Webhook": {"anyOf": [_object({"events": _list({})}, open_=True), {"type": "object", "maxProperties": 0}]},
    "Alive": _object({"status": {"const": "alive"}}),
    "Ready": _object(
        {
            "status": {"const": "ready"},
            "trustpilot": {"enum": ["calling", "paused"]},
            "calls": {"type": "object", "additionalProperties": _object({"used": COUNT, "limit": COUNT})},
        },
        open_=True,
    ),
    "Status": _object(
        {"state": {"enum": ["well", "attention"]}, "notices": _list(TEXT), "version": TEXT}, open_=True
    ),
    "Token": _object({"access_token": TEXT, "token_type": TEXT, "expires_in": TEXT}),
    "Grant": _object({"grant_type": {"const": "client_credentials"}}, ("grant_type",), open_=True),
    "Invitation": _INVITATION,
    "LinkRequest": _link_request(_NULL, number={"anyOf": [_TEXT, {"type": "integer"}]}),
    "LinkForm": _link_request(number=_TEXT),
    "Link": _object({"found": TRUE_OR_FALSE, "url": TEXT}),
}
