"""The compose file is one that docker-compose accepts, and says what the README says of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture
def services(tmp_path: Path) -> dict[str, dict[str, Any]]:
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    shutil.copy(ROOT / ".env.example", tmp_path / ".env")
    command = ["docker-compose", "config"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert printed.returncode == 0, printed.stderr
    configured: dict[str, dict[str, Any]] = yaml.safe_load(printed.stdout)["services"]
    return configured


def test_compose_runs_the_proxy_with_redis(services: dict[str, dict[str, Any]]) -> None:
    assert services["proxy"]["environment"]["CACHE_URL"] == "redis://redis:6379/0"
    assert services["proxy"]["depends_on"]["redis"]["condition"] == "service_healthy"
    assert "redis-server" in services["redis"]["command"]


def test_each_service_is_bounded_and_checked(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert {"mem_limit", "cpus", "healthcheck", "restart"} <= set(service)
    # The command of the proxy's own check is in the image.
    assert "test" not in services["proxy"]["healthcheck"]
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()
    # A container sees all cores of its machine, and each worker takes memory.
    assert services["proxy"]["environment"]["WEB_CONCURRENCY"] == "2"


def test_the_proxy_reads_its_file_itself_so_that_no_character_means_something_else(
    services: dict[str, dict[str, Any]],
) -> None:
    proxy = services["proxy"]
    (mounted,) = proxy["volumes"]
    assert mounted.endswith(f":{proxy['environment']['PROXY_ENV_FILE']}:ro")
    assert mounted.partition(":")[0].endswith("/.env")
    assert "env_file" not in proxy
