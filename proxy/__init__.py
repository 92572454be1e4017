"""A Connected Content proxy between Braze and Trustpilot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from proxy.settings import Settings


def create_app(settings: Settings) -> Flask:
    """Return the proxy as a WSGI application."""
    # Here and not above: the rooms that need neither Flask nor requests can be used without either.
    from proxy.app import wire

    return wire(settings)
