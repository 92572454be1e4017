"""``flask --app wsgi preview``, as a terminal runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.running import SECRET, RunningSandbox, flask

from .test_message import TAG, TRUCK

DOCS = (Path(__file__).parents[2] / "docs" / "preview.md").read_text()
ABORTS = TAG + "{% unless product.found %}{% abort_message('no review') %}{% endunless %}"


def run(sandbox: RunningSandbox, folder: Path, template: str, data: object, *options: str) -> tuple[int, str]:
    (folder / "message.liquid").write_text(template)
    (folder / "data.json").write_text(data if isinstance(data, str) else json.dumps(data))
    done = flask(sandbox, "preview", str(folder / "message.liquid"), "--data", str(folder / "data.json"), *options)
    return done.returncode, done.stdout + done.stderr


def test_it_prints_the_message_and_its_calls(sandbox: RunningSandbox, tmp_path: Path) -> None:
    status, printed = run(sandbox, tmp_path, TAG + "{{product.reviews[0].content}}", TRUCK, "--channel", "push")
    assert status == 0
    message, _, calls = printed.partition("\n\n")
    assert message == "Such a great toy truck, my kids really enjoy it!"
    assert "GET https://reviews.example.com/v1/reviews?sku=TRUCK-01&limit=1" in calls
    assert "JSON: saved as {{product}}" in calls
    assert "X-Cache miss" in calls
    assert SECRET not in printed


@pytest.mark.parametrize(
    ("template", "data", "told"),
    [
        (ABORTS, {"event_properties": {"item_sku": "NEW-00"}}, "Not sent (aborted): no review"),
        ("\n{% if x %}", TRUCK, "Line 2: The {% if %} of this line is never closed"),
        (TAG, {}, "sku= arrives empty"),
        ("x", {"event": {}}, "data.json: event is not known"),
    ],
)
def test_it_fails_when_nothing_would_be_sent(
    sandbox: RunningSandbox, tmp_path: Path, template: str, data: object, told: str
) -> None:
    status, printed = run(sandbox, tmp_path, template, data)
    assert status == 1
    assert told in printed
    assert "Traceback" not in printed


def test_a_file_that_is_not_utf_8_is_one_line_and_a_byte_order_mark_is_no_text(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    file = tmp_path / "message.liquid"
    file.write_bytes("Hi\nschöner Tag".encode("cp1252"))
    for command in ([str(file)], [str(file), "--data", str(file)]):
        done = flask(sandbox, "preview", *command)
        assert (done.returncode, done.stderr) == (1, f"Error: {file}: line 2 is not UTF-8; save it as UTF-8\n")
    file.write_bytes("\ufeffHi".encode())
    assert flask(sandbox, "preview", str(file), "--body").stdout == "Hi\n"


def test_the_documented_command_and_files_work_as_printed(sandbox: RunningSandbox, tmp_path: Path) -> None:
    template, data = (re.findall(rf"```{kind}\n(.*?)```", DOCS, re.DOTALL)[0] for kind in ("liquid", "json"))
    command = re.findall(r"^ .*flask (--app wsgi preview message.liquid --data person.json.*)$", DOCS, re.MULTILINE)
    options = command[0].split("person.json")[1].split()
    status, printed = run(sandbox, tmp_path, template, data, *options)
    assert status == 0
    assert "Ann, they say: Such a great toy truck, my kids really enjoy it!" in printed


def test_body_and_people_are_printed_and_strict_fails_for_yellow(sandbox: RunningSandbox, tmp_path: Path) -> None:
    status, printed = run(sandbox, tmp_path, "Hi {{first_name}}", {}, "--channel", "sms", "--body", "--people")
    assert status == 0
    assert printed.startswith("Hi\n\nAll is there: yellow. ")
    assert "Trustpilot is down: yellow" in printed
    status, printed = run(sandbox, tmp_path, "Hi {{first_name}}", {}, "--channel", "sms", "--strict")
    assert status == 1
    assert "Verdict: yellow" in printed
