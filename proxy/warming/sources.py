"""The two ways to warm a product: in the shared store, or through a running proxy that keeps its own memory."""

from __future__ import annotations

import requests

from proxy.cache import DeadlinePassed, FailedElsewhere
from proxy.clock import Deadline
from proxy.reviews import ProductReviews, Warmed
from proxy.trustpilot import TrustpilotError
from proxy.trustpilot.errors import BudgetSpent, Busy, Paused
from proxy.warming.run import CouldNot, NotYet, Warm

_PATIENCE_SECONDS = 60


def into_store(reviews: ProductReviews, business_unit: str) -> Warm:
    """Return what fetches into the store that the proxies share."""

    def warm(sku: str) -> Warmed:
        try:
            return reviews.warm(business_unit, sku, Deadline.after(_PATIENCE_SECONDS))
        except (BudgetSpent, Paused, Busy) as error:
            raise NotYet(str(error), seconds=1 if isinstance(error, Busy) else error.retry_after) from error
        except (TrustpilotError, FailedElsewhere) as error:
            raise CouldNot(str(error)) from error
        except DeadlinePassed as error:
            raise CouldNot(f"Trustpilot did not answer within {_PATIENCE_SECONDS} s") from error

    return warm


def through_proxy(url: str, secret: str, business_unit: str) -> Warm:
    """Return what asks the proxy at ``url``, showing ``secret``."""
    session = requests.Session()
    session.headers["X-Api-Key"] = secret

    def warm(sku: str) -> Warmed:
        params = {"sku": sku, "business_unit": business_unit}
        try:
            answer = session.get(f"{url}/v1/reviews", params=params, timeout=_PATIENCE_SECONDS)
        except requests.RequestException as error:
            raise CouldNot(f"the proxy at {url} can't be reached") from error
        if answer.status_code == 503:
            raise NotYet(answer.json()["detail"], seconds=float(answer.headers["Retry-After"]))
        if answer.status_code != 200:
            raise CouldNot(f"the proxy answered {answer.status_code}: {answer.json()['detail']}")
        if not answer.json()["found"]:
            return Warmed.WITHOUT_REVIEWS
        return Warmed.FRESH_ALREADY if answer.headers["X-Cache"] == "hit" else Warmed.FETCHED

    return warm
