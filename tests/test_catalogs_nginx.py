"""nginx as docs/catalogs.md sets it up: files where there is one for a question, the proxy for everything else."""

from __future__ import annotations

import getpass
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.running import SECRET, Process, RunningProxy, RunningSandbox, free_port
from tests.test_export import ODD, SKUS, export

PAGE = Path(__file__).parents[1] / "docs" / "catalogs.md"
_AROUND = """
daemon off;
user {user};
pid {folder}/nginx.pid;
error_log stderr notice;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/a;
  proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d;
  scgi_temp_path {folder}/e;
{shipped}
}}
"""


class Nginx(Process):
    """nginx with the configuration of the page, on a port of its own."""

    def __init__(self, folder: Path, proxy: str) -> None:
        port = free_port()
        [shipped] = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
        for written, ours in (
            ("listen 80;", f"listen 127.0.0.1:{port};"),
            ("/srv/reviews", str(folder)),
            ("http://127.0.0.1:8000", proxy),
        ):
            assert shipped.count(written) == 1
            shipped = shipped.replace(written, ours)
        settings = folder / "nginx.conf"
        # As root its worker would become somebody else, who may not read the folder.
        settings.write_text(_AROUND.format(folder=folder, user=getpass.getuser(), shipped=shipped))
        super().__init__(["nginx", "-p", str(folder), "-c", str(settings)], os.environ, r"(start worker process) ")
        self.url = f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def served(
    started_sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Nginx, RunningProxy]]:
    """Nginx with a file for each product of a shop, and a proxy with the same products behind it."""
    started_sandbox.reset()
    folder = tmp_path_factory.mktemp("nginx")
    url = f"sqlite:///{folder}/cache.sqlite3"
    (folder / "secret.json").write_text("{}")
    with RunningProxy(started_sandbox, CACHE_URL=url, WEB_CONCURRENCY="1", TESTS_PICTURES="true") as proxy:
        until = time.monotonic() + 30
        # What Trustpilot has to show beside reviews is fetched in a quiet moment, and changes the answer then.
        while not all(_is_whole(proxy.get("/v1/reviews", sku=sku).json()) for sku in SKUS):
            assert time.monotonic() < until
            time.sleep(0.1)
        export(started_sandbox, url, str(folder / "each"), "--each")
        with Nginx(folder, proxy.url) as nginx:
            yield nginx, proxy


def _is_whole(block: dict[str, Any]) -> bool:
    summary = block["summary"]
    return bool(block["links"]["trustpilot"] and (summary["stars_image"] or not summary["total"]))


def ask(server: Process, target: str, **headers: str) -> requests.Response:
    """Ask for a target exactly as it is written."""
    asked = requests.Request("GET", server.url, headers={"X-Api-Key": SECRET, **headers}).prepare()
    asked.url = server.url + target
    return requests.Session().send(asked, timeout=20)


def is_file(answer: requests.Response) -> bool:
    return "X-Request-Id" not in answer.headers


@pytest.mark.parametrize("sku", [*SKUS[:-1], quote(ODD, safe="")])
def test_a_file_is_byte_for_byte_what_the_proxy_answers(served: tuple[Nginx, RunningProxy], sku: str) -> None:
    from_file, from_proxy = (ask(server, f"/v1/reviews?sku={sku}") for server in served)
    assert is_file(from_file)
    assert not is_file(from_proxy)
    assert from_file.content == from_proxy.content
    assert from_file.headers["Content-Type"] == from_proxy.headers["Content-Type"]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/reviews?sku=TRUCK-01&limit=1", 200),
        ("/v1/reviews?limit=1&sku=TRUCK-01", 200),
        ("/v1/reviews?sku=TRUCK-01,MUG-01", 200),
        ("/v1/reviews?sku=TRUCK-01&sku=MUG-01", 200),
        ("/v1/reviews?sku=MUG-01", 200),
        ("/v1/summary?sku=TRUCK-01", 200),
        ("/v1/reviews?sku=", 400),
        ("/v1/reviews?sku=../secret", 200),
        ("/v1/reviews?sku=..%2Fsecret", 200),
        ("/v1/reviews", 400),
    ],
)
def test_anything_else_is_the_proxys_to_answer(served: tuple[Nginx, RunningProxy], target: str, status: int) -> None:
    nginx, proxy = served
    answer = ask(nginx, target)
    assert not is_file(answer)
    assert answer.status_code == status
    assert answer.json() == ask(proxy, target).json()


def test_files_answer_while_the_proxy_does_not(served: tuple[Nginx, RunningProxy]) -> None:
    nginx, proxy = served
    proxy.end()
    answer = ask(nginx, "/v1/reviews?sku=TRUCK-01")
    assert (answer.status_code, answer.json()["found"]) == (200, True)
    assert ask(nginx, "/v1/reviews?sku=MUG-01").status_code == 502
