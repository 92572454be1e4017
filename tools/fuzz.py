"""All properties in rounds of new examples until the minutes are over: ``make fuzz MINUTES=10``."""

from __future__ import annotations

import os
import subprocess
import sys
import time

EXAMPLES = 500
"""For each property in a round."""


def main(minutes: float) -> int:
    """Return the exit status of the first round that found something, 0 when none did."""
    until = time.monotonic() + minutes * 60
    rounds = 0
    command = [sys.executable, "-m", "pytest", "-n", "2", "--tb=short", "--no-header", "tests/fuzz"]
    while time.monotonic() < until:
        done = subprocess.run(command, env={**os.environ, "FUZZ_EXAMPLES": str(EXAMPLES)}, check=False)
        rounds += 1
        if done.returncode:
            print(f"round {rounds} found something: fix it, and keep it as an @example")
            return done.returncode
    print(f"{rounds} rounds of {EXAMPLES} examples for each property: nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
