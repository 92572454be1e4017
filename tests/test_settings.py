"""The table of settings: defaults, mistakes, what the files say, and the pages that are written from it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import requests

from proxy.server import with_file
from proxy.settings import Settings, SettingsError, deprecated_names, documented, doubtful_rights, unknown_names
from tests.running import Process, RunningProxy, RunningSandbox, proxy_environment
from tools.reference import EXAMPLE, PAGES, example, with_generated

ROOT = Path(__file__).parents[1]
GOOD = {
    "TRUSTPILOT_API_KEY": "key-text",
    "TRUSTPILOT_BUSINESS_UNIT_ID": "66ea0530,77",
    "PROXY_CREDENTIALS": "braze:very-secret,old:other:secret",
}
ALL = frozenset({"read", "invite", "hook", "admin"})


def test_the_defaults_are_the_contracts() -> None:
    settings = Settings.from_environment(GOOD)
    assert settings.business_units == ("66ea0530", "77")
    assert [pair.secret for pair in settings.credentials] == ["very-secret", "other:secret"]
    assert (settings.fresh_seconds, settings.stale_seconds, settings.missing_seconds) == (900, 86400, 300)
    assert (settings.deadline_seconds, settings.upstream_timeout_seconds, settings.upstream_concurrency) == (
        1.5,
        10,
        128,
    )
    assert (settings.calls_per_5_minutes, settings.calls_per_hour, settings.calls_per_year) == (833, 10000, 200_000)
    assert (settings.batch_skus, settings.imported_reviews, settings.sync) == (100, False, "auto")
    assert (settings.cache_url, settings.cache_file) == ("sqlite:///proxy.sqlite3", Path("proxy.sqlite3"))
    assert (settings.port, settings.workers) == (8000, os.cpu_count())


WRONG = [
    ("TRUSTPILOT_API_KEY", "with space"),
    ("TRUSTPILOT_API_KEY", "clé"),
    ("TRUSTPILOT_API_SECRET", "two\nlines"),
    ("TRUSTPILOT_BUSINESS_USER_ID", "a b"),
    ("TRUSTPILOT_API_URL", "ftp://x"),
    ("TRUSTPILOT_API_URL", "http://user:pw@host/v1"),
    ("TRUSTPILOT_API_URL", "https://host:port/v1"),
    ("TRUSTPILOT_API_URL", "http://[::1/v1"),
    ("TRUSTPILOT_API_URL", "http://a b/v1"),
    ("TRUSTPILOT_INVITATIONS_URL", "https://host/v1?a=b"),
    ("TRUSTPILOT_BUSINESS_UNIT_ID", "a b"),
    ("TRUSTPILOT_BUSINESS_UNIT_ID", "a,,b"),
    ("TRUSTPILOT_CALLS_PER_5_MINUTES", "many"),
    ("TRUSTPILOT_CALLS_PER_HOUR", "1e4"),
    ("TRUSTPILOT_CALLS_PER_YEAR", "0"),
    ("TRUSTPILOT_CALLS_PER_YEAR", "infinite"),
    ("TRUSTPILOT_BATCH_SKUS", "-5"),
    ("TRUSTPILOT_IMPORTED_REVIEWS", "perhaps"),
    ("SYNC", "always"),
    ("PROXY_CREDENTIALS", "no-colon"),
    ("PROXY_CREDENTIALS", "name:"),
    ("PROXY_CREDENTIALS", "a:b,,c:d"),
    ("PROXY_CREDENTIALS", "name:sécret"),
    ("PROXY_CREDENTIALS", "name:secret:read+write"),
    ("PROXY_CREDENTIALS", "name:secret:reads"),
    ("PROXY_CREDENTIALS", "name::read"),
    ("PROXY_ALLOW_ANONYMOUS", "maybe"),
    ("PROXY_ALLOWED_CIDRS", "10.0.0.0/99"),
    ("PROXY_TRUSTED_HOPS", "-1"),
    ("PROXY_DRAIN_SECONDS", "-1"),
    ("PROXY_DRAIN_SECONDS", "86400"),
    ("CACHE_URL", "mysql://x"),
    ("CACHE_URL", "sqlite://proxy.sqlite3"),
    ("CACHE_URL", "sqlite:///"),
    ("CACHE_URL", "sqlite:///folder/"),
    ("CACHE_URL", "sqlite:///:memory:"),
    ("CACHE_URL", "sqlite:///a.sqlite3?mode=ro"),
    ("CACHE_URL", "redis://host:port/0"),
    ("CACHE_URL", "redis://host/name"),
    ("CACHE_URL", "redis://host/0?no_such_option=1"),
    ("CACHE_URL", "redis://:pa/ss#word@host:6379/0"),
    ("CACHE_URL", "unix://"),
    ("CACHE_FRESH_SECONDS", "soon"),
    ("CACHE_STALE_SECONDS", "nan"),
    ("CACHE_MISSING_SECONDS", "1e999"),
    ("CACHE_MAX_MB", "0"),
    ("CACHE_MAX_MB", "1e308"),
    ("CACHE_MAX_DISK_MB", "64MB"),
    ("DEADLINE_SECONDS", "-1"),
    ("UPSTREAM_TIMEOUT_SECONDS", "0"),
    ("UPSTREAM_CONCURRENCY", "0"),
    ("LOG_LEVEL", "loud"),
    ("PORT", "65536"),
    ("WEB_CONCURRENCY", "999999999"),
    ("WEB_CONCURRENCY", "1.5"),
    ("TOKEN_ENDPOINT", "true"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_one_line_that_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({**GOOD, name: value})
    assert len(error.value.mistakes) == 1
    assert error.value.mistakes[0].startswith(name)
    assert "\n" not in error.value.mistakes[0]
    secret = {"TRUSTPILOT_API_KEY", "TRUSTPILOT_API_SECRET", "PROXY_CREDENTIALS", "CACHE_URL"}
    # An address may hold a password or a key, where it takes none.
    if name in secret or "@" in value or "?" in value:
        assert repr(value) not in error.value.mistakes[0]
        assert f"={value}" not in error.value.mistakes[0]


@pytest.mark.parametrize(
    "command",
    [["proxy"], ["gunicorn", "wsgi:app"], *(["flask", "--app", "wsgi", name] for name in ("check", "collection"))],
)
def test_a_start_says_all_mistakes_and_nothing_else(command: list[str]) -> None:
    wrong = dict(WRONG)
    if command[0] == "gunicorn":
        # gunicorn reads it from the environment before anything of ours, and ends with a traceback of its own.
        del wrong["WEB_CONCURRENCY"]
    started = subprocess.run(
        [sys.executable, "-m", *command], env={**os.environ, **wrong}, capture_output=True, text=True, timeout=60
    )
    assert started.returncode != 0
    lines = (started.stderr + started.stdout).strip().removeprefix("Error: ").split("\n")
    # TOKEN_ENDPOINT is wrong only without a secret, and the secret is what is wrong here.
    assert sorted(re.split("[=:]", line)[0] for line in lines if line) == sorted(wrong.keys() - {"TOKEN_ENDPOINT"})


def test_a_start_takes_empty_values_for_none() -> None:
    names = [name for name, _, _ in documented()]
    assert Settings.from_environment(dict.fromkeys(names, "") | GOOD) == Settings.from_environment(GOOD)
    given = dict.fromkeys(names, " ") | GOOD | {"PROXY_ENV_FILE": os.devnull}
    command = [sys.executable, "-m", "proxy", "--check-config"]
    started = subprocess.run(command, env=os.environ | given, capture_output=True, text=True, timeout=60)
    assert started.returncode == 0, started.stderr


def test_all_mistakes_are_told_at_once_and_no_secret_with_them() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({"PORT": "x", "PROXY_CREDENTIALS": "hush-hush"})
    assert len(error.value.mistakes) == 4
    assert "hush" not in str(error.value)
    shown = json.dumps(Settings.from_environment({**GOOD, "CACHE_URL": "redis://:hush@host/0"}).shown())
    for secret in ("very-secret", "key-text", "hush"):
        assert secret not in repr(Settings.from_environment({**GOOD, "CACHE_URL": "redis://:hush@host/0"}))
        assert secret not in shown
    assert "redis://host" in shown


@pytest.mark.parametrize(
    "url", ["redis://:hush-hush@h/0", "redis://:hush%2Dhush@h/0", "redis://h?password=hush-hush"]
)
def test_the_password_of_a_redis_is_a_secret_however_it_is_written(url: str) -> None:
    assert "hush-hush" in Settings.from_environment({**GOOD, "CACHE_URL": url}).secrets


@pytest.mark.parametrize(
    ("pair", "secret", "rights"),
    [
        ("name:secret", "secret", ALL),
        ("name:secret:read", "secret", frozenset({"read"})),
        ("name:secret:hook+read", "secret", frozenset({"read", "hook"})),
        ("name:with:colons", "with:colons", ALL),
        ("name:with:colons:invite", "with:colons", frozenset({"invite"})),
        ("name:read", "read", ALL),
        ('name:Pa$$ &#"\'word"', 'Pa$$ &#"\'word"', ALL),
    ],
)
def test_a_credential_has_all_rights_or_those_it_is_narrowed_to(
    pair: str, secret: str, rights: frozenset[str]
) -> None:
    (credential,) = Settings.from_environment({**GOOD, "PROXY_CREDENTIALS": pair}).credentials
    assert (credential.name, credential.secret, credential.rights) == ("name", secret, rights)


@pytest.mark.parametrize(
    ("pair", "warned"),
    [
        ("name:hush:nope", True),
        ("name:hush:write+purge", True),
        ("name:hush:8f3A", False),
        ("name:hush", False),
        ("name:hush:read", False),
        ("name:hush:with:invite", False),
    ],
)
def test_a_secret_that_ends_as_if_it_named_rights_is_warned_of(pair: str, warned: bool) -> None:
    warnings = doubtful_rights({"PROXY_CREDENTIALS": f"other:secret,{pair}"})
    assert [warning.partition(" ends in")[0] for warning in warnings] == [
        "PROXY_CREDENTIALS: the secret of name"
    ] * warned
    for told in warnings:
        assert "read+invite+hook+admin" in told
        assert not re.search("hush|nope|purge", told)


def test_workers_default_to_one_with_memory_and_one_per_core_with_a_file_or_redis() -> None:
    cores = os.cpu_count()
    assert Settings.from_environment({**GOOD, "CACHE_URL": "memory://"}).workers == 1
    assert Settings.from_environment({**GOOD, "CACHE_URL": "sqlite:////var/lib/proxy.sqlite3"}).workers == cores
    assert Settings.from_environment({**GOOD, "CACHE_URL": "redis://localhost"}).workers == cores
    assert Settings.from_environment({**GOOD, "CACHE_URL": "redis://localhost", "WEB_CONCURRENCY": "7"}).workers == 7


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("TRUSTPILOT_APIKEY", "TRUSTPILOT_API_KEY"),
        ("TRUSTPILOT_BUSINESS_UNIT", "TRUSTPILOT_BUSINESS_UNIT_ID"),
        ("PROXY_CREDENTIAL", "PROXY_CREDENTIALS"),
        ("CACHE_FRESH_SECS", "CACHE_FRESH_SECONDS"),
        ("CACHE_FRESH", "CACHE_FRESH_SECONDS"),
        ("DEADLINE_SECOND", "DEADLINE_SECONDS"),
        ("WEB_CONCURENCY", "WEB_CONCURRENCY"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("cache_url", "CACHE_URL"),
        ("TRUSTPILOT_TOKEN", "TRUSTPILOT_API_KEY"),
    ],
)
def test_a_mistyped_name_is_named_with_the_nearest(name: str, nearest: str) -> None:
    (warning,) = unknown_names({**GOOD, name: "hush"})
    assert warning.startswith(f"{name} is no setting")
    assert warning.endswith(f"; {nearest} is")
    assert "hush" not in warning


def test_what_only_machines_set_is_no_mistyped_name() -> None:
    # What shells, containers and Kubernetes' service links bring along.
    others = [
        "PATH",
        "HOME",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "HOSTNAME",
        "REDIS_URL",
        "SHELL",
        "TERM",
        "LANG",
    ]
    links = ["PROXY_SERVICE_HOST", "PROXY_SERVICE_PORT", "PROXY_PORT", "PROXY_PORT_80_TCP_ADDR", "REDIS_PORT"]
    assert unknown_names(dict.fromkeys([*others, *links, *GOOD], "x")) == []


def test_the_start_warns_of_a_mistyped_name(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, CACHE_FRESH_SECS="60") as proxy:
        assert "CACHE_FRESH_SECS is no setting; CACHE_FRESH_SECONDS is" in "".join(proxy.log)


@pytest.mark.parametrize(("workers", "warned"), [("1", False), ("2", True)])
def test_the_start_warns_what_several_workers_without_a_shared_store_cost(
    sandbox: RunningSandbox, workers: str, warned: bool
) -> None:
    with RunningProxy(sandbox, WEB_CONCURRENCY=workers) as proxy:
        assert ("each worker pays" in "".join(proxy.log)) is warned


# In the file, and what it means.
ODD = {
    "'Pa$$w0rd & #1 \"x\"'": 'Pa$$w0rd & #1 "x"',
    "${HOME}a&x": "${HOME}a&x",
    "'${HOME} $(id) `id`'": "${HOME} $(id) `id`",
    '"it\'s # \\"quoted\\""': 'it\'s # "quoted"',
    "plain#hash # a comment": "plain#hash",
}


def _flasks_settings(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """Return what flask's command line, which reads ``.env`` by itself, hands to the proxy."""
    (folder / "shows.py").write_text(
        "import click, json, os, flask\nfrom proxy.server import with_file\n"
        "app = flask.Flask('x')\n@app.cli.command()\ndef show(): click.echo(json.dumps(with_file(os.environ)))\n"
    )
    command = [sys.executable, "-m", "flask", "--app", "shows", "show"]
    environment = {**environment, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=30)
    told: dict[str, str] = json.loads(printed.stdout)
    return told


