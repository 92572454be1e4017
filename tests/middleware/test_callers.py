"""Who may call, by address: spoofed headers change nothing."""

from __future__ import annotations

import pytest
import requests

from proxy.middleware import caller_address
from tests.running import SECRET, RunningProxy, RunningSandbox


@pytest.mark.parametrize(
    ("hops", "peer", "forwarded", "caller"),
    [
        (0, "203.0.113.9", None, "203.0.113.9"),
        (0, "203.0.113.9", "198.51.100.7", "203.0.113.9"),
        (0, "::ffff:203.0.113.9", None, "203.0.113.9"),
        (0, "", None, None),
        (1, "10.0.0.1", "198.51.100.7", "198.51.100.7"),
        (1, "10.0.0.1", "192.0.2.1, 198.51.100.7", "198.51.100.7"),
        (1, "10.0.0.1", "192.0.2.1,198.51.100.7 ", "198.51.100.7"),
        (1, "10.0.0.1", "2001:db8::1", "2001:db8::1"),
        (1, "10.0.0.1", "192.0.2.1, unknown", None),
        (1, "10.0.0.1", "", None),
        (1, "10.0.0.1", None, None),
        (2, "10.0.0.1", "192.0.2.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        (2, "10.0.0.1", "10.0.0.2", None),
    ],
)
def test_the_caller_is_who_the_outermost_trusted_proxy_saw(
    hops: int, peer: str, forwarded: str | None, caller: str | None
) -> None:
    environ = {"REMOTE_ADDR": peer}
    if forwarded is not None:
        environ["HTTP_X_FORWARDED_FOR"] = forwarded
    found = caller_address(environ, hops)
    assert (None if found is None else str(found)) == caller


def _status(proxy: RunningProxy, path: str = "/v1/reviews?sku=MUG-01", **headers: str) -> int:
    sent = {"X-Api-Key": SECRET, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return requests.get(proxy.url + path, headers=sent, timeout=20).status_code


def test_callers_from_elsewhere_are_refused_whatever_they_claim(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, PROXY_ALLOWED_CIDRS="10.0.0.0/8,2001:db8::/32") as proxy:
        assert _status(proxy) == 403
        assert _status(proxy, X_Forwarded_For="10.0.0.1") == 403
        assert _status(proxy, Forwarded="for=10.0.0.1", X_Real_IP="10.0.0.1") == 403
        assert _status(proxy, "/metrics") == 403
        assert _status(proxy, "/healthz") == _status(proxy, "/readyz") == 200
        refusal = requests.get(f"{proxy.url}/v1/reviews?sku=A", timeout=20)
    assert refusal.json()["found"] is False
    assert refusal.headers["X-Request-Id"]
    assert sandbox.calls() == {}


def test_behind_a_trusted_proxy_its_word_counts_and_the_callers_does_not(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, PROXY_ALLOWED_CIDRS="10.0.0.0/8", PROXY_TRUSTED_HOPS="1") as proxy:
        assert _status(proxy, X_Forwarded_For="10.1.2.3") == 200
        assert _status(proxy, X_Forwarded_For="192.0.2.1, 10.1.2.3") == 200
        assert _status(proxy, X_Forwarded_For="10.1.2.3, 192.0.2.1") == 403
        assert _status(proxy) == 403
        two = f"GET /v1/reviews?sku=MUG-01 HTTP/1.1\r\nHost: x\r\nX-Api-Key: {SECRET}\r\nConnection: close\r\n"
        two += "X-Forwarded-For: 10.1.2.3\r\nX-Forwarded-For: 192.0.2.1\r\nX_Forwarded_For: 10.1.2.3\r\n\r\n"
        assert proxy.raw(two.encode()).startswith(b"HTTP/1.1 403 ")


def test_allowed_callers_still_need_a_credential(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, PROXY_ALLOWED_CIDRS="127.0.0.0/8") as proxy:
        assert _status(proxy) == 200
        assert requests.get(f"{proxy.url}/v1/reviews?sku=A", timeout=20).status_code == 401
