"""JSON answers, written as Trustpilot does: compact, members in their order, everything beyond ASCII escaped."""

import json
from collections.abc import Mapping

from flask import Response
from werkzeug.exceptions import HTTPException


def json_answer(payload: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return ``payload`` as a response. Lone surrogates and NaN pass, since the data has them on purpose."""
    body = json.dumps(payload, separators=(",", ":"))
    return Response(body, status, headers, content_type="application/json")


def refusal(error: HTTPException) -> Response:
    """Return ``{"message": …}`` for an error, and the headers HTTP wants with it, such as ``Allow``."""
    own = {name: value for name, value in error.get_headers() if name not in ("Content-Type", "Content-Length")}
    return json_answer({"message": error.description}, error.code or 500, own)