def test_gunicorn_and_flask_read_the_same_from_a_file_of_odd_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"ODD_{number}={written}\n" for number, written in enumerate(ODD)]
    (tmp_path / ".env").write_text("".join(lines) + "PORT=1\n")
    environment = {"PATH": os.environ["PATH"], "HOME": "/home/x", "PORT": "2"}
    monkeypatch.chdir(tmp_path)
    for read in (with_file(environment), _flasks_settings(tmp_path, environment)):
        assert [read[f"ODD_{number}"] for number in range(len(ODD))] == [*ODD.values()]
        assert read["PORT"] == "2"


def test_a_proxy_started_in_a_folder_with_a_file_takes_the_secret_as_it_is_written(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    secret = 'Pa$$w0rd & #1 "x"'
    environment = proxy_environment(sandbox)
    del environment["PROXY_ENV_FILE"], environment["PROXY_CREDENTIALS"]
    (tmp_path / ".env").write_text(f"PROXY_CREDENTIALS='braze:{secret}'\nHTTPS_PROXY=http://127.0.0.1:1\n")
    options = ["--config", str(ROOT / "gunicorn.conf.py"), "--pythonpath", str(ROOT), "--bind", "127.0.0.1:0"]
    command = [sys.executable, "-m", "gunicorn", "wsgi:app", *options]
    with Process(command, environment, r"Listening at: (http://\S+)", folder=tmp_path) as proxy:
        answer = requests.get(f"{proxy.url}/v1/reviews?sku=TRUCK-01", auth=("braze", secret), timeout=20)
    assert answer.json()["found"]


def test_a_line_that_sets_nothing_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PORT=1\nPROXY_CREDENTIALS='braze:unclosed\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"^\.env: line 2 can't be read") as error:
        with_file({})
    assert "unclosed" not in str(error.value)


def test_the_start_by_python_says_its_version_and_starts_gunicorn(sandbox: RunningSandbox) -> None:
    command = [sys.executable, "-m", "proxy"]
    printed = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=30, check=True)
    assert printed.stdout == f"{version('connected-content-proxy')}\n"
    environment = proxy_environment(sandbox)
    with Process([*command, "--bind", "127.0.0.1:0"], environment, r"Listening at: (http://\S+)") as proxy:
        assert requests.get(f"{proxy.url}/healthz", timeout=20).ok


