"""The WSGI layers in front of Flask, from the outside in: access log, allowed networks, response cache."""

from proxy.middleware.response_cache import ResponseCache, ResponseStore

__all__ = ["ResponseCache", "ResponseStore"]
