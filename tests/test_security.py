"""SECURITY.md names what there is: every secret, every limit, every command, file and variable."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.api.writes import LARGEST_BODY_BYTES
from proxy.app import MEBIBYTE
from proxy.cli import check, demo, sandbox
from proxy.server.plain_gets import REQUEST_SECONDS
from proxy.settings import Settings, SettingsError
from proxy.trustpilot.transport import MAX_BODY_BYTES

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text()
ROTATION = TEXT.partition("## Rotating secrets")[2].partition("\n## ")[0]
SOURCE = "\n".join(path.read_text() for path in (ROOT / "proxy").rglob("*.py"))
VARIABLES = sorted(set(re.findall(r'"([A-Z]+_[A-Z0-9_]+|PORT|PREVIEW)"', (ROOT / "proxy/settings.py").read_text())))
GOOD = {"TRUSTPILOT_API_KEY": "k", "TRUSTPILOT_BUSINESS_UNIT_ID": "u", "PROXY_CREDENTIALS": "a:b"}
MARK = "Zq7Zq7Zq7"


def is_secret(variable: str) -> bool:
    """Tell whether a value of the variable can end up among what must never be seen."""
    for value in (MARK, f"name:{MARK}", f"redis://:{MARK}@host:6379/0"):
        try:
            settings = Settings.from_environment({**GOOD, variable: value})
        except SettingsError:
            continue
        if MARK in settings.secrets:
            return True
    return False


def test_the_secrets_are_those_known() -> None:
    found = {variable for variable in VARIABLES if is_secret(variable)}
    assert found == {"TRUSTPILOT_API_KEY", "TRUSTPILOT_API_SECRET", "PROXY_CREDENTIALS", "CACHE_URL"}


@pytest.mark.parametrize("variable", [variable for variable in VARIABLES if is_secret(variable)])
def test_each_secret_has_its_row_about_rotation(variable: str) -> None:
    assert [line for line in ROTATION.split("\n") if line.startswith("| ") and variable in line.split("|")[1]]


@pytest.mark.parametrize(
    "variable", sorted(set(re.findall(r"`((?:PROXY|CACHE|TRUSTPILOT)_[A-Z_]+|TOKEN_ENDPOINT)", TEXT)))
)
def test_each_variable_named_exists(variable: str) -> None:
    assert f'"{variable}"' in SOURCE


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z]+)", TEXT))))
def test_each_make_target_named_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", re.findall(r"`flask --app wsgi ([a-z]+)`", TEXT))
def test_each_flask_command_named_exists(command: str) -> None:
    assert command in {known.name for known in (check, demo, sandbox)}


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`([\w./-]+\.(?:yml|cfg|py|toml))`", TEXT))))
def test_each_file_named_exists(file: str) -> None:
    assert (ROOT / file).is_file()


@pytest.mark.parametrize("address", re.findall(r"`(/[a-z/]+)`", TEXT))
def test_each_address_named_exists(address: str) -> None:
    assert f'"{address}"' in SOURCE


def test_the_limits_are_those_in_force() -> None:
    # In a process of its own: the file patches the standard library where it runs.
    limits = ("line", "field_size", "fields")
    names = [*(f"limit_request_{limit}" for limit in limits), "keepalive", "worker_connections"]
    script = "import json, runpy, sys; conf = runpy.run_path('gunicorn.conf.py'); "
    script += "print(json.dumps([conf[name] for name in sys.argv[1:]]))"
    environment = {**os.environ, **GOOD}
    printed = subprocess.check_output([sys.executable, "-c", script, *names], env=environment, cwd=ROOT, text=True)
    line, field, fields, keepalive, connections = json.loads(printed)
    assert line == field
    for said in (
        f"up to {line:,} bytes, {fields} headers",
        f"bodies up to {MEBIBYTE // 2**20} MiB (invitations {LARGEST_BODY_BYTES // 2**10} KiB)",
        f"headers within {keepalive} seconds, the whole within {REQUEST_SECONDS}",
        f"up to {connections:,} connections",
        f"at most {MAX_BODY_BYTES // 2**20} MiB",
    ):
        assert said in TEXT


def test_the_token_lies_where_it_is_said_to() -> None:
    assert "`ccp:1:token:`" in TEXT
    assert '_RECORDS = "ccp:1"' in (ROOT / "proxy/cache/redis.py").read_text()
    assert 'f"token:{' in (ROOT / "proxy/trustpilot/private.py").read_text()


def test_a_secret_made_as_advised_is_long_and_taken() -> None:
    [advised] = re.findall(r"`python3 -c '(import secrets; print\((.*)\))'`", TEXT)
    made = secrets.token_urlsafe(int(re.findall(r"\d+", advised[1])[0]))
    assert len(made) >= 40
    assert made in Settings.from_environment({**GOOD, "PROXY_CREDENTIALS": f"braze:{made}"}).secrets
