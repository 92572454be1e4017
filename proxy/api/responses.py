"""What the layers of WSGI tell each other of a request and its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from proxy.cache import Freshness

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

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
