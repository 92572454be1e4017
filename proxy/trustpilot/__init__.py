"""The only room that talks to Trustpilot: transport, client, reader, errors.

What is exported here needs no HTTP library; the client and its transport are wired in by ``proxy.app``.
"""

from proxy.trustpilot.errors import TrustpilotError
from proxy.trustpilot.reader import RawReview, ReviewsPage, SummaryCounts

__all__ = ["RawReview", "ReviewsPage", "SummaryCounts", "TrustpilotError"]
