"""What gunicorn and flask load: ``gunicorn wsgi:app``."""

import os
import sys

import click
from flask.cli import NoAppException

from proxy import create_app
from proxy.server.configuration import current_settings
from proxy.settings import SettingsError

try:
    app = create_app(current_settings(os.environ))
except SettingsError as error:
    if click.get_current_context(silent=True):
        # flask's command line: it says so, and still lists the commands that need no settings.
        raise NoAppException(str(error)) from error
    sys.exit(str(error))
