"""``python -m proxy.sandbox``."""

from proxy.sandbox.server import sandbox

sandbox()
