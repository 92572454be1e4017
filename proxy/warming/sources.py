"""The two ways to warm a product: in the shared store, or through a running proxy that keeps its own memory."""

from __future__ import annotations

from collections.abc import Sequence

import requests

from proxy.cache import DeadlinePassed, FailedElsewhere
from proxy.clock import Deadline
from proxy.reviews import ProductReviews, Selection, Warmed
from proxy.reviews.models import Source
from proxy.reviews.search import Missing
from proxy.trustpilot import TrustpilotError
from proxy.trustpilot.errors import Busy, Paused, QuotaUsedUp
from proxy.warming.run import CouldNot, NotYet

_PATIENCE_SECONDS = 60


class IntoStore:
    """Fetches into the store that the proxies share."""

    def __init__(self, reviews: ProductReviews, business_unit: str, sources: tuple[Source, ...]) -> None:
        """Read these ``sources``: those that the proxies read where nobody says which."""
        self._reviews = reviews
        self._business_unit = business_unit
        self._sources = sources

    def page(self, sku: str) -> tuple[Warmed, bool]:
        """Warm the newest page, of each source."""
        selection = Selection(self._business_unit, (sku,), sources=self._sources)
        try:
            return self._reviews.warm_page(selection, Deadline.after(_PATIENCE_SECONDS))
        except (TrustpilotError, FailedElsewhere, DeadlinePassed) as error:
            raise _said(error) from error

    def summaries(self, skus: Sequence[str]) -> dict[str, Warmed | CouldNot]:
        """Warm the summaries in one call."""
        outcomes = self._reviews.warm_summaries(self._business_unit, skus, Deadline.after(_PATIENCE_SECONDS))
        said = {sku: outcome if isinstance(outcome, Warmed) else _said(outcome) for sku, outcome in outcomes.items()}
        for outcome in said.values():
            if isinstance(outcome, NotYet):
                raise outcome
        return {sku: outcome for sku, outcome in said.items() if not isinstance(outcome, NotYet)}


def _said(missing: Missing) -> NotYet | CouldNot:
    if isinstance(missing, QuotaUsedUp | Paused | Busy):
        return NotYet(str(missing), seconds=1 if isinstance(missing, Busy) else missing.retry_after)
    if isinstance(missing, DeadlinePassed):
        return CouldNot(f"Trustpilot did not answer within {_PATIENCE_SECONDS} s")
    return CouldNot(str(missing))


class ThroughProxy:
    """Asks the proxy at ``url``, showing ``secret``; the proxy sees to the summaries itself."""

    def __init__(self, url: str, secret: str, business_unit: str) -> None:
        self._session = requests.Session()
        self._session.headers["X-Api-Key"] = secret
        self._url = url
        self._business_unit = business_unit

    def summaries(self, skus: Sequence[str]) -> dict[str, Warmed | CouldNot]:
        """Return that nothing is left to do: no page asks for it."""
        return dict.fromkeys(skus, Warmed.FRESH_ALREADY)

    def page(self, sku: str) -> tuple[Warmed, bool]:
        """Warm the product's block."""
        params = {"sku": sku, "business_unit": self._business_unit}
        try:
            answer = self._session.get(f"{self._url}/v1/reviews", params=params, timeout=_PATIENCE_SECONDS)
        except requests.RequestException as error:
            raise CouldNot(f"the proxy at {self._url} can't be reached") from error
        if answer.status_code == 503:
            raise NotYet(answer.json()["detail"], seconds=float(answer.headers["Retry-After"]))
        if answer.status_code != 200:
            raise CouldNot(f"the proxy answered {answer.status_code}: {answer.json()['detail']}")
        if not answer.json()["found"]:
            return Warmed.WITHOUT_REVIEWS, False
        return Warmed.FRESH_ALREADY if answer.headers["X-Cache"] == "hit" else Warmed.FETCHED, False
