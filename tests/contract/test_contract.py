"""schemathesis against a running proxy, every check on: a few cases here, thousands with ``make contract``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import SECRET, RunningProxy, RunningSandbox
from tools.leaks import WATCH

SECONDS_EACH = 15

EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "0"))
"""Cases for each operation, set by ``make contract``; 0 is ``make test``."""
CONFIG = Path(__file__).with_name("schemathesis.toml")


# What is answered without a credential, address by address: tests/middleware/test_rights.py.
@pytest.mark.parametrize("credentials", [True, False] if EXAMPLES else [True])
def test_answers_are_as_openapi_says(sandbox: RunningSandbox, tmp_path: Path, *, credentials: bool) -> None:
    plenty = {"TRUSTPILOT_CALLS_PER_5_MINUTES": "1000000", "TRUSTPILOT_CALLS_PER_HOUR": "1000000"}
    with RunningProxy(sandbox, keep_alive=5, TOKEN_ENDPOINT="true", PREVIEW="true", **plenty) as proxy:
        document = tmp_path / "openapi.json"
        document.write_text(proxy.get("/openapi.json").text)
        command = [str(Path(sys.executable).with_name("st"))]
        command += ["--config-file", str(CONFIG)] if credentials else []
        command += [
            "run",
            str(document),
            "--url",
            proxy.url,
            "--max-examples",
            str(EXAMPLES or 2),
        ]
        report = tmp_path / "report.har"
        # Unsanitized: what is looked for in it must not be taken out before.
        command += ["--report-har-path", str(report), "--output-sanitize", "false"]
        # The same few cases each time, so that a change of ours is what a red run is about.
        command += ["--continue-on-failure"] if EXAMPLES else ["--phases", "examples,fuzzing", "--seed", "20"]
        environment = {**os.environ, "CONTRACT_SECRET": SECRET, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200, check=False
        )
    WATCH.har(report, proxy.url)
    assert done.returncode == 0, done.stdout[-8000:]
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated, done.stdout
    print(f"{generated[1]} cases {'with' if credentials else 'without'} credentials")
    assert int(generated[1]) >= (2000 if EXAMPLES else 20)
