"""What gunicorn and flask load: ``gunicorn wsgi:app``."""

import os
import sys

from proxy import create_app
from proxy.settings import Settings, SettingsError

try:
    app = create_app(Settings.from_environment(os.environ))
except SettingsError as error:
    sys.exit(str(error))
