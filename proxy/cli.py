"""flask's commands."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from proxy.api.openapi import print_collection as collection
from proxy.cache_command import cache
from proxy.checking import check
from proxy.export import export
from proxy.preview.command import preview
from proxy.sandbox import API_KEY, API_SECRET, BUSINESS_UNIT
from proxy.sandbox.server import sandbox
from proxy.settings import documented
from proxy.sync.command import sync
from proxy.warming import warm

__all__ = ["cache", "check", "collection", "demo", "export", "preview", "sandbox", "sync", "warm"]

_NAME, _SECRET = "demo", "demo-secret"  # guards sample data
_GUNICORN_CONFIG = "gunicorn.conf.py"


@click.command("demo")
@click.option("--host", default="127.0.0.1", show_default=True, help="where to listen; 0.0.0.0 in a container")
@click.option("--port", default=8000, show_default=True, envvar="PORT", help="a free one is taken if this is not")
def demo(host: str, port: int) -> None:
    """Run the sandbox and a proxy in front of it until Ctrl-C, and print what to try.

    Whatever the environment and .env say: nothing is asked of Trustpilot, and no store of yours is touched.
    """
    root = Path.cwd()
    if not (root / _GUNICORN_CONFIG).is_file():
        raise click.ClickException(f"takes the folder that holds wsgi.py and {_GUNICORN_CONFIG}")
    # Also where a shell started this in the background, with the signal ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with TemporaryDirectory(prefix="connected-content-proxy-") as folder, contextlib.ExitStack() as running:
            _run(host, _free_port(host, port), root, Path(folder), running)
    except KeyboardInterrupt:
        click.echo("\nStopped.")


def _run(host: str, port: int, root: Path, folder: Path, running: contextlib.ExitStack) -> None:
    click.echo("Starting a stand-in for Trustpilot with sample reviews, and the proxy in front of it: a few seconds.")
    settings = {name for name, _, _ in documented()}
    environment = {name: value for name, value in os.environ.items() if name not in settings}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), environment.get("PYTHONPATH"))))
    sandbox = _start(["proxy.sandbox", "--port", "0"], environment, folder, running)
    api_url = _address(sandbox)
    environment |= {
        # Not a .env that happens to be above the folder.
        "PROXY_ENV_FILE": os.devnull,
        "TRUSTPILOT_API_URL": api_url,
        "TRUSTPILOT_INVITATIONS_URL": api_url,
        "TRUSTPILOT_API_KEY": API_KEY,
        "TRUSTPILOT_API_SECRET": API_SECRET,
        "TRUSTPILOT_BUSINESS_UNIT_ID": BUSINESS_UNIT,
        "TRUSTPILOT_BUSINESS_USER_ID": "demo-user",
        "PROXY_CREDENTIALS": f"{_NAME}:{_SECRET}",
        "PREVIEW": "false" if find_spec("liquid") is None else "true",
        "LOG_LEVEL": "warning",
    }
    options = ["--config", str(root / _GUNICORN_CONFIG), "--bind", f"{host}:{port}"]
    server = _start(["gunicorn", "wsgi:app", *options], environment, folder, running)
    _await(port, server)
    click.echo(_greeting(f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"))  # noqa: S104  # compared
    if status := server.wait():
        raise click.ClickException(f"the proxy stopped with status {status}")


def _start(
    module: list[str], environment: dict[str, str], folder: Path, running: contextlib.ExitStack
) -> subprocess.Popen[str]:
    """Start a module of Python's, which is stopped with ``running``.

    In a session of its own: it gets one SIGTERM, and not the terminal's Ctrl-C as well, which gunicorn's workers take
    in the middle of their shutdown with a traceback.
    """
    is_stand_in = module[0] == "proxy.sandbox"
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE if is_stand_in else None,
        text=True,
        start_new_session=True,
    )

    def stop() -> None:
        if process.poll() is None:
            process.terminate()
            process.wait(20)

    running.callback(stop)
    return process


def _address(sandbox: subprocess.Popen[str]) -> str:
    line = sandbox.stdout.readline() if sandbox.stdout else ""
    found = re.search(r"http://\S+", line)
    if not found:
        raise click.ClickException("the sandbox did not start")
    return found[0]


def _free_port(host: str, wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                click.echo(f"Port {wanted} is taken; using a free one.")
                continue
            return int(probe.getsockname()[1])
    raise click.ClickException(f"no port is free at {host}")


def _await(port: int, server: subprocess.Popen[str]) -> None:
    """Wait until the proxy accepts connections."""
    while server.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    raise click.ClickException("the proxy did not start; its message is above")


def _greeting(url: str) -> str:
    return f"""
  {url.replace("//", f"//{_NAME}:{_SECRET}@")}/

is the page to begin with: name {_NAME}, secret {_SECRET}. In a terminal:

  curl -u {_NAME}:{_SECRET} '{url}/v1/reviews?sku=TRUCK-01'

In a Braze message:

  {{% connected_content {url}/v1/reviews?sku={{{{event_properties.${{item_sku}} | url_param_escape}}}}
     :headers {{"X-Api-Key": "{_SECRET}"}} :save product %}}
  {{% if product.found %}}{{{{ product.reviews[0].content }}}} – {{{{ product.reviews[0].author }}}}{{% endif %}}

The reviews are samples: nothing is asked of Trustpilot. Ctrl-C stops everything.
"""
