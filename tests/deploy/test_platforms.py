"""The image and the files for other platforms name the port, paths, variables and user that there are."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from proxy.settings import documented
from tests.deploy.shipped import DEPLOY, ROOT
from tests.running import RunningProxy

PLATFORMS = DEPLOY / "platforms"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SETTINGS = {name for name, _, _ in documented()}
FOLDER = "/var/lib/connected-content-proxy"


def read(name: str) -> Any:
    text = (PLATFORMS / name).read_text()
    return tomllib.loads(text) if name.endswith(".toml") else yaml.safe_load(text)


def kubernetes() -> dict[str, Any]:
    documents = yaml.safe_load_all((PLATFORMS / "kubernetes.yml").read_text())
    return {document["kind"]: document for document in documents}


def values(node: object, key: str) -> Iterator[Any]:
    """Yield what stands under ``key``, wherever it is."""
    if isinstance(node, dict):
        for name, inner in node.items():
            if name == key:
                yield inner
            yield from values(inner, key)
    elif isinstance(node, list):
        for inner in node:
            yield from values(inner, key)


def test_the_image_is_built_in_two_stages_and_runs_as_nobody_special() -> None:
    build, final = re.split(r"^FROM .*\n", DOCKERFILE, flags=re.MULTILINE)[1:]
    assert "gcc" in build
    assert "apt-get" not in final
    assert re.search(r"^USER 10001$", final, re.MULTILINE)
    assert f"CACHE_URL=sqlite:///{FOLDER}/proxy.sqlite3" in final
    assert f"VOLUME {FOLDER}" in final
    ignored = (ROOT / ".dockerignore").read_text().split()
    for copied in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        for name in copied.split():
            assert (ROOT / name).exists()
            assert name not in ignored


def test_the_images_health_check_sees_a_proxy_and_its_absence(shared_proxy: RunningProxy) -> None:
    [check] = re.findall(r"CMD (\[.*urlopen.*\])$", DOCKERFILE, re.MULTILINE)
    command: list[str] = json.loads(check)
    port = shared_proxy.url.rpartition(":")[2]
    for asked, status in ((port, 0), ("1", 1)):
        done = subprocess.run(["env", f"PORT={asked}", *command], capture_output=True, text=True, timeout=20)
        assert done.returncode == status, done.stderr


def test_kubernetes_gets_a_deployment_a_service_and_a_budget_that_belong_together() -> None:
    manifest = kubernetes()
    assert set(manifest) == {"Secret", "Deployment", "Service", "PodDisruptionBudget"}
    pod = manifest["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert manifest["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert manifest["Service"]["spec"]["selector"] == labels
    assert manifest["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert manifest["PodDisruptionBudget"]["spec"]["minAvailable"] < manifest["Deployment"]["spec"]["replicas"]
    [proxy] = pod["spec"]["containers"]
    [port] = proxy["ports"]
    assert port["containerPort"] == 8000
    assert {probe["httpGet"]["port"] for kind, probe in proxy.items() if kind.endswith("Probe")} == {port["name"]}
    assert manifest["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    assert f"USER {pod['spec']['securityContext']['runAsUser']}" in DOCKERFILE
    assert manifest["Secret"]["stringData"].keys() <= SETTINGS
    assert manifest["Secret"]["metadata"]["name"] == proxy["envFrom"][0]["secretRef"]["name"]
    # Ends before it is killed: gunicorn.conf.py waits 15 s, after the 10 of preStop.
    assert pod["spec"]["terminationGracePeriodSeconds"] > 25


@pytest.mark.parametrize("name", ["kubernetes.yml", "fly.toml", "render.yaml", "cloud-run.yaml"])
def test_each_file_names_settings_and_paths_that_there_are_and_that_it_was_not_run(name: str) -> None:
    whole = kubernetes() if name == "kubernetes.yml" else read(name)
    lists = [entry for listed in (*values(whole, "env"), *values(whole, "envVars")) for entry in listed]
    named = {entry if isinstance(entry, str) else entry.get("name") or entry["key"] for entry in lists}
    assert named
    assert named <= SETTINGS
    paths = {*values(list(values(whole, "httpGet")), "path"), *values(list(values(whole, "checks")), "path")}
    paths |= set(values(whole, "healthCheckPath"))
    assert paths == {"/healthz"}
    assert set(values(whole, "internal_port")) | set(values(whole, "containerPort")) <= {8000}
    assert "was not run" in (PLATFORMS / name).read_text().partition("\napi")[0]


def test_no_file_has_more_proxies_than_share_a_store() -> None:
    for name in ("fly.toml", "render.yaml", "cloud-run.yaml"):
        text = (PLATFORMS / name).read_text()
        assert "memory://" in text
        assert re.search(r"WEB_CONCURRENCY\W+(?:value: )?\W*1\b", text)
        assert not re.search(r"(?:minScale|maxScale|numInstances|min_machines_running)\W+[2-9]", text)
