"""A page: the newest reviews of a product as Trustpilot sent them, kept compactly."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

from proxy.trustpilot import RawReview
from proxy.trustpilot.reader import created_at


@dataclass(frozen=True)
class Page:
    """Reviews newest first, and whether they are all there are (under the filters they were asked with)."""

    reviews: list[RawReview]
    complete: bool

    def encode(self) -> bytes:
        """Return the page as compressed JSON."""
        text = json.dumps([self.complete, self.reviews], ensure_ascii=False, separators=(",", ":"))
        return zlib.compress(text.encode("utf-8", "replace"), 6)

    @classmethod
    def decode(cls, value: bytes) -> Page:
        """Read what :meth:`encode` wrote."""
        complete, reviews = json.loads(zlib.decompress(value))
        return cls(reviews, complete)


def written_at(review: RawReview) -> float:
    """Return when ``review`` was written, in seconds since the epoch; without a date it counts as the oldest."""
    moment = created_at(review)
    return moment.timestamp() if moment else float("-inf")
