"""A finished answer, and the request that it answers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from proxy.api.responses import MadeOf, written
from proxy.middleware.compression import accepts_gzip

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_OVERHEAD = 1000
"""Bytes a held answer costs beside its body and its request's text. Measured by ``tests/middleware/test_held.py``."""


class Asked(NamedTuple):
    """All of a GET that its answer depends on. Two requests that differ in a credential never share an answer."""

    path: str
    query: str
    authorization: str | None
    x_api_key: str | None
    apikey: str | None
    gzip: bool

    @classmethod
    def of(cls, environ: WSGIEnvironment) -> Asked:
        """Read a request."""
        get = environ.get
        return cls(
            environ["PATH_INFO"],
            get("QUERY_STRING", ""),
            get("HTTP_AUTHORIZATION"),
            get("HTTP_X_API_KEY"),
            get("HTTP_APIKEY"),
            accepts_gzip(get("HTTP_ACCEPT_ENCODING", "")),
        )

    def __repr__(self) -> str:
        # It holds credentials, and a repr ends up in logs.
        return f"Asked({self.path!r})"


class Fields(NamedTuple):
    """Header fields that answers have in common: to be handed on one by one, and as they travel."""

    pairs: tuple[tuple[str, str], ...]
    written: bytes

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, pairs: tuple[tuple[str, str], ...]) -> Fields:
        """Return the same fields for the same pairs, so that thousands of held answers share them."""
        return cls(pairs, written(pairs))


@dataclass(frozen=True, slots=True)
class Ready:
    """An answer without what is each request's own: its id, its timing, and how fresh it is by now."""

    status: str
    fields: Fields
    body: bytes
    made_of: MadeOf | None
    """``None`` when it must not be repeated."""
    as_told: tuple[tuple[str, str], ...] = ()
    """How fresh it is, as the app said, when it was not made of copies."""

    def weight(self, asked: Asked) -> int:
        """Return the bytes of memory that holding the answer takes."""
        products = sum(map(sys.getsizeof, self.made_of.products)) if self.made_of else 0
        # The only field that is as long as a caller likes; it is held one by one and written.
        ignored = sum(2 * len(value) for name, value in self.fields.pairs if name == "X-Ignored-Parameters")
        own = sys.getsizeof(self.body) + sys.getsizeof(asked.path) + sys.getsizeof(asked.query)
        return own + products + ignored + _OVERHEAD
