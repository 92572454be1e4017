"""The floor: a WSGI function that does nothing but hand out bytes. Run by the same gunicorn as the proxy."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.api.responses import PrebuiltResponse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_BODY = Path(os.environ["BENCH_BODY"]).read_bytes()
_LENGTH = (("Content-Length", str(len(_BODY))),)
_COMMON = b"Content-Type: application/json\r\n"
_HEADERS = (("Content-Type", "application/json"), ("Content-Length", str(len(_BODY))))


def whole(_environ: WSGIEnvironment, _start_response: StartResponse) -> PrebuiltResponse:
    """The same by the way that a hit takes onto the connection. Only for a server that takes it."""
    return PrebuiltResponse("200 OK", _COMMON, _LENGTH, _BODY)


def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", list(_HEADERS))
    return (_BODY,)
