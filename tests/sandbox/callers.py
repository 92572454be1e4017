"""Those who call the sandbox in these tests: one who knows HTTP, and one who sees the bytes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.running import RunningSandbox

PATIENCE = 20
"""Seconds after which a test that waits for bytes has failed."""

REVIEWS_PATH = f"/product-reviews/business-units/{RunningSandbox.business_unit}/reviews"


def call(sandbox: RunningSandbox, path: str, method: str = "GET", **how: Any) -> requests.Response:
    """Call with the API key, following nothing."""
    headers = {"apikey": sandbox.api_key} | how.pop("headers", {})
    return requests.request(
        method, sandbox.api_url + path, headers=headers, allow_redirects=False, timeout=PATIENCE, **how
    )


def reviews(sandbox: RunningSandbox, sku: str, **params: Any) -> Any:
    answer = call(sandbox, REVIEWS_PATH, params={"sku": sku, **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def all_reviews(sandbox: RunningSandbox, sku: str, **params: Any) -> list[Any]:
    """Read page after page, until there is no next."""
    found: list[Any] = []
    for page in range(1, 1000):
        body = reviews(sandbox, sku, page=page, perPage=100, **params)
        found += body["productReviews"]
        if not body["links"]:
            return found
    raise AssertionError("the pages never end")


def summary(sandbox: RunningSandbox, sku: str) -> Any:
    return call(sandbox, REVIEWS_PATH.removesuffix("/reviews"), params={"sku": sku}).json()


def token(sandbox: RunningSandbox) -> Any:
    answer = ask_for_token(sandbox)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask_for_token(
    sandbox: RunningSandbox, secret: str | None = None, grant_type: str = "client_credentials"
) -> requests.Response:
    return requests.post(
        f"{sandbox.api_url}/oauth/oauth-business-users-for-applications/accesstoken",
        auth=(sandbox.api_key, secret or sandbox.api_secret),
        data={"grant_type": grant_type},
        timeout=PATIENCE,
    )


def invite(
    sandbox: RunningSandbox, access_token: str, body: Any = None, unit: str | None = None, user: str | None = "user-1"
) -> requests.Response:
    headers = {"Authorization": f"Bearer {access_token}"} | ({"x-business-user-id": user} if user else {})
    return requests.post(
        f"{sandbox.api_url}/private/business-units/{unit or sandbox.business_unit}/email-invitations",
        headers=headers,
        json={"consumerEmail": "ada@example.com", "referenceNumber": "1"} if body is None else body,
        timeout=PATIENCE,
    )


def private(sandbox: RunningSandbox, path: str, method: str = "GET", **how: Any) -> requests.Response:
    """Call with an access token of its own."""
    headers = {"Authorization": f"Bearer {token(sandbox)['access_token']}"}
    return requests.request(
        method, f"{sandbox.api_url}/private{path}", headers=headers, allow_redirects=False, timeout=PATIENCE, **how
    )


@contextmanager
def connected(sandbox: RunningSandbox) -> Iterator[socket.socket]:
    """Give a bare connection."""
    parts = urlsplit(sandbox.url)
    with socket.create_connection((parts.hostname, parts.port), PATIENCE) as connection:
        yield connection


def ask(connection: socket.socket, sandbox: RunningSandbox, sku: str = "TRUCK-01") -> None:
    """Send one reviews call as bytes."""
    head = [
        f"GET /v1{REVIEWS_PATH}?sku={sku} HTTP/1.1",
        f"Host: {urlsplit(sandbox.url).netloc}",
        f"apikey: {sandbox.api_key}",
    ]
    connection.sendall("\r\n".join([*head, "", ""]).encode())


@contextmanager
def asking(sandbox: RunningSandbox, sku: str = "TRUCK-01") -> Iterator[socket.socket]:
    """Give a connection on which a reviews call was sent."""
    with connected(sandbox) as connection:
        ask(connection, sandbox, sku)
        yield connection


def read_to_the_end(connection: socket.socket) -> tuple[bytes, bool]:
    """Return what came until the connection ended, and whether it ended by a reset."""
    read = b""
    while True:
        try:
            piece = connection.recv(65_536)
        except ConnectionResetError:
            return read, True
        if not piece:
            return read, False
        read += piece
