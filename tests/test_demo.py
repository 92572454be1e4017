"""``make run``'s command: from nothing to a review, and a clean stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import requests


def test_the_demo_prints_a_curl_line_that_works_and_stops_cleanly_on_ctrl_c() -> None:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "demo", "--port", "0"]
    demo = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        assert demo.stdout is not None
        printed = ""
        for line in demo.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        found = re.search(r"curl -u (\w+):(\S+) '(\S+)'", printed)
        assert found, printed
        answer = requests.get(found[3], auth=(found[1], found[2]), timeout=5)
        assert answer.json()["reviews"][0]["content"] == "Such a great toy truck, my kids really enjoy it!"
        os.killpg(demo.pid, signal.SIGINT)
        rest = demo.stdout.read()
        assert demo.wait(30) == 0, rest
        assert "Traceback" not in rest
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
            demo.wait()
