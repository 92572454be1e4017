"""The paths of the contract, as few words: what a request was for, without what was asked for."""

from __future__ import annotations

import re

DROP_IN_REVIEWS = "/v1/product-reviews/business-units/{bu}/reviews"
DROP_IN_SUMMARY = "/v1/product-reviews/business-units/{bu}"
DROP_IN_INVITATIONS = "/v1/private/business-units/{bu}/email-invitations"
TOKEN = "/v1/oauth/oauth-business-users-for-applications/accesstoken"  # noqa: S105  # a path
PREVIEW = "/preview"

DROP_IN_READS = frozenset({DROP_IN_REVIEWS, DROP_IN_SUMMARY})
"""Where the host alone is changed in a template that reads. Trustpilot takes its key in the query there."""

PLAIN = frozenset(
    {
        "/v1/reviews",
        "/v1/products",
        "/v1/summary",
        "/v1/invitations",
        TOKEN,
        "/v1/cache/purge",
        "/hooks/trustpilot",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
        PREVIEW,
    }
)

_WITH_UNIT = {
    re.compile(re.escape(route).replace(r"\{bu\}", "[^/]+")): route
    for route in (DROP_IN_REVIEWS, DROP_IN_SUMMARY, DROP_IN_INVITATIONS)
}
_PREVIEWS = PREVIEW + "/"


def route_of(path: str) -> str:
    """Return which of the contract's paths ``path`` is, ``other`` for none."""
    if path in PLAIN:
        return path
    for pattern, route in _WITH_UNIT.items():
        if pattern.fullmatch(path):
            return route
    return PREVIEW if path.startswith(_PREVIEWS) else "other"
