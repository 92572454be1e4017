"""What a real Redis does to those who ask it, and what the link makes of it."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from proxy import redis_link
from proxy.redis_link import RedisDown, RedisLink
from tests.running import PATIENT, ProxyFromScratch, RunningRedis, RunningSandbox, silent_name_server


def test_more_questions_at_once_than_connections_do_not_make_it_believe_that_redis_is_down(
    redis_server: RunningRedis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "_CONNECTIONS", 4)
    # On a busy machine four rounds may take longer than a question waits for its place.
    monkeypatch.setattr(redis_link, "_PLACE_SECONDS", 60)
    link = RedisLink(redis_server.url, patience=2)

    def question(_: int) -> None:
        # Each holds a connection for 0.8 s, so that the last of four rounds begins after the patience.
        assert link.ask(lambda client: client.blpop(["nothing"], 0.8)) is None

    with ThreadPoolExecutor(16) as callers, caplog.at_level(logging.WARNING):
        list(callers.map(question, range(16)))
    assert caplog.records == []


def test_a_refusal_is_logged_once_by_its_code_and_leaves_redis_in_use(
    redis_server: RunningRedis, caplog: pytest.LogCaptureFixture
) -> None:
    link = RedisLink(redis_server.url)
    redis.Redis.from_url(redis_server.url).config_set("maxmemory", "1")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(RedisDown, match=r"^Redis refuses: OutOfMemoryError$"):
                link.ask(lambda client: client.set("key", "value"))
            assert link.ask(lambda client: client.get("key")) is None
    assert [record.message for record in caplog.records] == ["Redis refuses, going on without it: OutOfMemoryError"]


def test_while_no_name_server_answers_reads_are_answered_without_redis(sandbox: RunningSandbox) -> None:
    settings = {"CACHE_URL": "redis://nobody.example/0", "WEB_CONCURRENCY": "1", **PATIENT}
    with silent_name_server() as names, ProxyFromScratch(sandbox, **names, **settings) as proxy:
        assert proxy.get("/v1/reviews", sku="MUG-01").status_code == 200
        assert proxy.get("/readyz").status_code == 503
