"""The paths of the contract, as few words: what a request was for, without what was asked for."""

from __future__ import annotations

import re
from functools import lru_cache

DROP_IN_REVIEWS = "/v1/product-reviews/business-units/{bu}/reviews"
DROP_IN_SUMMARY = "/v1/product-reviews/business-units/{bu}"
DROP_IN_IMPORTED = f"{DROP_IN_SUMMARY}/imported-reviews"
DROP_IN_IMPORTED_SUMMARY = f"{DROP_IN_SUMMARY}/imported-reviews-summaries"
DROP_IN_BATCH_SUMMARIES = f"{DROP_IN_SUMMARY}/batch-summaries"
DROP_IN_BUSINESS_UNIT = "/v1/business-units/{bu}"
DROP_IN_SERVICE_REVIEWS = f"{DROP_IN_BUSINESS_UNIT}/reviews"
DROP_IN_INVITATIONS = "/v1/private/business-units/{bu}/email-invitations"
TOKEN = "/v1/oauth/oauth-business-users-for-applications/accesstoken"  # noqa: S105  # a path
PREVIEW = "/preview"

RIGHT_FOR: dict[str, str | None] = {
    "/v1/reviews": "read",
    "/v1/products": "read",
    "/v1/summary": "read",
    "/v1/fragment": "read",
    DROP_IN_REVIEWS: "read",
    DROP_IN_SUMMARY: "read",
    DROP_IN_BATCH_SUMMARIES: "read",
    DROP_IN_BUSINESS_UNIT: "read",
    DROP_IN_SERVICE_REVIEWS: "read",
    "/v1/business": "read",
    DROP_IN_IMPORTED: "read",
    DROP_IN_IMPORTED_SUMMARY: "read",
    PREVIEW: "read",
    "/v1/invitations": "invite",
    "/v1/invitation-links": "invite",
    DROP_IN_INVITATIONS: "invite",
    TOKEN: "invite",
    "/hooks/trustpilot": "hook",
    "/v1/cache/purge": "admin",
    "/metrics": "admin",
    "/status": "admin",
    "/": None,
    "/openapi.json": None,
    "/docs": None,
    "/healthz": None,
    "/readyz": None,
}
"""Every path, with the right that its caller's credential needs. ``None``: any credential will do."""

SECRET_IN_QUERY = frozenset(route for route, right in RIGHT_FOR.items() if right == "read" and "{bu}" in route)
"""The drop-in URLs that read: the secret may stand in the query, as Trustpilot takes its key there."""

PLAIN = frozenset(route for route in RIGHT_FOR if "{bu}" not in route)

_WITH_UNIT = {re.compile(re.escape(route).replace(r"\{bu\}", "[^/]+")): route for route in RIGHT_FOR.keys() - PLAIN}
_PREVIEWS = PREVIEW + "/"


@lru_cache(maxsize=256)
def route_of(path: str) -> str:
    """Return which of the contract's paths ``path`` is, ``other`` for none."""
    if path in PLAIN:
        return path
    for pattern, route in _WITH_UNIT.items():
        if pattern.fullmatch(path):
            return route
    return PREVIEW if path.startswith(_PREVIEWS) else "other"
