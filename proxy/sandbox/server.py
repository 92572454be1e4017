"""Puts the sandbox together and serves it: ``flask --app wsgi sandbox`` or ``python -m proxy.sandbox``."""

import resource
import signal
import socket

import click
import gevent
from flask import Flask
from gevent.pywsgi import WSGIHandler, WSGIServer
from werkzeug.exceptions import HTTPException

from proxy.sandbox.control import control_plane
from proxy.sandbox.endpoints import documented_calls
from proxy.sandbox.faults import ConnectionOverError, refusal
from proxy.sandbox.state import State


def create_sandbox() -> Flask:
    """Return the stand-in as a WSGI application, to be served by :func:`proxy.sandbox.server.serve`.

    Its documented calls need the connection that server puts into the WSGI environment; the control plane does not.
    """
    app = Flask("proxy.sandbox")
    # A SKU may hold slashes, also two in a row.
    app.url_map.merge_slashes = False
    state = State()
    app.register_blueprint(documented_calls(state))
    app.register_blueprint(control_plane(state))
    app.register_error_handler(HTTPException, refusal)
    return app


_BACKLOG = 4096


class _Handler(WSGIHandler):  # type: ignore[misc]  # gevent has no types
    """gevent's handler, with the connection in the WSGI environment and a way to end it without an answer."""

    def handle(self) -> None:
        # Head and body leave in two writes; without this the second waits for the first's delayed acknowledgement.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().handle()

    def get_environ(self) -> dict[str, object]:
        environ: dict[str, object] = super().get_environ()
        environ["sandbox.connection"] = self.socket
        return environ

    def run_application(self) -> None:
        try:
            super().run_application()
        except ConnectionOverError:
            self.close_connection = True


def serve(app: Flask, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM, which also end what is under way; port 0 takes a free one.

    Prints ``Sandbox listening on http://127.0.0.1:PORT/v1`` once callers can connect. Nothing is monkey-patched:
    the stand-in only ever waits through gevent itself.
    """
    _allow_many_connections()
    server = WSGIServer((host, port), app, handler_class=_Handler, backlog=_BACKLOG, log=None)
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, server.stop)
    server.start()
    print(f"Sandbox listening on http://{host}:{server.server_port}/v1", flush=True)
    server.serve_forever()


def _allow_many_connections() -> None:
    """Raise the limit of open files as far as the system lets us: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8001, show_default=True, help="0 takes a free one")
def sandbox(host: str, port: int) -> None:
    """Run a local stand-in for Trustpilot."""
    serve(create_sandbox(), host, port)
