"""What ``pip install .`` put into a bare environment starts and answers: ``python -m tools.installed``.

Run from a folder that holds ``wsgi.py`` and ``gunicorn.conf.py`` and nothing else, so that the installed package is
what runs, with the files that come with it. Without an extra, what needs it is refused in words.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.running import ProxyFromScratch, RunningSandbox

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Check what is installed; an ``AssertionError`` says what is not right."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("wsgi.py", "gunicorn.conf.py"):
            shutil.copy(ROOT / name, folder)
        os.chdir(folder)
        where = subprocess.run(
            [sys.executable, "-c", "import proxy; print(proxy.__file__)"], capture_output=True, text=True, check=True
        ).stdout
        assert "site-packages" in where, f"not the installed package: {where}"
        assert find_spec("pytest") is None, "this environment has the test tools too"
        with RunningSandbox() as sandbox:
            with ProxyFromScratch(sandbox) as proxy:
                answer = proxy.get("/v1/reviews", sku="TRUCK-01")
                assert answer.json()["found"] is True, answer.text
                assert proxy.get("/metrics").status_code == 200
            _check_extra(sandbox, "redis", "redis", CACHE_URL="redis://127.0.0.1:1/0")
            _check_extra(sandbox, "liquid", "preview", PREVIEW="true")
    print("it starts and answers")


def _check_extra(sandbox: RunningSandbox, module: str, extra: str, **settings: Any) -> None:
    if find_spec(module) is None:
        assert f"pip install '.[{extra}]'" in _refusal(sandbox, **settings)
        return
    with ProxyFromScratch(sandbox, **settings) as proxy:
        assert proxy.get("/v1/reviews", sku="TRUCK-01").json()["found"] is True
        if extra == "preview":
            assert "<script" in proxy.get("/preview").text
            assert proxy.get("/preview/static/preview.js").status_code == 200
            assert len(proxy.get("/preview/ready").json()["templates"]) >= 4


def _refusal(sandbox: RunningSandbox, **settings: Any) -> str:
    try:
        ProxyFromScratch(sandbox, **settings).end()
    except AssertionError as refused:
        return str(refused)
    return "it started"


if __name__ == "__main__":
    main()
