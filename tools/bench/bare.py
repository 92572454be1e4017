"""The floor: a WSGI function that does nothing but hand out bytes. Run by the same gunicorn as the proxy.

:func:`app` under :class:`ByGunicorn`: all that a request takes is gunicorn's. :func:`whole` takes the way of the
proxy's own answers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.workers.ggevent import GeventWorker

from proxy.api import PrebuiltResponse
from proxy.server.worker import Worker

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_BODY = Path(os.environ["BENCH_BODY"]).read_bytes()
_LENGTH = [("Content-Length", str(len(_BODY)))]
_COMMON = b"Content-Type: application/json\r\n"
_HEADERS = (("Content-Type", "application/json"), ("Content-Length", str(len(_BODY))))


class ByGunicorn(Worker):
    """The proxy's worker, which here leaves plain GETs to gunicorn too."""

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        GeventWorker.handle(self, listener, client, addr)


def whole(_environ: WSGIEnvironment, _start_response: StartResponse) -> PrebuiltResponse:
    """The same by the way that a hit takes onto the connection. Only for a server that takes it."""
    return PrebuiltResponse("200 OK", _COMMON, _LENGTH, _BODY)


def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", list(_HEADERS))
    return (_BODY,)
