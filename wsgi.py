"""What gunicorn and flask load: ``gunicorn wsgi:app``."""

import os
import sys

from proxy import create_app
from proxy.server.configuration import current_settings
from proxy.settings import SettingsError

try:
    app = create_app(current_settings(os.environ))
except SettingsError as error:
    sys.exit(str(error))
