"""What callers see: parameters, problems, and one module per group of endpoints.

Here is what the layers around them need to know: the paths of the contract, and what of a request and its answer
travels with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from proxy.cache import Freshness

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

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


STARTED = "proxy.started"
"""In the WSGI environment: when the request came, on the monotonic clock. Without it, it comes now."""

SOURCES = "proxy.sources"
"""In the WSGI environment, once answered: the :class:`Sources` of an answer that says how fresh it is."""


NO_SNIFFING = ("X-Content-Type-Options", "nosniff")
"""Keeps browsers from guessing types."""

TAKES_PREBUILT = "proxy.takes_prebuilt"
"""In the WSGI environment, true where the server takes a :class:`PrebuiltResponse` instead of ``start_response``."""

Headers = Sequence[tuple[str, str]]


class PrebuiltResponse(NamedTuple):
    """A finished answer, as ready to travel as it can be."""

    status: str
    """As ``start_response`` takes it."""
    common: bytes
    """The header fields that it shares with others, written already."""
    own: list[tuple[str, str]]
    """The rest of its headers, ``Content-Length`` among them. Those of the connection are the server's."""
    body: bytes


Application = Callable[["WSGIEnvironment", "StartResponse"], "Iterable[bytes] | PrebuiltResponse"]
"""A WSGI application that may return a :class:`PrebuiltResponse` to a server that takes one."""


class Sources(Struct, frozen=True):
    """What an answer was made from: the products, as surrogate keys, and their freshness."""

    surrogate_keys: tuple[str, ...]
    """The names under which the cache holds the products; a change of one of them makes the answer invalid."""
    freshness: Freshness
