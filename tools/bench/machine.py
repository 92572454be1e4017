"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path


def machine() -> str:
    """Return cores, processor and versions, in one line."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    parts = [
        f"{os.cpu_count()} cores",
        " ".join(model[1].split()) if model else platform.machine(),
        f"Linux {platform.release().split('-')[0]}",
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in ("gunicorn", "gunicorn_h1c", "gevent")),
        _told(["nginx", "-v"], r"nginx/\S+"),
        _told(["wrk", "--version"], r"wrk \S+"),
    ]
    return ", ".join(parts)


def _told(command: list[str], pattern: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[0] if found else command[0]
