"""What looks for leaks finds them: planted ones, in every kind of place, and in a test run of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.preview.braze.endpoint import running_endpoint
from tools.leaks import Said, Watch, leaks

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "line",
    [
        "consumerEmail ada@example.com is refused",
        "GET /?who=ada%40shop.example",
        f'{{"token":"{TOKEN}"}}',
        "Authorization: Bearer abcdef-123456",
        "Authorization: Basic YnJhemU6eA==",
        '{"access_token": "x"}',
        r'{"body":"{\"access_token\": \"x\"}"}',
        "the key hush-hush is wrong",
    ],
)
def test_a_planted_leak_is_found_at_its_line(line: str) -> None:
    [(number, place)] = leaks(f"first\n{line}\nlast", ["hush-hush"])
    assert number == 2
    assert place in line


@pytest.mark.parametrize(
    "line",
    [
        "no or a wrong credential; show one as HTTP Basic, Bearer, X-Api-Key or apikey",
        'Basic realm="Connected Content proxy"',
        "takes an e-mail address such as name@example.com",
        f"bug while answering request {TOKEN}",
        "670d5810ba62e6b31de97de9",
        '{"access_token": "***"}',
        "http://reviews.example.com@169.254.169.254/",
        "https://169.254.169.254%5C@reviews.example.com/v1/summary",
    ],
)
def test_what_only_looks_like_one_is_let_be(line: str) -> None:
    assert list(leaks(line, ["hush-hush"])) == []


def test_what_was_found_names_the_file_and_the_line_in_it(tmp_path: Path) -> None:
    said = Said(tmp_path)
    said.keep("log", "one", "a\nb\n", [])
    said.keep("log", "another", "c\nhush-hush\n", ["hush-hush"])
    [found] = said.tally()["found"]
    file, number, _ = found.split(":", 2)
    assert Path(file).read_text().split("\n")[int(number) - 1] == "hush-hush"
    assert said.tally()["kept"] == {"log": 2}


def test_answers_of_a_raw_connection_are_told_apart(tmp_path: Path) -> None:
    watch = Watch()
    watch.begin(tmp_path)
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
    bad = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 11\r\n\r\na@b.example"
    watch.stream("http://127.0.0.1:1", ok + bad)
    assert watch.tally()["kept"] == {"error": 1}
    assert len(watch.tally()["found"]) == 1


LEAKING = """
import os
import requests

def test_it_passes_by_itself():
    assert requests.get(os.environ["LEAKING"], timeout=5).text
"""


@pytest.mark.parametrize(
    ("workers", "body", "status"),
    [([], "all is well", 0), ([], "for ada@shop.example", 1), (["-n", "1"], "for ada@shop.example", 1)],
    ids=["well", "alone", "in a worker"],
)
def test_a_run_in_which_something_leaked_fails_although_its_tests_pass(
    tmp_path: Path, workers: list[str], body: str, status: int
) -> None:
    (tmp_path / "test_leaking.py").write_text(LEAKING)
    command = [sys.executable, "-m", "pytest", "-p", "tests.watching", "-c", os.devnull, "--rootdir", str(tmp_path)]
    command += ["-p", "no:schemathesis"]  # a second to import
    with running_endpoint() as endpoint:
        endpoint.says("/v1/reviews", body, status=400)
        environment = {**os.environ, "SAID_FOLDER": str(tmp_path / "said"), "LEAKING": f"{endpoint.url}/v1/reviews"}
        done = subprocess.run(
            [*command, *workers, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
        )
    assert "1 passed" in done.stdout
    assert "1 of kind error" in done.stdout
    assert done.returncode == status, done.stdout
    assert ("LEAK" in done.stdout and "ada@shop.example" in done.stdout) is bool(status)
