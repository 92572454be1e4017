import os

import pytest

from proxy.settings import Settings, SettingsError
from tests.running import RunningProxy, RunningSandbox

GOOD = {
    "TRUSTPILOT_API_KEY": "key-text",
    "TRUSTPILOT_BUSINESS_UNIT_ID": "66ea0530,77",
    "PROXY_CREDENTIALS": "braze:very-secret,old:other:secret",
}


def test_the_defaults_are_the_contracts() -> None:
    settings = Settings.from_environment(GOOD)
    assert settings.business_units == ("66ea0530", "77")
    assert [pair.secret for pair in settings.credentials] == ["very-secret", "other:secret"]
    assert (settings.fresh_seconds, settings.stale_seconds, settings.missing_seconds) == (900, 86400, 300)
    assert (settings.deadline_seconds, settings.upstream_timeout_seconds, settings.upstream_concurrency) == (
        1.5,
        10,
        32,
    )
    assert (settings.calls_per_5_minutes, settings.calls_per_hour) == (833, 10000)
    assert (settings.port, settings.workers) == (8000, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUSTPILOT_API_URL", "ftp://x"),
        ("TRUSTPILOT_API_URL", "http://user:pw@host/v1"),
        ("TRUSTPILOT_BUSINESS_UNIT_ID", "a b"),
        ("PROXY_CREDENTIALS", "no-colon"),
        ("PROXY_ALLOW_ANONYMOUS", "maybe"),
        ("PROXY_ALLOWED_CIDRS", "10.0.0.0/99"),
        ("PROXY_TRUSTED_HOPS", "-1"),
        ("CACHE_URL", "mysql://x"),
        ("CACHE_FRESH_SECONDS", "soon"),
        ("CACHE_STALE_SECONDS", "nan"),
        ("CACHE_MAX_MB", "0"),
        ("DEADLINE_SECONDS", "-1"),
        ("UPSTREAM_CONCURRENCY", "0"),
        ("LOG_LEVEL", "loud"),
        ("PORT", "65536"),
        ("WEB_CONCURRENCY", "1.5"),
        ("TOKEN_ENDPOINT", "true"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({**GOOD, name: value})
    assert len(error.value.mistakes) == 1
    assert error.value.mistakes[0].startswith(name)


def test_all_mistakes_are_told_at_once_and_no_secret_with_them() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({"PORT": "x", "PROXY_CREDENTIALS": "hush-hush"})
    assert len(error.value.mistakes) == 4
    assert "hush" not in str(error.value)
    assert "very-secret" not in repr(Settings.from_environment(GOOD))
    assert "key-text" not in repr(Settings.from_environment(GOOD))


def test_workers_default_to_one_with_memory_and_one_per_core_with_redis() -> None:
    cores = os.cpu_count()
    assert Settings.from_environment(GOOD).workers == 1
    assert Settings.from_environment({**GOOD, "CACHE_URL": "redis://localhost"}).workers == cores
    assert Settings.from_environment({**GOOD, "CACHE_URL": "redis://localhost", "WEB_CONCURRENCY": "7"}).workers == 7


@pytest.mark.parametrize(("workers", "warned"), [("1", False), ("2", True)])
def test_the_start_warns_what_several_workers_without_a_shared_store_cost(
    sandbox: RunningSandbox, workers: str, warned: bool
) -> None:
    with RunningProxy(sandbox, WEB_CONCURRENCY=workers) as proxy:
        assert ("each worker pays" in "".join(proxy.log)) is warned
