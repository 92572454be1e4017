"""Reading, holding and sharing access tokens; the clock and the fetch are the test's own."""

from __future__ import annotations

import hashlib
import json
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy.cache import Group
from proxy.cache.backend import Backend
from proxy.cache.memory import MemoryBackend
from proxy.cache.redis import RedisBackend
from proxy.clock import Deadline, spawn
from proxy.redis_link import RedisLink
from proxy.trustpilot import Failing, Malformed, Refused, TimedOut
from proxy.trustpilot.private import DISTRUST_SECONDS, UNTOLD_SECONDS, Grant, Token, Tokens, read_token
from tests.running import RunningRedis
from tests.trustpilot.upstream import Upstream, Walk

NAME = "token:" + hashlib.sha256(b"account").hexdigest()[:16]


class Trustpilot:
    """Hands out numbered tokens that last ``lasting`` seconds of a clock that the test moves."""

    def __init__(self, lasting: float = 1000) -> None:
        self.now = time.time()
        self.lasting = lasting
        self.fetched = 0
        self.failures = 0
        self.takes = 0.0

    def fetch(self) -> Token:
        self.fetched += 1
        time.sleep(self.takes)
        if self.failures:
            self.failures -= 1
            raise Failing("down")
        answer = json.dumps({"access_token": f"token-{self.fetched}", "expires_in": self.lasting})
        return read_token(answer.encode(), self.now)

    def tokens(self, backend: Backend | None = None, account: str = "account") -> Tokens:
        backend = backend or MemoryBackend()
        return Tokens(self.fetch, backend, Group(spawn), lambda: self.now, account=account, fetch_seconds=0.5)


def on(server: RunningRedis) -> RedisBackend:
    return RedisBackend(RedisLink(server.url, patience=2), server.url, spawn)


def soon() -> Deadline:
    return Deadline.after(10)


def test_a_token_never_shows_itself() -> None:
    assert "hush" not in repr(Token("hush", 1, 2))


def test_a_token_is_held_until_shortly_before_it_expires() -> None:
    trustpilot = Trustpilot(lasting=1000)
    tokens = trustpilot.tokens()
    assert tokens.token(soon()).text == "token-1"
    trustpilot.now += 899
    assert tokens.token(soon()).text == "token-1"
    trustpilot.now += 2
    assert tokens.token(soon()).text == "token-2"


def test_all_who_ask_at_once_share_one_fetch_and_its_failure() -> None:
    trustpilot = Trustpilot()
    trustpilot.takes, trustpilot.failures = 0.5, 1
    tokens = trustpilot.tokens()
    with ThreadPoolExecutor(10) as callers:
        failed = list(callers.map(lambda _: _failure(tokens), range(10)))
    assert failed == ["down"] * 10
    assert trustpilot.fetched == 1
    assert tokens.token(soon()).text == "token-2"


def _failure(tokens: Tokens) -> str:
    with pytest.raises(Failing) as error:
        tokens.token(soon())
    return str(error.value)


def test_who_cannot_wait_leaves_and_the_token_still_comes() -> None:
    trustpilot = Trustpilot()
    trustpilot.takes = 0.3
    tokens = trustpilot.tokens()
    with pytest.raises(TimedOut):
        tokens.token(Deadline.after(0.01))
    assert tokens.token(soon()).text == "token-1"
    assert trustpilot.fetched == 1


def test_who_asks_while_a_refused_token_is_removed_does_not_bring_it_back() -> None:
    class AskedMeanwhile(MemoryBackend):
        def remove(self, key: str, expected: bytes) -> None:
            tokens.token(soon())
            super().remove(key, expected)

    tokens = Trustpilot().tokens(AskedMeanwhile())
    assert tokens.replace(tokens.token(soon()), soon()).text == "token-2"


def test_a_new_token_that_is_refused_too_is_not_renewed_for_a_while() -> None:
    trustpilot = Trustpilot()
    tokens = trustpilot.tokens()
    renewed = tokens.replace(tokens.token(soon()), soon())
    tokens.distrust(renewed)
    with pytest.raises(Refused):
        tokens.replace(renewed, soon())
    trustpilot.now += DISTRUST_SECONDS
    assert tokens.replace(renewed, soon()).text == "token-3"


