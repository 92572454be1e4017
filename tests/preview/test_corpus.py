"""The two corpora: mistakes are told with what to write and never pass as green; templates render as documented."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.preview.message import Preview
from tests.running import RunningSandbox

from .corpus import Corpus

Seen = list[tuple[dict[str, Any], Preview]]


@pytest.fixture(scope="module")
def mistakes(started_sandbox: RunningSandbox) -> Seen:
    started_sandbox.reset()
    corpus = Corpus("mistakes", started_sandbox)
    return [(entry, corpus.previewed(entry)) for entry in corpus.entries]


def said(result: Preview) -> str:
    """Return all that is told of a message, fixes and all."""
    texts = []
    for mistake in result.mistakes:
        fix = mistake["fix"] or {"label": "", "edits": []}
        texts += [mistake["message"], fix["label"], *(edit["text"] for edit in fix["edits"])]
    return " ".join(texts).lower()


def test_no_mistake_passes_as_green(mistakes: Seen) -> None:
    assert len(mistakes) >= 280
    assert [entry["name"] for entry, result in mistakes if result.verdict == "green"] == []


def test_mistakes_are_told_with_what_to_write(mistakes: Seen) -> None:
    untold = [
        (entry["name"], said(result))
        for entry, result in mistakes
        if not all(part.lower() in said(result) for part in entry["told"].split(" + "))
    ]
    assert untold == []


def test_a_button_mends_nearly_all_of_them(mistakes: Seen) -> None:
    unmended = [entry["name"] for entry, result in mistakes if not any(one["fix"] for one in result.mistakes)]
    assert len(unmended) <= len(mistakes) * 0.05, unmended


def test_what_is_told_has_no_words_of_the_liquid_library(mistakes: Seen) -> None:
    words = ("dpipe", "token", "expected", "syntaxerror", "traceback", "nonetype", "undefined")
    told = {
        entry["name"]: one["message"]
        for entry, result in mistakes
        for one in result.mistakes
        if one["kind"] == "template" and any(word in one["message"].lower() for word in words)
    }
    assert told == {}


def test_templates_render_as_brazes_pages_say_and_none_is_silently_blank(started_sandbox: RunningSandbox) -> None:
    corpus = Corpus("templates", started_sandbox)
    different = []
    for list_name in ("templates", "holds"):
        for page, body, expected in corpus.rows(list_name):
            result = corpus.previewed({"body": body, "channel": "sms"})
            is_right = result.body == expected if list_name == "templates" else expected in result.body
            if not is_right or not result.body:
                different.append((page, body, result.body))
    assert different == []
