"""The compose file is one that docker-compose accepts, and says what the README says of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def services(folder: Path, *files: str) -> dict[str, dict[str, Any]]:
    """Return the services that docker-compose reads from the files together."""
    for file in files:
        shutil.copy(ROOT / file, folder)
    shutil.copy(ROOT / ".env.example", folder / ".env")
    command = ["docker-compose", *(part for file in files for part in ("-f", file)), "config"]
    printed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)
    assert printed.returncode == 0, printed.stderr
    configured: dict[str, dict[str, Any]] = yaml.safe_load(printed.stdout)["services"]
    return configured


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return services(tmp_path_factory.mktemp("alone"), "docker-compose.yml")


@pytest.fixture(scope="module")
def with_redis(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return services(tmp_path_factory.mktemp("redis"), "docker-compose.yml", "docker-compose.redis.yml")


def test_compose_runs_one_proxy_with_its_file_on_a_volume(alone: dict[str, dict[str, Any]]) -> None:
    assert set(alone) == {"proxy"}
    # The image names the file in this folder.
    assert "CACHE_URL" not in alone["proxy"]["environment"]
    assert any(
        str(mounted).startswith("store:/var/lib/connected-content-proxy") for mounted in alone["proxy"]["volumes"]
    )


def test_with_the_second_file_it_runs_a_redis_too(with_redis: dict[str, dict[str, Any]]) -> None:
    assert with_redis["proxy"]["environment"]["CACHE_URL"] == "redis://redis:6379/0"
    assert with_redis["proxy"]["depends_on"]["redis"]["condition"] == "service_healthy"
    assert "redis-server" in with_redis["redis"]["command"]
    # All else is the first file's.
    assert with_redis["proxy"]["environment"]["WEB_CONCURRENCY"] == "2"


def test_each_service_is_bounded_and_checked(with_redis: dict[str, dict[str, Any]]) -> None:
    for service in with_redis.values():
        assert {"mem_limit", "cpus", "healthcheck", "restart"} <= set(service)
    # The command of the proxy's own check is in the image.
    assert "test" not in with_redis["proxy"]["healthcheck"]
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()


def test_the_proxy_reads_its_file_itself_so_that_no_character_means_something_else(
    alone: dict[str, dict[str, Any]],
) -> None:
    proxy = alone["proxy"]
    [mounted] = [one for one in proxy["volumes"] if str(one).endswith(":ro")]
    assert mounted.endswith(f":{proxy['environment']['PROXY_ENV_FILE']}:ro")
    assert mounted.partition(":")[0].endswith("/.env")
    assert "env_file" not in proxy
