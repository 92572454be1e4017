"""What the tests of invitations send, and the customers they send it about."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import requests

from tests.running import SECRET, Served

_numbers = count(1)


def order(**changed: Any) -> dict[str, Any]:
    """An invitation for an order of its own; a change to ``None`` takes the field out."""
    number = next(_numbers)
    body = {
        "consumerEmail": f"ada.lovelace{number}@example.com",
        "consumerName": "Ada Lovelace",
        "referenceNumber": f"order-{number}",
        "productReviewInvitation": {"productSkus": ["TRUCK-01"]},
        **changed,
    }
    return {name: value for name, value in body.items() if value is not None}


def invite(proxy: Served, body: Any, path: str = "/v1/invitations", **headers: str) -> requests.Response:
    return requests.post(proxy.url + path, json=body, headers={"X-Api-Key": SECRET, **headers}, timeout=40)


def invite_at_once(proxy: Served, bodies: Iterable[Any]) -> list[requests.Response]:
    """Send all of them at the same moment, each over a connection of its own."""
    bodies = list(bodies)
    with ThreadPoolExecutor(len(bodies)) as callers:
        return list(callers.map(lambda body: invite(proxy, body), bodies))
