"""The snippets of the README and of docs/ work as they are printed, with only the host and the secret put in."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from proxy.preview.braze import BasicCredential, MemoryAnswers, Profile, parse, render
from tests.api.test_reads import Sockets
from tests.running import SECRET, RunningProxy

ROOT = Path(__file__).parents[1]
# These have tests of their own: tests/test_docs_invitations.py and tests/deploy/test_operating.py.
PAGES = "\n".join(
    page.read_text()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if page.name not in {"invitations.md", "operating.md"}
)
HOST = "https://reviews.example.com"
SNIPPETS = re.findall(r"```liquid\n(.*?)```", PAGES, re.DOTALL)
INLINE = re.findall(r"`(\{%.*?%\})`", PAGES)
CURLS = re.findall(r"^    (curl .*)$", PAGES, re.MULTILINE)


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


@pytest.mark.parametrize("line", CURLS)
def test_each_curl_line_is_answered_and_a_read_finds_the_product(proxy: RunningProxy, line: str) -> None:
    line = line.replace(HOST, proxy.url).replace("name:secret", f"braze:{SECRET}").replace(": secret", f": {SECRET}")
    command = [*shlex.split(line), "--silent", "--fail"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert '"found":true' in printed.stdout or "POST" in command
