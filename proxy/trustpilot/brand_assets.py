"""What Trustpilot offers to show beside reviews: its pictures of stars, and the shop's page there.

They are kept for weeks, for all workers and machines: one call each. An answer shows what is known by now, and has
what is not fetched in a quiet moment later.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import quote

import msgspec

from proxy.cache import Backend, BackendDown
from proxy.clock import Now, Priority
from proxy.reviews.view import BrandAssets, KnownAsset, KnownAssets
from proxy.trustpilot import (
    Busy,
    Malformed,
    NotFound,
    Paused,
    QuotaUsedUp,
    Refused,
    Rejected,
    TrustpilotError,
    error_of,
)
from proxy.trustpilot.client import Calls, read_object

EVERY_SECONDS = 1.0
QUIET_SECONDS = 3.0
"""From when nothing was asked for until what is gets fetched: whatever came with it is answered by then."""

KEPT_SECONDS = 21 * 86_400.0
ABSENT_SECONDS = 86_400.0
"""How long it is remembered that Trustpilot has nothing."""

FAILED_SECONDS = 600.0
RETRY_SECONDS = 30.0
"""When no call could be spared, or another process makes it."""

_FETCH_SECONDS = 60.0
_LASTING = (NotFound, Rejected, Malformed, Refused)
_NOT_MADE = (Busy, QuotaUsedUp, Paused)
_STARS = "stars/"
_PAGE = "page/"
_log = logging.getLogger(__name__)


class KeptAssets:
    """Knows what the backend keeps, and has fetched what is wanted of ``known`` and is not there."""

    def __init__(self, calls: BrandAssets, backend: Backend, account: str, units: Sequence[str], now: Now) -> None:
        """Fetch by ``calls``, which raise ``TrustpilotError``; ``account`` tells two of Trustpilot's apart."""
        self._calls = calls
        self._backend = backend
        self._prefix = f"brand/{account}/"
        stars = [f"{_STARS}{half / 2:g}" for half in range(2, 11)]
        self.known = KnownAssets([*stars, *(f"{_PAGE}{unit}" for unit in units)], now)
        self._now = now
        self._due_at = 0.0
        self._is_loaded = False
        self._listeners: list[Callable[[], None]] = []

    def when_found(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when answers would show another address than before."""
        self._listeners.append(listener)

    def tick(self) -> None:
        """Learn what the backend keeps, and fetch what has been wanted for a while."""
        if not self._is_loaded:
            with suppress(BackendDown):
                self.load()
                self._is_loaded = True
            # What was wanted before the first tick waits as well.
            self._due_at = self._now() + QUIET_SECONDS
        elif not self.known.wanted:
            self._due_at = self._now() + QUIET_SECONDS
        elif self._now() >= self._due_at and not self.fetch():
            self._due_at = self._now() + RETRY_SECONDS

    def load(self) -> None:
        """Learn what the backend keeps."""
        for name in self.known.names:
            self._load(name)

    def fetch(self) -> bool:
        """Fetch what is wanted; tell whether nothing is left to do."""
        for name in sorted(self.known.wanted):
            try:
                if not self._load(name):
                    self._fetch(name)
            except BackendDown:
                return False
        return not self.known.wanted

    def _load(self, name: str) -> bool:
        kept = self._backend.get(self._prefix + name)
        if kept is None:
            return False
        try:
            known = msgspec.json.decode(kept, type=KnownAsset)
        except (msgspec.DecodeError, UnicodeDecodeError):
            _log.warning("what is stored as %s is not the proxy's: treated as absent", self._prefix + name)
            return False
        self._keep(name, known)
        return known.until > self._now()

    def _fetch(self, name: str) -> None:
        lock = self._backend.lock(self._prefix + name, _FETCH_SECONDS)
        if lock is None:
            return
        try:
            before = self.known.addresses.get(name)
            address, seconds = self._fetched(name, before.address if before else None)
            known = KnownAsset(address, self._now() + seconds)
            self._backend.set(self._prefix + name, msgspec.json.encode(known), seconds)
            self._keep(name, known)
        except _NOT_MADE:
            return
        finally:
            self._backend.release(lock)

    def _fetched(self, name: str, before: str | None) -> tuple[str | None, float]:
        """Return the address and how long that is kept; where Trustpilot fails, the one from before."""
        try:
            if name.startswith(_STARS):
                address = self._calls.stars_image(float(name.removeprefix(_STARS)))
            else:
                address = self._calls.shop_page(name.removeprefix(_PAGE))
        except _LASTING:
            return before, ABSENT_SECONDS
        except _NOT_MADE:
            raise
        except TrustpilotError:
            return before, FAILED_SECONDS
        return address, KEPT_SECONDS if address else ABSENT_SECONDS

    def _keep(self, name: str, known: KnownAsset) -> None:
        before = self.known.addresses.get(name)
        self.known.addresses[name] = known
        if known.until > self._now():
            self.known.wanted.discard(name)
        if known.address != (before.address if before else None):
            for listener in self._listeners:
                listener()


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

    def __init__(self, calls: Calls, *, api_url: str, api_key: str) -> None:
        self._calls = calls
        self._url = api_url
        self._headers = {"apikey": api_key, "Accept": "application/json", "Priority": "u=7"}

    def stars_image(self, stars: float) -> str | None:
        """Return the address of the picture, ``None`` for one that can't be shown.

        Raises :class:`~proxy.trustpilot.TrustpilotError`.
        """
        return self._get(f"/resources/images/stars/{stars:g}", _read_stars_image)

    def shop_page(self, business_unit: str) -> str | None:
        """Return the address of the shop's page, as :meth:`stars_image` does."""
        return self._get(f"/business-units/{quote(business_unit, safe='')}", _read_shop_page)

    def _get(self, path: str, read: Callable[[bytes], str | None]) -> str | None:
        if self._calls.breaker.pauses() or not all(
            use.window.calls >= _SMALLEST_WINDOW and use.used < use.window.calls * _MOST_USED
            for use in self._calls.quota.uses()
        ):
            raise Busy("no calls to spare")
        response = self._calls.send(
            "GET", self._url + path, headers=self._headers, priority=Priority.BACKGROUND, free=False
        )
        if not 200 <= response.status < 300:
            raise error_of(response)
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
