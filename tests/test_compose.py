"""The compose file is one that docker-compose accepts, and says what the README says of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def test_compose_runs_the_proxy_with_redis(tmp_path: Path) -> None:
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    shutil.copy(ROOT / ".env.example", tmp_path / ".env")
    command = ["docker-compose", "config"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert printed.returncode == 0, printed.stderr
    services = yaml.safe_load(printed.stdout)["services"]
    assert services["proxy"]["environment"]["CACHE_URL"] == "redis://redis:6379/0"
    assert services["proxy"]["depends_on"]["redis"]["condition"] == "service_healthy"
    assert "redis-server" in services["redis"]["command"]
