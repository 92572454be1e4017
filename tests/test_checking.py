"""The check command as the person who sets the proxy up runs it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.running import UNIT, RunningSandbox, flask


def check(sandbox: RunningSandbox, **settings: str) -> subprocess.CompletedProcess[str]:
    return flask(sandbox, "check", **settings)


def test_right_credentials_are_told_to_work(sandbox: RunningSandbox) -> None:
    done = check(sandbox)
    assert done.stdout.splitlines() == [
        f"ok  reviews of business unit {UNIT}: work",
        "ok  token: works, lasts 100 hours",
    ]
    assert done.returncode == 0


WRONG = [
    ({"TRUSTPILOT_API_KEY": "hush"}, "Trustpilot answered 401; check TRUSTPILOT_API_KEY"),
    ({"TRUSTPILOT_API_SECRET": "hush"}, "token: Trustpilot refuses the proxy's API key and secret with 401; check"),
    ({"TRUSTPILOT_BUSINESS_UNIT_ID": "nobody"}, "Trustpilot answered 404; check TRUSTPILOT_BUSINESS_UNIT_ID"),
    ({"TRUSTPILOT_BUSINESS_USER_ID": ""}, "business user: not set"),
    ({"TRUSTPILOT_API_URL": "http://127.0.0.1:1/v1"}, "could not be reached; check TRUSTPILOT_API_URL"),
]


@pytest.mark.parametrize(("setting", "line"), WRONG)
def test_what_does_not_work_is_told_with_what_to_do(
    sandbox: RunningSandbox, setting: dict[str, str], line: str
) -> None:
    done = check(sandbox, **setting)
    assert line in done.stdout
    assert done.returncode == 1
    assert "hush" not in done.stdout + done.stderr


def test_what_is_tried_is_what_the_file_says(sandbox: RunningSandbox, tmp_path: Path) -> None:
    file = tmp_path / "proxy.env"
    file.write_text(f"TRUSTPILOT_API_KEY={sandbox.api_key}\n")
    done = check(sandbox, TRUSTPILOT_API_KEY="", PROXY_ENV_FILE=str(file))
    assert done.returncode == 0, done.stderr


def test_without_a_secret_the_token_is_not_tried(sandbox: RunningSandbox) -> None:
    done = check(sandbox, TRUSTPILOT_API_SECRET="")
    assert "token: not tried" in done.stdout
    assert done.returncode == 0


def test_a_wrong_setting_is_one_line(sandbox: RunningSandbox) -> None:
    done = check(sandbox, PORT="x")
    assert "PORT='x'" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_says_which_way_copies_are_kept_true(sandbox: RunningSandbox) -> None:
    assert f"ok  feed of business unit {UNIT}: works, newest first" in check(sandbox, SYNC="auto").stdout
    sandbox.lists(feed_order="oldest")
    assert "not newest first; SYNC=auto confirms products by their counts" in check(sandbox, SYNC="auto").stdout
    sandbox.lists()
    sandbox.behave("fail", kinds=["feed"], status=403)
    done = check(sandbox, SYNC="feed")
    assert "Trustpilot answered 403; set SYNC=auto" in done.stdout
    assert done.returncode == 1
