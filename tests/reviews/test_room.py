import subprocess
import sys

import pytest


@pytest.mark.parametrize("room", ["proxy.reviews", "proxy.cache", "proxy.invitations"])
def test_the_heart_needs_neither_flask_nor_requests(room: str) -> None:
    program = f"import sys, {room}; print(sorted({{'flask', 'requests', 'urllib3', 'gevent'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
