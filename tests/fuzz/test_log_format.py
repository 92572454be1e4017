"""Any line of a log, with secrets and addresses anywhere in it: neither is left, and the line can still be read."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from proxy.invitations import ADDRESS
from proxy.telemetry.logging import Columns, JsonLines, Redaction
from tests.fuzz.effort import fuzzed

SECRETS = st.lists(
    st.text(st.characters(codec="ascii", exclude_categories=["Cc", "Zs"]), min_size=4, max_size=12), max_size=3
)
ADDRESSES = st.one_of(st.emails(), st.from_regex(ADDRESS, fullmatch=True).filter(lambda address: len(address) <= 254))
AROUND = st.one_of(
    st.text(st.characters(exclude_characters="@%"), max_size=8),
    st.sampled_from(["\n", "\\", '"', "[", "x", "", " ", "<", "to=", "\nn"]),
)


def pieces(redacted: str) -> list[str]:
    """Return what is left between the blots, so that their own words are not taken for what they hide."""
    return re.split(r"\[secret\]|\[address\]", redacted)


@fuzzed
@given(SECRETS, st.data())
def test_no_secret_is_left_in_any_text(secrets: list[str], data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.one_of(AROUND, st.sampled_from(secrets or [""])), max_size=8))
    redacted = Redaction(secrets)("".join(parts))
    assert not any(secret in piece for piece in pieces(redacted) for secret in secrets)


@fuzzed
@given(AROUND, ADDRESSES, AROUND, st.booleans())
@example("", "a@b!c.example", "", False)
@example("", "ada@exam_ple.com", "", True)
def test_no_address_that_an_invitation_takes_is_left_in_any_text(
    before: str, address: str, after: str, encoded: bool
) -> None:
    shown = address.replace("@", "%40") if encoded else address
    redacted = Redaction([])(f"{before}{shown}{after}")
    assert "[address]" in redacted
    assert shown not in redacted
    local, _, domain = address.rpartition("@")
    assert f"@{domain}" not in redacted
    assert f"{local}@" not in redacted


@fuzzed
@given(st.text(st.characters(exclude_characters="@%"), max_size=60))
def test_a_text_without_any_is_left_as_it_is(text: str) -> None:
    assert Redaction(["hush-hush"])(text) == text


@fuzzed
@given(AROUND, st.one_of(ADDRESSES, st.just("nabcd")), AROUND, AROUND)
@example("\n", "ada@example.com", "", "")
@example("\n", "nabcd", "", "")
@example("", 'a@b.example"', "", "")
def test_a_json_line_stays_json_and_says_neither(before: str, told: str, after: str, field: str) -> None:
    text = f"{before}{told}{after}"
    assume("\ud800" not in text)
    fields: dict[str, Any] = {"field": f"{field}{told}", "ms": 3.5, "list": [told]}
    record = logging.makeLogRecord(
        {"name": "proxy", "levelname": "INFO", "msg": "%s", "args": (text,), "lines": [(1.5, fields)]}
    )
    redaction = Redaction(["nabcd"])
    line = JsonLines(redaction).format(record)
    assert "\n" not in line
    read = json.loads(line)
    assert read["ms"] == 3.5
    assert read["level"] == "info"
    assert told not in json.dumps(read, ensure_ascii=False)
    assert told not in Columns(redaction).format(record)
