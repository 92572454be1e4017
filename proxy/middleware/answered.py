"""The event that every request ends with."""

from __future__ import annotations

from typing import NamedTuple


class Answered(NamedTuple):
    """One request was answered. Nothing in it can name a product, a person or a secret."""

    request_id: str
    method: str
    route: str
    """A path of the contract, or ``other``."""
    status: int
    cache: str
    """``hit``, ``stale`` or ``miss``; ``none`` for what does not come from the cache."""
    age: int
    """Of the copy, in seconds."""
    seconds: float
    bytes: int
    """Of the body as sent."""
    skus: int
    """How many were asked for."""
    sender: str
    """``X-Braze-Sender-Version``."""
    replayed: bool
    """An invitation that was answered like the first and not sent again."""
