"""What gunicorn and flask load: ``gunicorn wsgi:app``."""

import os
import sys
from typing import IO, Any

import click
from flask.cli import NoAppException

from proxy import create_app
from proxy.server import current_settings
from proxy.settings import SettingsError


class SettingsWrong(NoAppException):
    """Has flask's command line say what is wrong and still list its commands."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the mistakes alone."""
        click.ClickException.show(self, file)


try:
    app = create_app(current_settings(os.environ))
except SettingsError as error:
    if click.get_current_context(silent=True):
        raise SettingsWrong(str(error)) from error
    sys.exit(str(error))
