"""The only room that talks to Trustpilot: transport, client, reader, errors."""

from proxy.trustpilot.client import Trustpilot
from proxy.trustpilot.errors import TrustpilotError
from proxy.trustpilot.reader import RawReview, ReviewsPage, SummaryCounts
from proxy.trustpilot.transport import Transport

__all__ = ["RawReview", "ReviewsPage", "SummaryCounts", "Transport", "Trustpilot", "TrustpilotError"]
