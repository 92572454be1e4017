"""What each mode does to a call.

``slow``, ``drip``, ``drip_headers``, ``reset_midway``, ``reset_after``, ``wrong_shape`` and ``truncated`` spoil an
answer on its way out: the call has been processed, an invitation is stored. ``fail``, ``rate_limit``, ``hang``,
``reset``, ``garbage``, ``html``, ``huge`` and ``redirect`` happen instead of processing it. Either way the whole
request has been read first.
"""

import json
from collections.abc import Callable, Iterator, Mapping

import gevent
from flask import Response

from proxy.sandbox.answers import json_answer
from proxy.sandbox.behaviour import Behaviour, Mode, Shape
from proxy.sandbox.wire import ConnectionOverError, Wire

HUGE_BYTES = 30_000_000
_NESTING = 100_000
_REASONS = {400: "Bad Request", 401: "Invalid API key", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests"}
_MAINTENANCE = "<!doctype html>\n<html><head><title>Maintenance</title></head><body>Back soon</body></html>\n"


def misbehave(behaviour: Behaviour, process: Callable[[], Response], wire: Wire) -> Response:
    """Return the response to a call, which may end the connection while it is being sent.

    ``process`` does what the call asks for and returns the right answer.
    """
    match behaviour.mode:
        case Mode.FAIL | Mode.RATE_LIMIT:
            headers = {} if behaviour.retry_after is None else {"Retry-After": str(behaviour.retry_after)}
            reason = _REASONS.get(behaviour.status, "Internal Server Error")
            return json_answer({"message": reason}, behaviour.status, headers)
        case Mode.HANG:
            wire.hold(behaviour.seconds)
            return _over()
        case Mode.RESET:
            return _over(wire.reset_on_close)
        case Mode.GARBAGE:
            return Response(bytes(range(256)) * 16, content_type="application/json")
        case Mode.HTML:
            return Response(_MAINTENANCE, content_type="text/html; charset=utf-8")
        case Mode.HUGE:
            return Response(_huge_page(), content_type="application/json")
        case Mode.REDIRECT:
            # To a place that exists and answers 200 with an object: who follows does not notice by an error.
            return json_answer({"message": "Moved"}, behaviour.status, {"Location": "/_sandbox/"})
        case _:
            return _spoilt(process(), behaviour, wire)


def _spoilt(right: Response, behaviour: Behaviour, wire: Wire) -> Response:
    body = right.get_data()
    match behaviour.mode:
        case Mode.SLOW:
            return right if wire.hold(behaviour.seconds) else _over()
        case Mode.DRIP:
            right.response = _one_by_one(body, behaviour.seconds, wire)
            right.content_length = len(body)
        case Mode.DRIP_HEADERS:
            return _over(lambda: _drip(_head(right), body, behaviour.seconds, wire))
        case Mode.RESET_MIDWAY:
            return _over(lambda: _break_off(_head(right) + body[: len(body) // 2], wire))
        case Mode.RESET_AFTER:
            return _over(wire.reset_on_close)
        case Mode.TRUNCATED:
            return _over(lambda: wire.send(_head(right) + body[: len(body) // 2]))
        case Mode.WRONG_SHAPE:
            right.set_data(_reshaped(json.loads(body or b"{}"), behaviour.shape))
    return right


def _one_by_one(data: bytes, pause: float, wire: Wire) -> Iterator[bytes]:
    for place in range(len(data)):
        yield data[place : place + 1]
        if not wire.hold(pause):
            raise ConnectionOverError


def _drip(head: bytes, body: bytes, pause: float, wire: Wire) -> None:
    for byte in _one_by_one(head, pause, wire):
        wire.send(byte)
    wire.send(body)


def _break_off(half: bytes, wire: Wire) -> None:
    wire.send(half)
    # A moment for the half to be read: a reset makes some systems forget what has arrived.
    gevent.sleep(0.05)
    wire.reset_on_close()


def _reshaped(right: Mapping[str, object], shape: Shape) -> str:
    """Return JSON that has lost the shape of the ``right`` answer."""
    match shape:
        case Shape.LIST:
            return json.dumps([right])
        case Shape.NULL:
            return "null"
        case Shape.TEXT:
            return json.dumps("all is well")
        case Shape.NULL_MEMBERS:
            return json.dumps(dict.fromkeys(right))
        case Shape.TEXT_MEMBERS:
            return json.dumps(dict.fromkeys(right, "all is well"))
        case Shape.OBJECT_MEMBERS:
            return json.dumps({name: {"0": value} for name, value in right.items()})
        case Shape.NOT_A_NUMBER:
            return json.dumps(dict.fromkeys(right, float("nan")))
        case Shape.DEEP:
            members = (f"{json.dumps(name)}: {'[' * _NESTING}{']' * _NESTING}" for name in right)
            return "{" + ", ".join(members) + "}"


def _huge_page() -> Iterator[bytes]:
    """Yield valid JSON of :data:`HUGE_BYTES` in pieces."""
    review = json.dumps({"id": "huge", "stars": 5, "content": "So much to say. " * 4000}).encode()
    yield b'{"links": [], "productReviews": [' + review
    for _ in range(HUGE_BYTES // len(review)):
        yield b", " + review
    yield b"]}"


def _head(response: Response) -> bytes:
    """Return the status line and headers a server would send, announcing the whole body."""
    response.content_length = len(response.get_data())
    response.headers["Connection"] = "close"
    return f"HTTP/1.1 {response.status}\r\n{response.headers}".encode("latin-1")


def _over(last: Callable[[], object] | None = None) -> Response:
    """Return a response that does one last thing to the connection instead of answering, and then closes it.

    It happens while the response is iterated, beyond Flask, where a caller that has left is nothing unusual.
    """

    def ending() -> Iterator[bytes]:
        yield from ()
        if last is not None:
            last()
        raise ConnectionOverError

    return Response(ending())
