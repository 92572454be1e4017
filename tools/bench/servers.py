"""The servers that are measured beside each other."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.running import SECRET, Process, RunningSandbox, free_port, proxy_environment

HEADERS = {"X-Api-Key": SECRET, "Accept-Encoding": "gzip"}
"""What Braze sends of what matters: a credential, and that it takes gzip."""


class Gunicorn(Process):
    """gunicorn with one worker under the proxy's ``gunicorn.conf.py``, for any WSGI application."""

    def __init__(
        self,
        app: str,
        environment: dict[str, str],
        *options: str,
        under: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        started = time.monotonic()
        command = [*under, sys.executable, "-m", "gunicorn", app, "--bind", "127.0.0.1:0", "--no-control-socket"]
        command += ["--keep-alive", "75", *options]
        settings = {**environment, "WEB_CONCURRENCY": "1", "LOG_LEVEL": "info"}
        super().__init__(command, settings, r"Listening at: (http://\S+)", folder=folder)
        self.worker = self._await_worker()
        self.start_seconds = time.monotonic() - started

    def _await_worker(self) -> int:
        """Return the worker's process id once it answers."""
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=120) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: proxy\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200", "".join(self.log)
        while not self.workers():
            time.sleep(0.01)
        return self.workers()[0]

    def settle(self, workers: int) -> None:
        """Wait until so many workers have loaded and have nothing to do."""
        used = -1.0
        while len(self.workers()) < workers or self.cpu_seconds() > used + 0.02:
            used = self.cpu_seconds()
            time.sleep(0.4)

    def resident_bytes(self) -> int:
        """Return the worker's resident size."""
        pages = int(Path(f"/proc/{self.worker}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")

    def cpu_seconds(self) -> float:
        """Return the processor time that the workers have used."""
        return sum(self.cpu_by_worker())

    def cpu_by_worker(self) -> list[float]:
        """Return the processor time that each worker has used."""
        return [sum(map(_on_processor, Path(f"/proc/{worker}/task").iterdir())) for worker in self.workers()]


def _on_processor(thread: Path) -> float:
    # In nanoseconds; what /proc tells elsewhere is counted in hundredths of a second.
    return int((thread / "schedstat").read_text().split()[0]) / 1e9


def proxy(sandbox: RunningSandbox, *options: str, under: Sequence[str] = (), **settings: str) -> Gunicorn:
    """Start the proxy in front of the sandbox; extra settings are the contract's variables."""
    return Gunicorn("wsgi:app", proxy_environment(sandbox, **settings), *options, under=under)


def bare(
    sandbox: RunningSandbox,
    body: bytes,
    folder: Path,
    *options: str,
    under: Sequence[str] = (),
    function: str = "app",
    **settings: str,
) -> Gunicorn:
    """Start the bare function with ``body``; ``folder`` is a place for it."""
    kept = folder / "body"
    kept.write_bytes(body)
    environment = proxy_environment(sandbox, BENCH_BODY=str(kept), **settings)
    if function == "app":
        options = ("--worker-class", "tools.bench.bare.ByGunicorn", *options)
    return Gunicorn(f"tools.bench.bare:{function}", environment, *options, under=under)


_NGINX = """
daemon off;
user {user};
pid {folder}/nginx.pid;
error_log stderr notice;
worker_processes 1;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body_temp;
  proxy_temp_path {folder}/proxy_temp;
  fastcgi_temp_path {folder}/fastcgi_temp;
  uwsgi_temp_path {folder}/uwsgi_temp;
  scgi_temp_path {folder}/scgi_temp;
  proxy_cache_path {folder}/cache keys_zone=reviews:16m inactive=1d;
  keepalive_requests 1000000;
  upstream trustpilot {{ server {upstream}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://trustpilot;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache reviews;
      proxy_cache_valid 200 15m;
      proxy_cache_lock on;
      proxy_cache_use_stale error timeout updating http_429 http_500 http_502 http_503 http_504;
      proxy_cache_background_update on;
    }}
  }}
}}
"""


class Nginx(Process):
    """nginx as a caching reverse proxy in front of the sandbox: fresh as long as the proxy, one fetch per URL."""

    def __init__(self, sandbox: RunningSandbox, folder: Path) -> None:
        port = free_port()
        settings = folder / "nginx.conf"
        upstream = sandbox.url.removeprefix("http://")
        # As root its worker would become somebody else, who may not write into the folder.
        user = getpass.getuser()
        settings.write_text(_NGINX.format(folder=folder, upstream=upstream, port=port, user=user))
        super().__init__(["nginx", "-p", str(folder), "-c", str(settings)], os.environ, r"(start worker process) ")
        self.url = f"http://127.0.0.1:{port}"
