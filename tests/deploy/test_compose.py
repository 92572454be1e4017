"""deploy/compose.yml is one that docker-compose accepts, with bounds and few rights for each service."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.deploy.shipped import DEPLOY, ROOT
from tests.running import Process, free_port

PASSWORD = "a1b2c3d4e5f6"


def configured(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Return what docker-compose makes of the shipped file."""
    shutil.copy(DEPLOY / "compose.yml", directory)
    return subprocess.run(
        ["docker-compose", "-f", "compose.yml", "config"],
        cwd=directory,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    printed = configured(
        tmp_path_factory.mktemp("deploy"), SITE_ADDRESS="reviews.example.com", REDIS_PASSWORD=PASSWORD
    )
    assert printed.returncode == 0, printed.stderr
    loaded: dict[str, Any] = yaml.safe_load(printed.stdout)
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


def test_without_a_password_or_a_name_it_says_what_to_set(tmp_path: Path) -> None:
    for given in ({"SITE_ADDRESS": "reviews.example.com"}, {"REDIS_PASSWORD": PASSWORD}):
        printed = configured(tmp_path, **given)
        assert printed.returncode != 0
        assert "set it in deploy/.env" in printed.stderr


def test_the_example_names_every_variable_of_the_file() -> None:
    text = (DEPLOY / ".env.example").read_text()
    named = {line.lstrip("#").partition("=")[0] for line in text.splitlines() if "=" in line}
    used = {part.partition("}")[0].partition(":")[0] for part in (DEPLOY / "compose.yml").read_text().split("${")[1:]}
    assert named == used


@pytest.mark.parametrize("name", ["proxy-a", "proxy-b", "front", "redis"])
def test_each_service_has_bounds_a_health_check_and_few_rights(
    services: Mapping[str, dict[str, Any]], name: str
) -> None:
    service = services[name]
    assert service["restart"] == "unless-stopped"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "front" else [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit", "stop_grace_period", "healthcheck"} <= set(service)


def test_only_the_fronts_ports_for_http_and_https_are_published(services: Mapping[str, dict[str, Any]]) -> None:
    published = {
        name: [port["published"] for port in service["ports"]]
        for name, service in services.items()
        if "ports" in service
    }
    assert published == {"front": [80, 443]}


def test_the_certificates_outlive_the_front(compose: Mapping[str, Any]) -> None:
    assert "certificates:/data:rw" in compose["services"]["front"]["volumes"]
    assert "certificates" in compose["volumes"]


def test_redis_is_out_of_the_fronts_reach(compose: Mapping[str, Any]) -> None:
    assert set(compose["services"]["redis"]["networks"]) == {"store"}
    assert set(compose["services"]["front"]["networks"]) == {"front", "outside"}
    assert compose["networks"]["store"]["internal"] is True


def test_a_proxy_has_its_health_check_from_the_image(services: Mapping[str, dict[str, Any]]) -> None:
    assert "test" not in services["proxy-a"]["healthcheck"]
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()


def test_a_stop_waits_longer_than_the_proxy_takes(services: Mapping[str, dict[str, Any]]) -> None:
    # gunicorn.conf.py: graceful_timeout is 15 s and PROXY_DRAIN_SECONDS.
    assert int(services["proxy-a"]["stop_grace_period"].removesuffix("s")) > 15


def test_the_redis_command_starts_one_that_wants_the_password(services: Mapping[str, dict[str, Any]]) -> None:
    # `config` doubles dollars again, for a file made from what it prints.
    command = [part.replace("$$", "$") for part in services["redis"]["command"]]
    assert PASSWORD not in " ".join(command)
    port = free_port()
    where = ["--bind", "127.0.0.1", "--port", str(port)]
    with Process([*command, *where], {**os.environ, "REDISCLI_AUTH": PASSWORD}, r"(Ready to accept connections)"):
        stranger, friend = redis.Redis(port=port), redis.Redis(port=port, password=PASSWORD)
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()
        assert friend.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert friend.config_get("maxmemory") == {"maxmemory": str(512 * 1024 * 1024)}
        assert friend.config_get("save") == {"save": ""}
        health = services["redis"]["healthcheck"]["test"][1].replace("redis-cli", f"redis-cli -p {port}")
        for password, status in ((PASSWORD, 0), ("wrong", 1)):
            asked = {**os.environ, "REDISCLI_AUTH": password}
            assert subprocess.run(["sh", "-c", health], env=asked, timeout=20).returncode == status
