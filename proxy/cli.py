"""flask's commands."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

import click

from proxy.checking import check
from proxy.sandbox import API_KEY, API_SECRET, BUSINESS_UNIT
from proxy.sandbox.server import sandbox
from proxy.warming.command import warm

__all__ = ["check", "demo", "sandbox", "warm"]

_SECRET = "demo-secret"  # noqa: S105  # guards sample data on loopback


@click.command("demo")
@click.option("--port", default=8000, show_default=True, envvar="PORT", help="a free one is taken if this is not")
def demo(port: int) -> None:
    """Run the sandbox and a proxy in front of it until Ctrl-C, and print what to try."""
    port = _free_port(port)
    # Whatever stops the demo stops both servers: they run in sessions of their own and get one SIGTERM each, not the
    # terminal's Ctrl-C as well, which gunicorn's workers take in the middle of their shutdown with a traceback.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stand_in = subprocess.Popen(
        [sys.executable, "-m", "proxy.sandbox", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _run_proxy(port, _address(stand_in))
    except KeyboardInterrupt:
        click.echo("\nStopped.")
    finally:
        stand_in.terminate()
        stand_in.wait(10)


def _run_proxy(port: int, api_url: str) -> None:
    environment = {
        **os.environ,
        "TRUSTPILOT_API_URL": api_url,
        "TRUSTPILOT_INVITATIONS_URL": api_url,
        "TRUSTPILOT_API_KEY": API_KEY,
        "TRUSTPILOT_API_SECRET": API_SECRET,
        "TRUSTPILOT_BUSINESS_UNIT_ID": BUSINESS_UNIT,
        "TRUSTPILOT_BUSINESS_USER_ID": "demo-user",
        "PROXY_CREDENTIALS": f"demo:{_SECRET}",
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "warning"),
    }
    options = ["--bind", f"127.0.0.1:{port}"]
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "wsgi:app", *options], env=environment, start_new_session=True
    )
    try:
        _await(port, server)
        click.echo(_greeting(f"http://127.0.0.1:{port}"))
        status = server.wait()
        if status:
            raise click.ClickException(f"the proxy stopped with status {status}")
    finally:
        if server.poll() is None:
            server.terminate()
            server.wait(20)


def _address(stand_in: subprocess.Popen[str]) -> str:
    line = stand_in.stdout.readline() if stand_in.stdout else ""
    found = re.search(r"http://\S+", line)
    if not found:
        raise click.ClickException("the sandbox did not start")
    return found[0]


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                click.echo(f"Port {wanted} is taken; using a free one.")
                continue
            return int(probe.getsockname()[1])
    raise click.ClickException("no port is free")


def _await(port: int, server: subprocess.Popen[bytes]) -> None:
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
The proxy answers at {url}, in front of a sandbox with sample reviews. Try:

  curl -u demo:{_SECRET} '{url}/v1/reviews?sku=TRUCK-01'

In a Braze message:

  {{% connected_content {url}/v1/reviews?sku={{{{event_properties.${{item_sku}} | url_param_escape}}}}
     :headers {{"X-Api-Key": "{_SECRET}"}} :save product %}}
  {{% if product.found %}}{{{{ product.reviews[0].content }}}} – {{{{ product.reviews[0].author }}}}{{% endif %}}

Ctrl-C stops both.
"""
