"""``flask --app wsgi sandbox``: needs no configuration and loads no app."""

import click


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8001, show_default=True, help="0 takes a free one")
def sandbox(host: str, port: int) -> None:
    """Run a local stand-in for Trustpilot."""
    # Only here, so that the proxy, which offers this command, loads nothing of the sandbox.
    from proxy.sandbox.app import create_sandbox
    from proxy.sandbox.serving import serve

    serve(create_sandbox(), host, port)
