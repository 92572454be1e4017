"""The only room that talks to Trustpilot: transport, client, decoding, errors.

What is exported here needs no HTTP library; the client and its transport are wired in by ``proxy.app``.
"""

from proxy.trustpilot.errors import TrustpilotError

__all__ = ["TrustpilotError"]
