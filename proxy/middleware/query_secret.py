"""A caller's secret in the query, on the drop-in URLs that read and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from proxy.api.responses import Application, PrebuiltResponse
from proxy.api.routes import DROP_IN_READS, route_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class SecretFromQuery:
    """Takes the secret that the drop-in URLs may carry as ``apikey=`` out of the query, into the header ``apikey``.

    It sits in front of all that reads, keeps, repeats or tells the query, so none of it ever sees the secret, and an
    answer is shared with those who send the header. A header that is there already counts, and not the query.
    """

    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes] | PrebuiltResponse:
        """Answer one request."""
        query = environ.get("QUERY_STRING", "")
        if query and route_of(environ.get("PATH_INFO", "")) in DROP_IN_READS:
            self._move(query, environ)
        return self._app(environ, start_response)

    def _move(self, query: str, environ: WSGIEnvironment) -> None:
        kept, secrets = [], []
        for pair in query.split("&"):
            name, _, value = pair.partition("=")
            if unquote_plus(name) == "apikey":
                secrets.append(unquote_plus(value))
            else:
                kept.append(pair)
        if not secrets:
            return
        environ["QUERY_STRING"] = "&".join(kept)
        for raw in ("RAW_URI", "REQUEST_URI"):
            environ.pop(raw, None)
        if secrets[0]:
            environ.setdefault("HTTP_APIKEY", secrets[0])
