"""What the sandbox is told and knows while it runs: how to answer and what that does on the wire, calls, tokens.

``slow``, ``drip``, ``drip_headers``, ``reset_midway``, ``reset_after``, ``wrong_shape`` and ``truncated`` spoil an
answer on its way out: the call has been processed, an invitation is stored. ``fail``, ``rate_limit``, ``hang``,
``reset``, ``garbage``, ``html``, ``huge`` and ``redirect`` happen instead of processing it. Either way the whole
request has been read first.
"""

from __future__ import annotations

import contextlib
import json
import math
import secrets
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

import gevent
from flask import Response
from gevent.socket import wait_read
from werkzeug.exceptions import HTTPException

from proxy.sandbox import BUSINESS_UNIT, SECOND_BUSINESS_UNIT, shops

Mode = StrEnum(
    "Mode",
    "OK SLOW FAIL RATE_LIMIT HANG DRIP DRIP_HEADERS RESET RESET_MIDWAY "
    "RESET_AFTER GARBAGE HTML WRONG_SHAPE HUGE REDIRECT TRUNCATED",
)
"""The ways to answer. This module says what each does on the wire."""

Shape = StrEnum("Shape", "LIST NULL TEXT NULL_MEMBERS TEXT_MEMBERS OBJECT_MEMBERS NOT_A_NUMBER DEEP")
"""What ``wrong_shape`` turns a right answer into."""

_USUAL: Mapping[Mode, Mapping[str, Any]] = {
    Mode.SLOW: {"seconds": 3.0},
    Mode.HANG: {"seconds": 60.0},
    Mode.DRIP: {"seconds": 0.05},
    Mode.DRIP_HEADERS: {"seconds": 0.05},
    Mode.FAIL: {"status": 500},
    Mode.RATE_LIMIT: {"status": 429, "retry_after": 30},
    Mode.REDIRECT: {"status": 302},
}


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """One instruction.

    ``kinds``, ``business_units`` and ``skus`` narrow it to some calls, None meaning all; a call without a SKU (token,
    invitations) is never meant by ``skus``, and a batch is meant when one of its SKUs is. ``times`` counts down to
    0, None meaning for ever. ``seconds`` is the delay of ``slow``, the longest ``hang``, the pause between two bytes
    of a drip. ``retry_after`` goes into the header of that name as it is.
    """

    mode: Mode
    kinds: Collection[str] | None = None
    business_units: Collection[str] | None = None
    skus: Collection[str] | None = None
    times: int | None = None
    seconds: float = 0.0
    status: int = 200
    retry_after: int | str | None = None
    shape: Shape = Shape.OBJECT_MEMBERS

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """Return the behaviour that these members describe; ``mode`` is one of them, the others have defaults."""
        return cls(**{**_USUAL.get(members["mode"], {}), **members})

    def means(self, kind: str, unit: str | None, skus: Collection[str]) -> bool:
        if self.times == 0 or (self.kinds is not None and kind not in self.kinds):
            return False
        if self.business_units is not None and unit not in self.business_units:
            return False
        return self.skus is None or not set(self.skus).isdisjoint(skus)


def next_behaviour(behaviours: Iterable[Behaviour], kind: str, unit: str | None, skus: Collection[str]) -> Behaviour:
    """Return how to answer a call: the first that means it, using up one of its ``times``; ``ok`` is what is left."""
    for behaviour in behaviours:
        if behaviour.means(kind, unit, skus):
            if behaviour.times is not None:
                behaviour.times -= 1
            return behaviour
    return Behaviour(mode=Mode.OK)


