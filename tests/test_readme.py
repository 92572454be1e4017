"""The snippets of the README and of docs/ work as they are printed, with only the host and the secret put in."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from proxy.preview.braze import BasicCredential, MemoryAnswers, Profile, parse, render
from proxy.preview.page import READY_TEMPLATES
from tests.api.test_reads import Sockets
from tests.deploy.shipped import anchors
from tests.running import SECRET, RunningProxy

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# These have tests of their own: tests/test_docs_invitations.py and tests/deploy/test_operating.py.
PAGES = "\n".join(
    page.read_text()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if page.name not in {"invitations.md", "operating.md", "installation.md"}
)
HOST = "https://reviews.example.com"
SNIPPETS = re.findall(r"```liquid\n(.*?)```", PAGES, re.DOTALL)
INLINE = re.findall(r"`(\{%.*?%\})`", PAGES)
CURLS = re.findall(r"^    (curl .*)$", PAGES, re.MULTILINE)
LINKING = [page for folder in (ROOT, ROOT / "docs", ROOT / "tests") for page in sorted(folder.glob("*.md"))]
TARGETS = re.findall(r"^([a-z-]+):(?! DEBIAN)", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_there_are_snippets_to_test() -> None:
    assert SNIPPETS
    assert INLINE
    assert CURLS


@pytest.mark.parametrize("snippet", INLINE)
def test_each_piece_of_liquid_within_a_sentence_can_be_read(snippet: str) -> None:
    parse(snippet)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_each_liquid_snippet_renders_a_review(proxy: RunningProxy, snippet: str) -> None:
    rendering = render(
        snippet.replace(HOST, proxy.url),
        Profile(event_properties={"item_sku": "TRUCK-01"}),
        transport=Sockets(),
        credentials={"reviews_proxy": BasicCredential("braze", SECRET)},
        clock=time.time,
        sleep=time.sleep,
        cache=MemoryAnswers(time.time),
    )
    assert "Such a great toy truck, my kids really enjoy it!" in rendering.output
    assert rendering.aborted is None


@pytest.mark.parametrize("template", [*SNIPPETS, *(ready.template() for ready in READY_TEMPLATES)])
def test_what_readers_copy_goes_out_without_reviews_too_and_says_which_it_chose(template: str) -> None:
    for tag in re.findall(r"{% connected_content (.*?)%}", template, re.DOTALL):
        assert "/v1/fragment" in tag or "on_error=empty" in tag
        assert "cache_max_age" not in tag
        assert not re.search(_CHOOSES, tag) or "disclosure" in template


_CHOOSES = "[&?](stars|sort|min_average)="


def test_the_first_tags_choose_no_reviews_and_the_invitation_shows_none() -> None:
    assert not any(re.search(_CHOOSES, snippet) for snippet in SNIPPETS[:2])
    [invitation] = [ready.template() for ready in READY_TEMPLATES if "invitation" in ready.name]
    assert not re.search("connected_content|stars|average|review(s|ed)|★", invitation)


@pytest.mark.parametrize("line", CURLS)
def test_each_curl_line_is_answered_and_a_read_finds_the_product(proxy: RunningProxy, line: str) -> None:
    printed = _curled(line, proxy)
    assert '"found":true' in printed or "-X POST" in line


def test_the_readmes_answer_is_the_one_that_its_curl_line_gets(shared_proxy: RunningProxy) -> None:
    [line] = re.findall(r"^    (curl .*)$", README, re.MULTILINE)
    [answer] = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert json.loads(answer) == json.loads(_curled(line, shared_proxy))


def test_the_readmes_commands_are_the_makefiles_and_flasks(tmp_path: Path) -> None:
    outside = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    lines = re.findall(r"^    (?!curl )(\S.*)$", outside, re.MULTILINE)
    commands = [line.partition(" #")[0].strip() for line in lines]
    run, copy, start, check = commands
    for name in ("Makefile", ".env.example", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for command, program in ((run, "flask --app wsgi demo"), (copy, ""), (start, "python -m proxy")):
        # What make would do, which tests/test_demo.py and the others do.
        said = _sh(command.replace("make ", "make --dry-run "), tmp_path)
        assert program in said
    assert (tmp_path / ".env").read_text() == (ROOT / ".env.example").read_text()
    assert check == ".venv/bin/flask --app wsgi check"  # tests/test_checking.py


def test_the_readme_is_short_and_its_tags_hide_nothing() -> None:
    assert len(README.splitlines()) <= 90
    for tag in re.findall(r"```liquid\n(.*?)```", README, re.DOTALL):
        # With nothing to show a fragment is empty by itself.
        assert "on_error=empty" in tag or "/v1/fragment" in tag
        assert not re.search("stars=|sort=|cache_max_age", tag)


def test_the_readmes_figures_are_those_of_the_last_bench() -> None:
    table = (ROOT / "docs/speed.md").read_text()
    row = r"^\| burst \| (proxy|nginx) cold, 1,000 connections: (\w+) \| ([\d.,]+)"
    measured = {(who, what): figure for who, what, figure in re.findall(row, table, re.MULTILINE)}
    figures = re.findall(r"^- (\d+) (?:calls|answers|ms) [^(\n]*(?:\(nginx: (\d+).*)?$", README, re.MULTILINE)
    assert figures == [
        (measured["proxy", "calls"], measured["nginx", "calls"]),
        (measured["proxy", "blank"], ""),
        (f"{float(measured['proxy', 'p99']):.0f}", f"{float(measured['nginx', 'p99']):.0f}"),
    ]
    assert measured["proxy", "blank"] == measured["proxy", "wrong"] == measured["proxy", "late"]


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_heading_or_a_file(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name})" not in index] == ["README.md"]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_a_command_to_copy_is_found_where_make_has_put_it(page: Path) -> None:
    assert re.findall(r"^    (?:flask|pip) .*$", page.read_text(), re.MULTILINE) == []


def test_every_target_of_make_is_explained() -> None:
    told = set(re.findall(r"`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text()))
    assert told == set(TARGETS)


def _curled(line: str, proxy: RunningProxy) -> str:
    line = line.replace(HOST, proxy.url).replace("name:secret", f"braze:{SECRET}").replace(": secret", f": {SECRET}")
    command = [*shlex.split(line), "--silent", "--fail"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout


def _sh(command: str, folder: Path) -> str:
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout
