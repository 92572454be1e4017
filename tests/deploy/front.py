"""Caddy with the shipped Caddyfile, on loopback and with a certificate of its own making."""

from __future__ import annotations

import http.client
import os
import ssl
import time
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from tests.deploy.shipped import DEPLOY
from tests.running import Process, free_port


class RunningFront(Process):
    """Caddy in front of ``upstreams`` (``host:port`` each). ``authority`` is the file with its certificate."""

    def __init__(self, directory: Path, upstreams: Sequence[str]) -> None:
        self.http_port, https_port = free_port(), free_port()
        # What a test must have otherwise: no port of the machine's, and no certificate put into its trust store. And
        # all that Caddy could ever log: which lines come at which level differs between its versions.
        ours = f"\tdebug\n\tadmin off\n\tdefault_bind 127.0.0.1\n\thttp_port {self.http_port}\n\tskip_install_trust\n"
        shipped = (DEPLOY / "Caddyfile").read_text()
        assert shipped.count("\n{\n") == 1
        caddyfile = directory / "Caddyfile"
        caddyfile.write_text(shipped.replace("\n{\n", f"\n{{\n{ours}"))
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "XDG_DATA_HOME": str(directory),
            "XDG_CONFIG_HOME": str(directory),
            # Caddy makes the certificate for this name itself, and asks nobody.
            "SITE_ADDRESS": f"localhost:{https_port}",
            "UPSTREAMS": " ".join(upstreams),
        }
        command = ["caddy", "run", "--config", str(caddyfile), "--adapter", "caddyfile"]
        super().__init__(command, environment, r"(serving initial configuration)")
        self.url = f"https://localhost:{https_port}"
        self.authority = directory / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        self._await_certificate()

    def _await_certificate(self) -> None:
        """Wait until a caller is shown one: Caddy makes it once it listens."""
        until = time.monotonic() + 20
        while True:
            try:
                self.get_as_written("/metrics", {})
            except OSError:
                if time.monotonic() > until:
                    self.end()
                    raise
                time.sleep(0.05)
            else:
                return

    def get_as_written(self, target: str, headers: dict[str, str]) -> tuple[int, bytes]:
        """Ask for a target exactly as it is written; return the status and the body."""
        host = urllib.parse.urlsplit(self.url)
        context = ssl.create_default_context(cafile=str(self.authority))
        connection = http.client.HTTPSConnection(host.hostname or "", host.port, context=context, timeout=20)
        try:
            connection.putrequest("GET", target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
