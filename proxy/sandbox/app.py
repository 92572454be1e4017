"""Puts the stand-in together."""

from flask import Flask
from werkzeug.exceptions import HTTPException

from proxy.sandbox.answers import refusal
from proxy.sandbox.control import control_plane
from proxy.sandbox.endpoints import documented_calls
from proxy.sandbox.stand_in import StandIn


def create_sandbox() -> Flask:
    """Return the stand-in as a WSGI application, to be served by :func:`proxy.sandbox.serving.serve`.

    Its documented calls need the connection that server puts into the WSGI environment; the control plane does not.
    """
    app = Flask("proxy.sandbox")
    # A SKU may hold slashes, also two in a row.
    app.url_map.merge_slashes = False
    state = StandIn()
    app.register_blueprint(documented_calls(state))
    app.register_blueprint(control_plane(state))
    app.register_error_handler(HTTPException, refusal)
    return app