def test_a_token_that_works_after_all_is_renewed_as_any_other() -> None:
    trustpilot = Trustpilot()
    tokens = trustpilot.tokens()
    token = tokens.token(soon())
    tokens.distrust(token)
    tokens.confirm(token)
    assert tokens.replace(token, soon()).text == "token-2"


def test_processes_share_a_token_over_redis(redis_server: RunningRedis) -> None:
    trustpilot = Trustpilot()
    trustpilot.takes = 0.2
    processes = [trustpilot.tokens(on(redis_server)) for _ in range(4)]
    with ThreadPoolExecutor(4) as callers:
        texts = list(callers.map(lambda tokens: tokens.token(soon()).text, processes))
    assert texts == ["token-1"] * 4
    assert trustpilot.fetched == 1
    refused = processes[0].token(soon())
    with ThreadPoolExecutor(4) as callers:
        texts = list(callers.map(lambda tokens: tokens.replace(refused, soon()).text, processes))
    assert texts == ["token-2"] * 4


def test_without_redis_each_process_fetches_its_own(redis_server: RunningRedis) -> None:
    trustpilot = Trustpilot()
    first, second = (trustpilot.tokens(on(redis_server)) for _ in range(2))
    redis_server.kill()
    assert [first.token(soon()).text, second.token(soon()).text] == ["token-1", "token-2"]
    assert first.replace(first.token(soon()), soon()).text == "token-3"


UNTOLD: list[object] = [10**400, None, "soon", "", True, [], float("inf"), float("nan")]


@pytest.mark.parametrize(
    ("lasting", "renew_at", "expires_at"),
    [
        *((each, 356_800, 361_000) for each in (360_000, "360000", "360000.0", 360_000.0)),
        (100, 1090.0, 1100.0),
        (10**9, 1000 + 30 * 86_400 - 4200, 1000 + 30 * 86_400),
        *((each, 1000.0, 1000.0) for each in (-5, 0, "0")),
        *((each, 1000 + UNTOLD_SECONDS * 0.9, 1000 + UNTOLD_SECONDS) for each in UNTOLD),
    ],
)
def test_a_token_is_renewed_shortly_before_its_end_and_held_for_a_month_at_most(
    lasting: object, renew_at: float, expires_at: float
) -> None:
    token = read_token(json.dumps({"access_token": "t", "expires_in": lasting}).encode(), 1000)
    assert (token.renew_at, token.expires_at) == (renew_at, expires_at)
    assert token.is_fresh(renew_at - 1)
    assert not token.is_fresh(renew_at)


def test_a_token_may_be_long_and_has_no_space(caplog: pytest.LogCaptureFixture) -> None:
    for text in ("!" + "~" * 8191, "t"):
        assert read_token(json.dumps({"access_token": text}).encode(), 0).text == text
    assert caplog.messages == ["Trustpilot does not say how long its access token lasts; holding it for 3600 s"] * 2
    odd: list[object] = [{"access_token": text} for text in ("x" * 8193, "a b", "ä", "a\nb", "", 7)]
    for answer in (*odd, {}, [], None):
        with pytest.raises(Malformed, match=r"^Trustpilot's answer holds no access token$"):
            read_token(json.dumps(answer).encode(), 0)
    for body in (b"", b"<html>", b"{", b"[" * 100_000):
        with pytest.raises(Malformed, match=r"^Trustpilot's answer about the access token is not JSON$"):
            read_token(body, 0)


def test_a_stored_token_is_read_back_and_nothing_else() -> None:
    token = Token("hush", 1.5, 2)
    assert Token.decode(token.encode()) == token
    for junk in (b"", b"7", b'["t", 1]', b'["t", "1", 2]', b'["t", 1, Infinity]', b'["t", true, 2]', b"[" * 100_000):
        assert Token.decode(junk) is None


