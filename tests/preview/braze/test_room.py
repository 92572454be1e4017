"""The room keeps to itself."""

import subprocess
import sys


def test_the_room_needs_neither_flask_nor_requests() -> None:
    """It is read, tested and used in a terminal alone; HTTP is passed in."""
    program = (
        "import sys, proxy.preview.braze; "
        "print(sorted({'flask', 'requests', 'urllib3', 'gevent'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
