"""The preview's Liquid against Ruby's, which Braze runs: the same templates put to both."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.preview.braze import Profile, TemplateError

from .memory import World
from .probes import DATA, probes

REASONS = {
    "{{ 'a' | unknown }}": "Ruby lets an unknown filter pass; here it is told, as Braze documents which it has",
    "[{{ 12345678901234567890 | date: '%Y-%m-%d' }}]": "Python's years end at 9999",
    "{{ '2025-08-05T08:15:30:250-0800' | date: '%Y-%m-%d %H:%M:%S %z' }}": (
        "Braze: Context, 'Time zone consistency': Braze reads this zone; plain Ruby overlooks it"
    ),
}


def by_ruby(templates: list[str]) -> list[tuple[str, str]]:
    """Return ``("output", text)`` or ``("error", message)`` for each template, from one Ruby process."""
    program = Path(__file__).with_name("probe.rb")
    done = subprocess.run(
        ["ruby", "-Ku", str(program)],
        input=json.dumps([templates, DATA]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [next(iter(result.items())) for result in json.loads(done.stdout)]


def by_preview(template: str) -> tuple[str, str]:
    try:
        return "output", World().render(template, Profile(namespaces=DATA)).output
    except TemplateError as error:
        return "error", error.message


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """Put this machine's clock into another zone: dates are in UTC all the same."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Kathmandu"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("elsewhere")
def test_the_same_templates_render_as_in_ruby() -> None:
    """Braze: Use Liquid: "an open-source template language developed by Shopify and written in Ruby"."""
    templates = probes()
    different = {}
    for template, (kind, expected) in zip(templates, by_ruby(templates), strict=True):
        result = by_preview(template)
        # The words of an error are the preview's own; that there is one is Ruby's.
        if result[0] != kind or (kind == "output" and result[1] != expected):
            different[template] = (expected, result[1])
    unexpected = {template: both for template, both in different.items() if template not in REASONS}
    assert unexpected == {}
    assert different.keys() == REASONS.keys()
    assert len(templates) > 2_000
