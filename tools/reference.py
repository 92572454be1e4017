"""Writes the table of settings into docs/reference.md, and .env.example: ``python -m tools.reference``."""

from __future__ import annotations

import re
from pathlib import Path

from proxy.settings import documented

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs/reference.md"
EXAMPLE = ROOT / ".env.example"
_BEGIN, _END = "<!-- settings begin -->\n", "<!-- settings end -->"
_FILLED_IN = {"TRUSTPILOT_API_KEY", "TRUSTPILOT_BUSINESS_UNIT_ID", "PROXY_CREDENTIALS"}
_EXAMPLE_HEAD = """\
# Settings of the proxy; docs/reference.md says more. Lines that begin with # are defaults.
# Single quotes keep odd characters as they are, for docker compose too: PROXY_CREDENTIALS='braze:Pa$$ &#word'
"""


def settings_table() -> str:
    """Return the settings as a table in Markdown."""
    rows = [
        f"| `{name}` | {f'`{default}`' if default else '–'} | {meaning} |" for name, default, meaning in documented()
    ]
    return "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *rows, ""])


def reference(page: str) -> str:
    """Return ``page`` with the table as it has to be."""
    before, _, rest = page.partition(_BEGIN)
    return before + _BEGIN + settings_table() + _END + rest.partition(_END)[2]


def example() -> str:
    """Return ``.env.example``."""
    lines = [_EXAMPLE_HEAD]
    for name, default, meaning in documented():
        if name != "PROXY_ENV_FILE":
            lines.append(f"# {re.sub('`', '', meaning)}")
            lines.append(f"{'' if name in _FILLED_IN else '#'}{name}={default}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    REFERENCE.write_text(reference(REFERENCE.read_text("utf-8")), "utf-8")
    EXAMPLE.write_text(example(), "utf-8")
