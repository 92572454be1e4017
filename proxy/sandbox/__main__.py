"""``python -m proxy.sandbox``."""

from proxy.sandbox.command import sandbox

sandbox()
