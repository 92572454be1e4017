"""The calls for Trustpilot's pictures of stars and for a shop's page: few, and never at anybody's cost."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

from proxy.clock import Priority
from proxy.trustpilot.circuit_breaker import CircuitBreaker
from proxy.trustpilot.client import DirectCalls
from proxy.trustpilot.decode import read_object
from proxy.trustpilot.errors import Busy
from proxy.trustpilot.quota import Quota

_MOST_USED = 0.5
"""Of each window of the quota: beyond it, what is left is for reviews."""

_SMALLEST_WINDOW = 100
"""Calls. A smaller window has none to spare."""

_PICTURE = re.compile(r"https://[A-Za-z0-9.:-]{1,253}/[A-Za-z0-9._~/@+%=?-]{1,500}")
_DOMAIN = re.compile(r"[^\s/\\?#&<>\"'{}%\x00-\x1f\x7f]{1,253}(?:/[A-Za-z0-9._~/-]{0,200})?")


class AssetCalls:
    """Makes them with ``Priority: u=7`` (RFC 9218, the lowest urgency), and only while there is plenty of room.

    They pass no circuit breaker: that these fail says nothing about reviews. While it is open none is made.
    """

    def __init__(
        self, calls: DirectCalls, breaker: CircuitBreaker, quota: Quota, *, api_url: str, api_key: str
    ) -> None:
        self._calls = calls
        self._breaker = breaker
        self._quota = quota
        self._url = api_url
        self._headers = {"apikey": api_key, "Accept": "application/json", "Priority": "u=7"}

    def stars_image(self, stars: float) -> str | None:
        """Return the address of the picture, ``None`` for one that can't be shown.

        Raises :class:`~proxy.trustpilot.errors.TrustpilotError`.
        """
        return self._get(f"/resources/images/stars/{stars:g}", _read_stars_image)

    def shop_page(self, business_unit: str) -> str | None:
        """Return the address of the shop's page, as :meth:`stars_image` does."""
        return self._get(f"/business-units/{quote(business_unit, safe='')}", _read_shop_page)

    def _get(self, path: str, read: Callable[[bytes], str | None]) -> str | None:
        if self._breaker.pauses() or not all(
            use.window.calls >= _SMALLEST_WINDOW and use.used < use.window.calls * _MOST_USED
            for use in self._quota.uses()
        ):
            raise Busy("no calls to spare")
        response = self._calls.send(
            "GET", self._url + path, headers=self._headers, priority=Priority.BACKGROUND, free=False
        )
        response.raise_for_status()
        return read(response.body)


def _read_stars_image(body: bytes) -> str | None:
    picture = read_object(body).get("star256x48")
    url = picture.get("url") if isinstance(picture, dict) else None
    if not isinstance(url, str):
        return None
    url = f"https:{url}" if url.startswith("//") else url
    return url if _PICTURE.fullmatch(url) else None


def _read_shop_page(body: bytes) -> str | None:
    name = read_object(body).get("name")
    domain = name.get("identifying") if isinstance(name, dict) else None
    if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
        return None
    try:
        return f"https://www.trustpilot.com/review/{quote(domain)}"
    except UnicodeEncodeError:
        return None
