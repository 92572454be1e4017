"""Pages for people: how they are answered, and the first of them, ``/``."""

from __future__ import annotations

import secrets
from importlib.metadata import version
from typing import Any

from flask import Blueprint, Response, abort, current_app, render_template, request

from proxy.settings import Settings

_REVIEWS_OF_ITS_OWN = Settings.api_url


def wants_page() -> bool:
    """Tell whether the caller is a browser: it would rather have HTML than JSON."""
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def rendered(template: str, **values: Any) -> Response:
    """Return a page whose own scripts and styles run, and nothing else."""
    nonce = secrets.token_urlsafe(16)
    values |= {"version": version("connected-content-proxy"), "has_preview": "preview" in current_app.blueprints}
    page = render_template(template, nonce=nonce, **values)
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' https: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Vary"] = "Accept"
    return response


def home_page(settings: Settings) -> Blueprint:
    """Return ``/``: what this is, with a live answer and links. Who is no browser gets the 404 of any other path."""
    endpoints = Blueprint("home", __name__, template_folder="templates")
    # Asking costs Trustpilot's plan a call, so nothing is asked by itself but of a stand-in.
    sample = "" if settings.api_url == _REVIEWS_OF_ITS_OWN else "TRUCK-01"

    @endpoints.get("/")
    def home() -> Response:
        if not wants_page():
            abort(404)
        return rendered("home.html", sample=sample)

    return endpoints
