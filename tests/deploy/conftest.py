from __future__ import annotations

from pathlib import Path

import pytest

from tests.running import RunningSandbox, proxy_environment


@pytest.fixture
def configuration(sandbox: RunningSandbox, tmp_path: Path) -> Path:
    """The file that PROXY_ENV_FILE names, with all that the proxy needs."""
    file = tmp_path / "proxy.env"
    wanted = proxy_environment(sandbox)
    names = [name for name in wanted if name.startswith(("TRUSTPILOT_", "PROXY_CREDENTIALS"))]
    # In memory: a file would be shared with every other test that begins in this folder.
    file.write_text("CACHE_URL=memory://\n" + "".join(f"{name}={wanted[name]}\n" for name in names))
    return file
