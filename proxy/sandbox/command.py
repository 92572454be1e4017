"""``flask --app wsgi sandbox``: needs no configuration and loads no app."""

from __future__ import annotations

import click

from proxy.sandbox.server import serve


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8001, show_default=True, help="0 takes a free one")
def sandbox(host: str, port: int) -> None:
    """Run a local stand-in for Trustpilot."""
    serve(host, port)
