"""The two corpora: mistakes are told with what to write and never pass as green; templates render as documented."""

from __future__ import annotations

import re
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from proxy.preview import findings
from proxy.preview.message import Preview
from tests.running import RunningSandbox

from .braze.test_ruby import by_ruby
from .corpus import Corpus, read

CHANNELS = ("sms", "push", "in-app", "email")
TEMPLATES = {"templates": ("plain", "templates", "holds", "aborts"), "use_cases": ("use_cases", "aborts")}

Seen = list[tuple[dict[str, Any], Preview]]


@pytest.fixture(scope="module")
def mistakes(started_sandbox: RunningSandbox) -> Seen:
    started_sandbox.reset()
    corpus = Corpus("mistakes", started_sandbox)
    return [(entry, corpus.previewed(entry)) for entry in corpus.mistakes()]


def said(result: Preview) -> str:
    """Return all that is told of a message, fixes and all."""
    texts = []
    for mistake in result.mistakes:
        fix = mistake["fix"] or {"label": "", "edits": []}
        texts += [mistake["message"], fix["label"], *(edit["text"] for edit in fix["edits"])]
    return " ".join(texts).lower()


def test_no_mistake_passes_as_green(mistakes: Seen) -> None:
    assert len(mistakes) >= 410
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


def test_each_sentence_is_told_somewhere_and_what_is_told_has_one() -> None:
    code = "".join(file.read_text() for file in Path(findings.__file__).parent.glob("*.py"))
    kinds = {name.partition("/")[0] for name in findings.SENTENCES}
    named = {name for name in re.findall(r'"([\w-]+/[\w-]+)"', code) if name.partition("/")[0] in kinds}
    assert named - findings.SENTENCES.keys() == set()
    whole_or_end = ((name, name.rpartition("/")[2]) for name in findings.SENTENCES)
    assert [name for name, end in whole_or_end if f'"{name}"' not in code and f'"{end}"' not in code] == []


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
    started_sandbox.reset()
    different = []
    for file_name, list_names in TEMPLATES.items():
        corpus = Corpus(file_name, started_sandbox)
        for list_name in list_names:
            samples = {"namespaces": read("templates")["samples"]} if list_name in ("plain", "templates") else {}
            for (page, body, expected), channel in zip(corpus.rows(list_name), cycle(CHANNELS), strict=False):
                result = corpus.previewed({"body": body, "channel": channel, "data": samples})
                if list_name == "aborts":
                    is_right = result.state == "aborted" and expected in result.reason
                elif list_name == "holds":
                    is_right = expected in result.body
                else:
                    is_right = result.body == expected and result.body != ""
                if not is_right:
                    different.append((page, body, expected, result.body or result.reason))
    assert different == []


@pytest.mark.parametrize(
    "body",
    [
        "{{ 9.99 | floor }} {{ true }} {{ 1.50 }}",
        "{% for i in (1..3) %}{{ forloop.index }}/{{ forloop.length }} {% endfor %}",
        "{% assign has = true %}{% if has == true %}a{% endif %}",
        "{% if missing == nil %}a{% endif %}{% unless missing != blank %}b{% endunless %}",
    ],
)
def test_what_is_written_as_it_should_be_is_no_mistake(started_sandbox: RunningSandbox, body: str) -> None:
    assert Corpus("templates", started_sandbox).previewed({"body": body, "channel": "sms"}).verdict == "green"


@pytest.mark.parametrize(
    ("tag", "told"),
    [("if", "so this condition never comes true"), ("unless", "so this condition always comes true")],
)
def test_a_condition_on_a_name_that_is_nobodys_is_told_as_it_comes_out(
    started_sandbox: RunningSandbox, tag: str, told: str
) -> None:
    body = f"{{% {tag} missing %}}a{{% end{tag} %}}b"
    (mistake,) = Corpus("templates", started_sandbox).previewed({"body": body, "channel": "sms"}).mistakes
    assert told in mistake["message"]


def test_what_differs_from_a_page_is_few_has_a_reason_and_is_told(started_sandbox: RunningSandbox) -> None:
    corpus = Corpus("templates", started_sandbox)
    differences = read("templates")["differences"]
    assert len(differences) <= 0.03 * (len(differences) + len(_rows()))
    results = [corpus.previewed({"body": body, "channel": "sms"}) for _, body, _, _, _ in differences]
    for (_, body, documented, said_instead, reason), result in zip(differences, results, strict=True):
        assert result.body != documented, body
        assert said_instead in (result.body or result.reason), body
        assert reason, body


def test_the_plain_templates_render_so_by_ruby() -> None:
    rows = read("templates")["plain"]
    results = by_ruby([body for _, body, _ in rows])
    assert [
        (body, result) for (_, body, expected), result in zip(rows, results, strict=True) if result[1] != expected
    ] == []


def _rows() -> list[tuple[str, str, str]]:
    """Return the page, the template and what it renders to, of all lists."""
    return [row for file_name, names in TEMPLATES.items() for name in names for row in read(file_name)[name]]


def test_there_are_enough_templates_no_two_the_same_and_each_names_its_page() -> None:
    rows = _rows()
    assert len({body for _, body, _ in rows}) == len(rows) >= 380
    addresses = {**read("templates")["pages"], **read("use_cases")["pages"]}
    assert {page for page, _, _ in rows} == set(addresses)
    assert all(address.startswith("https://www.braze.com/docs/") for address in addresses.values())