def json_answer(payload: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return ``payload`` as a response. Lone surrogates and NaN pass, since the data has them on purpose."""
    body = json.dumps(payload, separators=(",", ":"))
    return Response(body, status, headers, content_type="application/json")


def refusal(error: HTTPException) -> Response:
    """Return ``{"message": …}`` for an error, and the headers HTTP wants with it, such as ``Allow``."""
    own = {name: value for name, value in error.get_headers() if name not in ("Content-Type", "Content-Length")}
    return json_answer({"message": error.description}, error.code or 500, own)


# SO_LINGER on with no time: closing throws unsent data away and sends RST instead of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ConnectionOverError(Exception):
    """Everything this connection will ever carry has been sent; raised while a response is iterated."""


class Wire:
    """One caller's connection. ``waiting`` has those that are kept waiting."""

    def __init__(self, connection: socket.socket, waiting: set[Wire]) -> None:
        self._connection = connection
        self._waiting = waiting

    def wait(self, seconds: float) -> bool:
        """Wait; False as soon as the caller has hung up or :meth:`drop` was called."""
        self._waiting.add(self)
        until = time.monotonic() + seconds
        try:
            wait_read(self._connection.fileno(), timeout=seconds)
            here = self._connection.recv(1, socket.MSG_PEEK) != b""
            if here:
                # The caller is sending its next request already; it waits its turn as long as this one does.
                gevent.sleep(max(0.0, until - time.monotonic()))
        except TimeoutError:
            return True
        except ConnectionError:
            return False
        else:
            return here
        finally:
            self._waiting.discard(self)

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def reset_on_close(self) -> None:
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def drop(self) -> None:
        """End the connection from outside, waking whoever waits on it."""
        # A caller that left a moment ago has done it already.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


HUGE_BYTES = 30_000_000
_NESTING = 100_000
_REASONS = {400: "Bad Request", 401: "Invalid API key", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests"}
_MAINTENANCE = "<!doctype html>\n<html><head><title>Maintenance</title></head><body>Back soon</body></html>\n"


def answer_by(behaviour: Behaviour, process: Callable[[], Response], wire: Wire) -> Response:
    """Return the response to a call, which may end the connection while it is being sent.

    ``process`` does what the call asks for and returns the right answer.
    """
    match behaviour.mode:
        case Mode.FAIL | Mode.RATE_LIMIT:
            headers = {} if behaviour.retry_after is None else {"Retry-After": str(behaviour.retry_after)}
            reason = _REASONS.get(behaviour.status, "Internal Server Error")
            return json_answer({"message": reason}, behaviour.status, headers)
        case Mode.HANG:
            wire.wait(behaviour.seconds)
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
            return right if wire.wait(behaviour.seconds) else _over()
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
    for number in range(len(data)):
        yield data[number : number + 1]
        if not wire.wait(pause):
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
    if shape == Shape.DEEP:
        members = (f"{json.dumps(name)}: {'[' * _NESTING}{']' * _NESTING}" for name in right)
        return "{" + ", ".join(members) + "}"
    lost: dict[Shape, object] = {
        Shape.LIST: [right],
        Shape.NULL: None,
        Shape.TEXT: "all is well",
        Shape.NULL_MEMBERS: dict.fromkeys(right),
        Shape.TEXT_MEMBERS: dict.fromkeys(right, "all is well"),
        Shape.OBJECT_MEMBERS: {name: {"0": value} for name, value in right.items()},
        Shape.NOT_A_NUMBER: dict.fromkeys(right, float("nan")),
    }
    return json.dumps(lost[shape])


def _huge_page() -> Iterator[bytes]:
    review = json.dumps({"id": "huge", "stars": 5, "content": "So much to say. " * 4000}).encode()
    yield b'{"links": [], "productReviews": [' + review
    for _ in range(HUGE_BYTES // len(review)):
        yield b", " + review
    yield b"]}"


def _head(response: Response) -> bytes:
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


# ---- What has been called, and what the sandbox knows

TOKEN_SECONDS = 360_000
"""About 100 hours, which is what Trustpilot's tokens last."""

_KEPT = 20_000


class CallRecord:
    """Calls by kind, how many were under way at once, and what the last 20,000 asked for.

    Every call counts, also those that are refused or misbehave: that is how Trustpilot counts.
    """

    def __init__(self) -> None:
        self.by_kind: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._most: Counter[str] = Counter()
        self._most_at_once = 0
        self._calls: deque[dict[str, object]] = deque(maxlen=_KEPT)

    def begin(self, kind: str, unit: str | None, skus: Collection[str], query: Mapping[str, list[str]]) -> None:
        self.by_kind[kind] += 1
        self._under_way[kind] += 1
        self._most[kind] = max(self._most[kind], self._under_way[kind])
        self._most_at_once = max(self._most_at_once, self._under_way.total())
        self._calls.append(
            {"at": time.time(), "kind": kind, "business_unit": unit, "skus": list(skus), "query": query}
        )

    def end(self, kind: str) -> None:
        self._under_way[kind] -= 1

    def written_up(self) -> dict[str, object]:
        """Return all of it as JSON; times are seconds since 1970."""
        return {
            "total": self.by_kind.total(),
            "by_kind": self.by_kind,
            "most_at_once": self._most_at_once,
            "most_at_once_by_kind": self._most,
            "under_way": self._under_way.total(),
            "calls": list(self._calls),
        }


@dataclass
class Limit:
    """Lets ``calls`` through in any ``seconds``. Refused calls use nothing up, so waiting always helps.

    Trustpilot recommends staying under 833 calls in 5 minutes ("API rate limits and usage").
    """

    calls: int
    seconds: float
    _let_through: deque[float] = field(default_factory=deque)

    def refuse(self, now: float) -> int | None:
        """Return None to let a call through, else the whole seconds after which there is room again."""
        while self._let_through and self._let_through[0] <= now - self.seconds:
            self._let_through.popleft()
        if len(self._let_through) < self.calls:
            self._let_through.append(now)
            return None
        wait = self._let_through[0] + self.seconds - now if self._let_through else self.seconds
        return max(1, math.ceil(wait))


@dataclass
class Tokens:
    """Access tokens of the client-credentials grant: hands them out and knows which still hold.

    ``expires_in`` is text, as seen most, unless ``as_number``.
    """

    seconds: int = TOKEN_SECONDS
    as_number: bool = False
    clock: Callable[[], float] = time.monotonic
    _expiry: dict[str, float] = field(default_factory=dict)

    def issue(self) -> dict[str, object]:
        token = secrets.token_hex(16)
        self._expiry[token] = self.clock() + self.seconds
        return {
            "access_token": token,
            "token_type": "BearerToken",
            "expires_in": self.seconds if self.as_number else str(self.seconds),
            "status": "approved",
        }

    def holds(self, token: str) -> bool:
        """Tell whether a token was issued and is neither expired nor revoked."""
        return self._expiry.get(token, 0.0) > self.clock()

    def revoke(self) -> None:
        self._expiry.clear()


@dataclass(frozen=True, kw_only=True)
class Lists:
    """How lists behave where Trustpilot documents nothing.

    ``batch_skus``: the most SKUs that a batch may name. ``arrivals``: how many reviews are written between a page of
    the feed and the next. ``lost_page``: the page of the feed that nobody gets; the one after it comes in its place.
    """

    reviews_order: shops.Order = shops.Order.NEWEST
    feed_order: shops.Order = shops.Order.NEWEST
    batch_skus: int = 10**9
    arrivals: int = 0
    lost_page: int = 10**9


class State:
    """The shops, what has been called, how to answer, and the connections kept waiting."""

    def __init__(self) -> None:
        self._samples = {BUSINESS_UNIT: shops.sample_products(), SECOND_BUSINESS_UNIT: shops.second_products()}
        self._imported = shops.imported_products()
        self._service_reviews = shops.service_reviews()
        self.waiting: set[Wire] = set()
        self.reset()

    def reset(self) -> None:
        """Be as on the first day, with nothing counted, told, limited or stored; waiting callers are let go."""
        first, second = self._samples.items()
        self.units = {
            first[0]: shops.BusinessUnit(
                "Toy Trucks", shops.Products(first[1]), shops.Products(self._imported), self._service_reviews
            ),
            second[0]: shops.BusinessUnit("Second Shop", shops.Products(second[1])),
        }
        self.behaviours: Sequence[Behaviour] = ()
        self.record = CallRecord()
        # Calls that nobody waits for are recorded apart: who counts reviews counts none of them.
        self.asides = CallRecord()
        self.limit: Limit | None = None
        self.lists = Lists()
        self.tokens = Tokens()
        self.invitations: deque[dict[str, object]] = deque(maxlen=_KEPT)
        self.links: deque[dict[str, object]] = deque(maxlen=_KEPT)
        self.deletions: dict[str, list[dict[str, str]]] = {"reviewId": [], "consumerId": []}
        self._last = shops.NEWEST
        for wire in tuple(self.waiting):
            wire.drop()

    def now(self) -> datetime:
        """Return the present, each time a later one."""
        self._last = max(datetime.now(UTC), self._last + timedelta(milliseconds=1))
        return self._last

    def list_deletion(self, name: str, identifier: str) -> None:
        """List a review (``reviewId``), or a consumer (``consumerId``), as deleted."""
        self.deletions[name].append({name: identifier, "deletedAt": shops.written_at(self.now())})

    def delete(self, name: str, identifier: str) -> int:
        """Delete a review, or all of a consumer, from all shops, and list that; return how many reviews."""
        self.list_deletion(name, identifier)
        return sum(unit.delete(name, identifier) for unit in self.units.values())