_COMMANDS = re.findall(
    r"^\| `(\w+)` \|", (ROOT / "docs/reference.md").read_text().partition("commands begin")[2], re.MULTILINE
)


def test_flask_lists_its_commands_without_settings() -> None:
    environment = {"PATH": os.environ["PATH"], "PROXY_ENV_FILE": os.devnull}
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "--help"]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True)
    assert "Traceback" not in printed.stderr
    listed = re.findall(r"^  (\w+) ", printed.stdout.partition("Commands:")[2], re.MULTILINE)
    # Those of docs/reference.md, and flask's own.
    assert listed == sorted([*_COMMANDS, "routes", "run", "shell"])


def test_the_reference_the_readmes_answer_and_the_example_are_written_from_the_code() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        assert "<!-- " in text
        assert text == with_generated(text), "run: python -m tools.reference"
    assert EXAMPLE.read_text("utf-8") == example(), "run: python -m tools.reference"
    assert all(meaning for _, _, meaning in documented())


def test_the_start_warns_of_what_is_deprecated() -> None:
    assert deprecated_names({"TOKEN_ENDPOINT": "false"}) == []
    (told,) = deprecated_names({"TOKEN_ENDPOINT": "true"})
    assert "/v1/invitation-links" in told


def test_a_proxy_that_logs_errors_alone_starts_and_one_that_can_not_ends_the_wait(sandbox: RunningSandbox) -> None:
    with RunningProxy(sandbox, LOG_LEVEL="error") as proxy:
        assert proxy.get("/v1/summary", sku="TRUCK-01").ok
        assert proxy.log == []
    with pytest.raises(AssertionError, match="PORT='x'"):
        RunningProxy(sandbox, LOG_LEVEL="error", PORT="x")
