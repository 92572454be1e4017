"""Bodies that come in malformed chunks: a 400 for whoever sends one, and nothing of the inside in the log."""

from __future__ import annotations

import json

import pytest

from tests.running import SECRET, UNIT, RunningProxy

INVITATIONS = f"/v1/private/business-units/{UNIT}/email-invitations"
TOKEN = "/v1/oauth/oauth-business-users-for-applications/accesstoken"
POSTS = [
    ("/v1/invitations", "application/json"),
    (INVITATIONS, "application/json"),
    (TOKEN, "application/x-www-form-urlencoded"),
    (TOKEN, "multipart/form-data; boundary=x"),
    ("/v1/cache/purge?sku=A", "application/json"),
    ("/hooks/trustpilot", "application/json"),
    ("/preview/render", "application/json"),
    ("/preview/tag", "application/json"),
]


def _chunked(path: str, kind: str, body: bytes, secret: str = SECRET) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {secret}\r\nContent-Type: {kind}\r\n"
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + body


@pytest.mark.parametrize("body", [b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}hush\r\n0\r\n\r\n", b"2;=\r\n{}\r\n0\r\n\r\n"])
@pytest.mark.parametrize(("path", "kind"), POSTS)
def test_a_malformed_chunk_is_a_400_and_ends_the_connection(
    shared_proxy: RunningProxy, path: str, kind: str, body: bytes
) -> None:
    # What follows the mistake could be anything, so it must not be read as a request.
    answer = shared_proxy.raw(_chunked(path, kind, body) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, told = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in head
    assert b"Connection: close" in head
    assert json.loads(told)["found"] is False
    assert "body" in json.loads(told)["detail"]
    assert not [line for line in shared_proxy.log if "Traceback" in line or '"error"' in line]


def test_a_malformed_body_that_nobody_reads_is_answered_once(shared_proxy: RunningProxy) -> None:
    answer = shared_proxy.raw(_chunked("/hooks/trustpilot", "application/json", b"zz\r\n{}\r\n", "wrong"))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert answer.count(b"HTTP/1.1 ") == 1
