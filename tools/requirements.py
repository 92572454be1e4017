"""What ``setup.cfg`` asks for at run time, and its lowest versions as constraints for pip. Needs Python alone."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

SETUP = Path(__file__).parents[1] / "setup.cfg"
EXTRAS = ("redis", "preview")
_LOWER_BOUND = re.compile(r"([A-Za-z0-9_.-]+)>=([0-9][0-9.]*)")


def runtime(*extras: str) -> dict[str, str]:
    """Return each package by name, with its lower bound. Raises ``ValueError`` for a requirement without one."""
    setup = configparser.ConfigParser()
    setup.read_string(SETUP.read_text())
    listed = [setup["options"]["install_requires"], *(setup["options.extras_require"][extra] for extra in extras)]
    lines = [line.strip() for text in listed for line in text.splitlines()]
    bounds = {}
    for line in lines:
        if not line or line.startswith("#"):
            continue
        found = _LOWER_BOUND.fullmatch(line)
        if found is None:
            raise ValueError(f"{line}: takes a name and a lower bound, such as Flask>=3.0.3")
        bounds[found[1]] = found[2]
    return bounds


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}" for name, version in runtime(*EXTRAS).items()))
