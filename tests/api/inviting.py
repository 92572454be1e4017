"""What the tests of invitations send, and the customers they send it about."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import requests
from werkzeug.serving import make_server

from proxy import create_app
from proxy.settings import Settings
from tests.leaks import WATCH
from tests.running import SECRET, RunningSandbox, proxy_environment

_numbers = count(1)


class Served(Protocol):
    """A proxy that listens."""

    url: str


@dataclass
class ServedHere:
    """A proxy served by this process."""

    url: str


@contextmanager
def served_here(sandbox: RunningSandbox, **settings: str) -> Iterator[ServedHere]:
    """Serve a proxy on a free port until the block ends; it starts faster than one under gunicorn."""
    read = Settings.from_environment(proxy_environment(sandbox, **settings))
    app = create_app(read)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    served = ServedHere(f"http://127.0.0.1:{server.port}")
    WATCH.proxy(served.url, read.secrets)
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


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
