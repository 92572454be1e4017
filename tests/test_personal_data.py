"""What Trustpilot tells of a reviewer beyond the review is nowhere: in no answer, cache, log or metric."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import redis
import requests
import zstandard

from tests.running import SECRET, UNIT, RunningProxy, RunningRedis, RunningSandbox

ADDRESS, ORDER = "reader@mail.test", "ORDER-4711"
DROP_IN = f"/v1/product-reviews/business-units/{UNIT}"


def _review(number: int) -> dict[str, Any]:
    """Return a review as the private lists tell it, the address in every place that could have one."""
    return {
        "id": f"r{number}",
        "createdAt": f"2024-10-{number:02d}T10:00:00Z",
        "stars": 5,
        "content": "Good",
        "language": "en",
        "email": ADDRESS,
        "referenceId": ORDER,
        "consumer": {"id": "c", "displayName": "Ann", "email": ADDRESS},
        "attributeRatings": [{"attributeName": "Quality", "rating": 4, "by": ADDRESS}],
        "attachments": [
            {
                "state": "ready",
                "owner": ADDRESS,
                "processedFiles": [{"mimeType": "image/png", "url": "https://photos.example/1.png", "by": ADDRESS}],
            }
        ],
        "firstCompanyComment": {"comment": "Thanks", "createdAt": None, "to": ADDRESS},
    }


def _events(number: int) -> Iterator[dict[str, Any]]:
    data = _review(number) | {"consumer": {"id": "c", "name": "Ann", "email": ADDRESS}, "state": "published"}
    for what in ("created", "updated", "deleted"):
        for told in (data | {"product": {"sku": "LAMP"}}, data):
            yield {"eventName": f"product-review-{what}", "version": "1", "eventData": told}


def _held(server: RunningRedis) -> bytes:
    """Return all that Redis holds, what is compressed in it unpacked too."""
    client = redis.Redis.from_url(server.url)
    held = b""
    for name in client.scan_iter():
        kind = client.type(name)
        values: list[Any] = []
        if kind == b"hash":
            values = list(client.hvals(name))
        elif kind == b"string":
            values = [client.get(name)]
        for value in [name, *values]:
            held += value
            for place in range(len(value)):
                with contextlib.suppress(zstandard.ZstdError):
                    held += zstandard.ZstdDecompressor().decompressobj().decompress(value[place:])
    return held


def test_an_address_and_an_order_number_are_nowhere_after_every_shape_of_a_webhook(
    sandbox: RunningSandbox, redis_server: RunningRedis
) -> None:
    sandbox.put_product("LAMP", [_review(number) for number in range(5, 0, -1)])
    said: list[str] = []
    caller = {"X-Api-Key": SECRET}
    with RunningProxy(sandbox, CACHE_URL=redis_server.url, WEB_CONCURRENCY="2", LOG_LEVEL="debug") as proxy:
        for event in (event for number in (3, 6) for event in _events(number)):
            for path in ("/v1/reviews", f"{DROP_IN}/reviews", "/v1/summary", DROP_IN):
                said.append(proxy.get(path, sku="LAMP").text)
            told = {"events": [event]}
            hook = requests.post(f"{proxy.url}/hooks/trustpilot", json=told, headers=caller, timeout=20)
            assert hook.status_code == 200
            said.append(hook.text)
        said.append(proxy.get("/metrics").text)
        held = _held(redis_server)
        proxy.stop()
        said += proxy.log
    assert "Good" in said[0]
    assert b"Good" in held
    for personal in (ADDRESS, ORDER):
        assert not [text for text in said if personal in text]
        assert personal.encode() not in held