def test_processes_share_a_token_in_a_backend(caplog: pytest.LogCaptureFixture) -> None:
    trustpilot, backend = Trustpilot(lasting=1000), MemoryBackend()
    first, second = (trustpilot.tokens(backend) for _ in range(2))
    with caplog.at_level("INFO"):
        assert first.token(soon()).text == second.token(soon()).text == "token-1"
    assert caplog.messages == ["fetched an access token that lasts 1000 s"]
    # Whoever has read it asks the backend no more.
    backend.remove(NAME, second.token(soon()).encode())
    assert [second.token(soon()).text, trustpilot.fetched] == ["token-1", 1]
    backend.set(NAME, second.token(soon()).encode(), 1000)
    assert trustpilot.tokens(backend, "another").token(soon()).text == "token-2"
    refused = first.token(soon())
    assert [each.replace(refused, soon()).text for each in (first, second, first)] == ["token-3"] * 3
    trustpilot.now += 2000
    assert [each.token(soon()).text for each in (second, first)] == ["token-4"] * 2


def test_junk_where_the_token_is_stored_is_told_and_replaced(caplog: pytest.LogCaptureFixture) -> None:
    trustpilot, backend = Trustpilot(), MemoryBackend()
    backend.set(NAME, b"junk", 1000)
    assert trustpilot.tokens(backend).token(soon()).text == "token-1"
    assert "what is stored as the access token is not the proxy's: treated as absent" in caplog.messages
    stored = backend.get(NAME)
    assert stored is not None
    assert Token.decode(stored) == trustpilot.tokens(backend).token(soon())


def test_a_token_that_has_run_out_already_is_stored_for_nobody() -> None:
    trustpilot, backend = Trustpilot(lasting=0), MemoryBackend()
    assert trustpilot.tokens(backend).token(soon()).text == "token-1"
    assert backend.get(NAME) is None
    assert trustpilot.tokens(backend).token(soon()).text == "token-2"


def test_a_process_that_fetches_keeps_the_others_waiting() -> None:
    trustpilot, backend = Trustpilot(), MemoryBackend()
    lock = backend.lock(NAME, 60)
    assert lock
    with pytest.raises(TimedOut, match=r"^Trustpilot did not hand out an access token in time$"):
        trustpilot.tokens(backend).token(Deadline.after(0.02))
    assert trustpilot.fetched == 0
    backend.release(lock)
    assert trustpilot.tokens(backend).token(soon()).text == "token-1"
    assert backend.lock(NAME, 60)  # which was given back


def test_a_failed_fetch_gives_the_lock_back() -> None:
    trustpilot, backend = Trustpilot(), MemoryBackend()
    trustpilot.failures = 1
    tokens = trustpilot.tokens(backend)
    assert _failure(tokens) == "down"
    assert tokens.token(soon()).text == "token-2"


def test_a_refusal_says_that_new_tokens_are_refused_too_for_a_while() -> None:
    trustpilot = Trustpilot()
    tokens = trustpilot.tokens()
    token = tokens.token(soon())
    tokens.distrust(token)
    other = Token("other", trustpilot.now + 10, trustpilot.now + 20)
    tokens.confirm(other)  # that another one works says nothing of this one
    with pytest.raises(Refused, match=r"^Trustpilot refuses new access tokens too$"):
        tokens.replace(token, soon())
    assert tokens.replace(other, soon()) == token


def test_the_key_and_the_secret_go_into_the_header_that_asks_for_a_token(upstream: Upstream, walk: Walk) -> None:
    grant = Grant(walk.calls, api_url=upstream.url, api_key="the key", api_secret="ä:b", now=lambda: 7.0)
    upstream.answers = [(200, {"access_token": "t", "expires_in": 100}), (401, {}), (503, {})]
    assert grant.fetch() == Token("t", 97.0, 107.0)
    for kind, message in (
        (Refused, "Trustpilot refuses the proxy's API key and secret with 401"),
        (Failing, "Trustpilot answered 503"),
    ):
        with pytest.raises(kind) as error:
            grant.fetch()
        assert str(error.value) == message
    asked = upstream.asked[0]
    assert (asked.method, asked.path) == ("POST", "/v1/oauth/oauth-business-users-for-applications/accesstoken")
    assert asked.headers["Authorization"] == "Basic " + b64encode("the key:ä:b".encode()).decode()
    assert asked.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert asked.headers["Accept"] == "application/json"
    assert asked.body == b"grant_type=client_credentials"
