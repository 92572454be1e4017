"""A request's body as gunicorn reads it, with errors that a WSGI application knows."""

from __future__ import annotations

from typing import Any

from gunicorn.http.errors import ParseException


class RequestBody:
    """Stands in for gunicorn's ``body`` of a request.

    For a malformed chunk gunicorn raises errors of its own, which look to the application like its own bug. A WSGI
    application expects :class:`ValueError` or :class:`OSError` of an input that breaks off. Where the next request
    begins is not known then, so the connection has to end.
    """

    def __init__(self, body: Any, request: Any) -> None:
        """Read from ``body``, which is that of gunicorn's ``request``."""
        self._body = body
        self._request = request
        self.answered = False
        """Whether the answer has left. From then on nobody is left to be told, and the connection just ends."""

    def read(self, *size: int | None) -> bytes:
        """Return so many bytes, or all."""
        read: bytes = self._checked(self._body.read, *size)
        return read

    def readline(self, *size: int | None) -> bytes:
        """Return one line."""
        line: bytes = self._checked(self._body.readline, *size)
        return line

    def readlines(self, *size: int | None) -> list[bytes]:
        """Return all lines."""
        lines: list[bytes] = self._checked(self._body.readlines, *size)
        return lines

    def __iter__(self) -> RequestBody:
        return self

    def __next__(self) -> bytes:
        if line := self.readline():
            return line
        raise StopIteration

    def _checked(self, read: Any, *size: int | None) -> Any:
        try:
            return read(*size)
        except ParseException as error:
            self._request.force_close()
            if self.answered:
                # What gunicorn takes for the end of a connection.
                raise StopIteration from None
            raise ValueError("the body is malformed") from error
