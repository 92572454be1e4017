"""A page: the newest reviews of a product as Trustpilot sent them, kept compactly."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

from proxy.trustpilot import RawReview
from proxy.trustpilot.reader import created_at, kept


@dataclass(frozen=True)
class Page:
    """Reviews newest first, and whether they are all there are (under the filters they were asked with).

    ``dropped``: a review that could not be read was left out, so that a count of the reviews is not the product's.
    """

    reviews: list[RawReview]
    complete: bool
    dropped: bool = False

    @property
    def countable(self) -> bool:
        """Whether the count of these reviews is the product's."""
        return self.complete and not self.dropped

    def encode(self) -> bytes:
        """Return the page as compressed JSON."""
        text = json.dumps([self.complete, self.reviews, self.dropped], ensure_ascii=False, separators=(",", ":"))
        return zlib.compress(text.encode("utf-8", "replace"), 6)

    @classmethod
    def decode(cls, value: bytes) -> Page:
        """Read what :meth:`encode` wrote."""
        complete, reviews, *dropped = json.loads(zlib.decompress(value))
        if not dropped:
            # An earlier version's pages, which a shared store still holds after an upgrade, do not say what was
            # dropped, and hold all that a webhook told: e-mail addresses too.
            return cls([kept(review) for review in reviews], complete)
        return cls(reviews, complete, any(dropped))


def written_at(review: RawReview) -> float:
    """Return when ``review`` was written, in seconds since the epoch; without a date it counts as the oldest."""
    moment = created_at(review)
    return moment.timestamp() if moment else float("-inf")
