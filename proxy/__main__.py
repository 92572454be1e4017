"""``python -m proxy``: reads the settings, then becomes gunicorn. ``--version`` says which version this is.

gunicorn reads ``WEB_CONCURRENCY`` from the environment before anything of the proxy's, and ends with a traceback when
it is no number. Here it is a line like every other mistake, and an empty one is as good as none.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

from proxy.server import reload_settings
from proxy.settings import SettingsError


def main(arguments: list[str]) -> None:
    """Start gunicorn with ``arguments``, in the place of this process."""
    if arguments == ["--version"]:
        print(version("connected-content-proxy"))
        return
    try:
        reload_settings(dict(os.environ))
    except SettingsError as error:
        sys.exit(str(error))
    if not os.environ.get("WEB_CONCURRENCY", "1").strip():
        del os.environ["WEB_CONCURRENCY"]
    # The script and not the module: started that way, gunicorn can't start itself again on USR2.
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    os.execv(gunicorn, [gunicorn, "wsgi:app", *arguments])  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
