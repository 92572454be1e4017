"""``/preview`` and its endpoints: who may ask, and for what."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import requests

from proxy.preview.builder import HOST
from proxy.settings import Settings, SettingsError
from tests.running import SECRET, RunningProxy
from tests.test_settings import GOOD

from .conftest import Previewing

PATHS = [
    "/preview",
    "/preview/ready",
    "/preview/products",
    "/preview/static/preview.js",
    "/preview/render",
    "/preview/tag",
]
KEY = {"X-Api-Key": SECRET}


def test_without_preview_there_is_nothing_there(proxy: RunningProxy) -> None:
    for path in PATHS:
        method = "POST" if path.endswith(("render", "tag")) else "GET"
        assert requests.request(method, proxy.url + path, headers=KEY, json={}, timeout=5).status_code == 404, path


def test_all_of_it_is_behind_credentials(previewing: Previewing) -> None:
    for path in PATHS:
        method = "POST" if path.endswith(("render", "tag")) else "GET"
        answer = requests.request(method, previewing.url + path, json={}, timeout=5)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_the_page_runs_its_own_script_only_and_stands_in_no_frame(previewing: Previewing) -> None:
    answer = previewing.get("/preview")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    for rule in ("default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"):
        assert rule in policy.split("; ")
    assert "<script>" not in answer.text
    assert "http://" not in answer.text + previewing.get("/preview/static/preview.js").text


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""])
def test_another_sites_form_can_not_ask(previewing: Previewing, kind: str) -> None:
    for path in ("/preview/render", "/preview/tag"):
        headers = KEY | ({"Content-Type": kind} if kind else {})
        answer = requests.post(previewing.url + path, data=b'{"channel": "email"}', headers=headers, timeout=5)
        assert answer.status_code == 415


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ("{", 400, "JSON"),
        ("[]", 400, "JSON object"),
        ('{"channel": "fax"}', 400, "email, push, sms, in-app"),
        ('{"channel": "email", "body": 5}', 400, "body must be text"),
        ('{"channel": "email", "body": "", "data": {"event": {}}}', 400, "event is not known"),
        ('{"channel": "email", "body": "", "data": {"attributes": 5}}', 400, "attributes must be an object"),
        ('{"channel": "email", "body": "", "data": {"namespaces": {"a": 1}}}', 400, "namespaces.a"),
        ('{"channel": "email", "body": "' + "x" * 600_000 + '"}', 413, "too large"),
        ("[" * 100_000, 400, ""),
    ],
)
def test_a_wrong_question_is_a_problem(previewing: Previewing, body: str, status: int, told: str) -> None:
    headers = KEY | {"Content-Type": "application/json"}
    answer = requests.post(previewing.url + "/preview/render", data=body, headers=headers, timeout=5)
    assert answer.status_code == status
    assert told in answer.json()["detail"]


def test_a_template_over_its_limit_is_broken_not_a_bug(previewing: Previewing) -> None:
    result = previewing.render("x" * 262_145)
    assert (result["state"], result["reason"]) == ("broken", "the template is longer than 262144 characters")


@pytest.mark.parametrize("piece", ["{", "{{a.b", "<!--", "%7B%7B", "{% raw %}", "<", "\n", "[[a", "{% if a or "])
def test_no_template_takes_long_to_look_at(previewing: Previewing, piece: str) -> None:
    many = piece * (100_000 // len(piece))
    for template in (many, "{{" + many + "}}", "{% if " + many + " %}x{% endif %}"):
        assert previewing.render(template)["verdict"] in ("red", "yellow", "green")


def test_a_lone_surrogate_is_told(previewing: Previewing) -> None:
    result = previewing.render("{{${name}}}", data={"attributes": {"name": "\ud800"}})
    assert result["state"] == "broken"
    assert "half a character" in result["reason"]


def test_tags_name_the_address_the_page_was_called_by_where_braze_could_call_it(previewing: Previewing) -> None:
    for host, address in {
        "reviews.shop.com": "https://reviews.shop.com",
        "localhost": "https://reviews.example.com",
        "10.0.0.1": "https://reviews.example.com",
        "shop.com:8000": "https://reviews.example.com",
    }.items():
        answer = requests.get(previewing.url + "/preview/ready", headers=KEY | {"Host": host}, timeout=5).json()
        assert answer["host"] == address
        assert all("/v1/" not in t["body"] or address in t["body"] for t in answer["templates"])


def test_a_fix_names_that_address_too(previewing: Previewing) -> None:
    tag = "{% connected_content https://old.example.org/v1/summary?sku=TRUCK-01 :basic_auth a :save r %}{{ r.total }}"
    asked = {"body": tag, "channel": "sms"}
    for host, address in {"reviews.shop.com": "https://reviews.shop.com", "localhost": HOST}.items():
        url = previewing.url + "/preview/render"
        answer = requests.post(url, json=asked, headers=KEY | {"Host": host}, timeout=5).json()
        assert answer["mistakes"][0]["fix"]["label"] == f"Write {address}"


START = "import sys; sys.modules['liquid'] = None; import wsgi"


@pytest.mark.parametrize(("preview", "status"), [("true", 1), ("false", 0)])
def test_without_python_liquid_the_preview_stops_the_start_with_one_line(preview: str, status: int) -> None:
    environment = {**os.environ, **GOOD, "PREVIEW": preview}
    done = subprocess.run([sys.executable, "-c", START], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    told = "PREVIEW is true but python-liquid is not installed: pip install '.[preview]'\n"
    assert done.stderr == (told if status else "")


def test_the_preview_needs_credentials() -> None:
    with pytest.raises(SettingsError, match="PREVIEW is true but PROXY_CREDENTIALS is not set"):
        Settings.from_environment(
            {**GOOD, "PROXY_CREDENTIALS": "", "PROXY_ALLOW_ANONYMOUS": "true", "PREVIEW": "true"}
        )
