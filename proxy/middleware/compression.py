"""Gzip, for callers that accept it and bodies that gain by it."""

from __future__ import annotations

import gzip
from functools import lru_cache

SMALLEST_WORTH = 1000
"""Bytes: a smaller body fits into one network packet either way."""

_LEVEL = 6


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether a caller who sends this ``Accept-Encoding`` takes gzip (RFC 9110, 12.5.3)."""
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, *parameters = [piece.strip() for piece in part.split(";")]
        weights[coding] = min((_weight(parameter) for parameter in parameters), default=1.0)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def compressed(body: bytes) -> bytes:
    """Return ``body`` as gzip, the same bytes each time."""
    return gzip.compress(body, _LEVEL, mtime=0)


def _weight(parameter: str) -> float:
    """Return the weight that ``q=…`` gives; what can't be read gives none."""
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
