"""The sandbox's server: Trustpilot's read calls, the ways to misbehave, and a control plane under ``/_sandbox``."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gevent
from flask import Flask, Response, request
from gevent.pywsgi import WSGIHandler, WSGIServer

from proxy.sandbox.catalogue import make_catalogue, summary_of

BUSINESS_UNITS = ("66ea0530c0ffee0000000001", "66ea0530c0ffee0000000002")
API_KEY = "sandbox-key"
MODES = ("ok", "slow", "fail", "rate_limit", "hang", "drip", "reset", "garbage", "html", "huge", "wrong_shape", "cut")
_HUGE = 30 * 1024 * 1024
_LONGEST_HANG = 60.0


@dataclass
class Behaviour:
    """How calls are answered: ``kinds`` empty means all; ``seconds`` is the wait of slow and the pace of drip."""

    mode: str = "ok"
    seconds: float = 0.05
    status: int = 500
    retry_after: int | None = None
    kinds: tuple[str, ...] = ()
    times: int | None = None


@dataclass
class Sandbox:
    """What the sandbox holds and has seen."""

    catalogue: dict[str, list[Any]] = field(default_factory=make_catalogue)
    behaviour: Behaviour = field(default_factory=Behaviour)
    calls: Counter[str] = field(default_factory=Counter)
    queries: list[dict[str, Any]] = field(default_factory=list)

    def note(self, kind: str) -> None:
        """Count a call; the last 20,000 are kept with their query."""
        self.calls[kind] += 1
        self.queries.append({"kind": kind, "query": request.args.to_dict(flat=False), "at": time.time()})
        del self.queries[:-20_000]

    def misbehaviour(self, kind: str) -> Behaviour:
        """Return how to answer this call."""
        now = self.behaviour
        if now.mode == "ok" or (now.kinds and kind not in now.kinds) or now.times == 0:
            return Behaviour()
        if now.times is not None:
            now.times -= 1
        return now


def create_sandbox() -> Flask:
    """Return the stand-in as a WSGI application."""
    app = Flask(__name__)
    state = Sandbox()

    def reply(kind: str, unit: str, body: Any) -> Response:
        state.note(kind)
        if request.headers.get("apikey") != API_KEY:
            return _json({"message": "Invalid API key"}, 401)
        if unit not in BUSINESS_UNITS:
            return _json({"message": "Unknown business unit"}, 404)
        return _misbehave(state.misbehaviour(kind), body)

    @app.get("/v1/product-reviews/business-units/<unit>/reviews")
    def reviews(unit: str) -> Response:
        return reply("reviews", unit, _page(state.catalogue.get(request.args.get("sku", ""), [])))

    @app.get("/v1/product-reviews/business-units/<unit>")
    def summary(unit: str) -> Response:
        return reply("summary", unit, summary_of(state.catalogue.get(request.args.get("sku", ""), [])))

    @app.post("/v1/product-reviews/business-units/<unit>/batch-summaries")
    def batch(unit: str) -> Response:
        skus = request.get_json()["skus"]
        summaries = [{"sku": sku, **summary_of(state.catalogue.get(sku, []))} for sku in skus]
        return reply("batch_summaries", unit, {"summaries": summaries})

    @app.get("/_sandbox/")
    def overview() -> Response:
        return _json({sku: len(reviews) for sku, reviews in state.catalogue.items()})

    @app.get("/_sandbox/calls")
    def calls() -> Response:
        return _json({"total": state.calls.total(), "by_kind": dict(state.calls), "calls": state.queries})

    @app.post("/_sandbox/reset")
    def reset() -> Response:
        state.__dict__.update(vars(Sandbox()))
        return _json({})

    @app.put("/_sandbox/behaviour")
    def behave() -> Response:
        given = request.get_json()
        if not isinstance(given, dict) or given.get("mode") not in MODES:
            return _json({"message": f"mode must be one of {', '.join(MODES)}"}, 400)
        try:
            state.behaviour = Behaviour(**given)
        except TypeError as error:
            return _json({"message": str(error)}, 400)
        return _json({})

    @app.put("/_sandbox/products/<path:sku>")
    def put_product(sku: str) -> Response:
        state.catalogue[sku] = request.get_json()
        return _json({})

    return app


def _page(reviews: list[Any]) -> dict[str, Any]:
    """Filter and page as Trustpilot's documentation says."""
    stars = {int(star) for star in request.args.getlist("stars")}
    language = request.args.get("language")
    page, per_page = request.args.get("page", 1, int), min(request.args.get("perPage", 20, int), 100)
    matching = [
        review
        for review in reviews
        if not isinstance(review, dict)
        or ((not stars or review.get("stars") in stars) and (not language or review.get("language") == language))
    ]
    end = page * per_page
    links = [{"href": "next", "method": "GET", "rel": "next-page"}] if len(matching) > end else []
    return {"productReviews": matching[end - per_page : end], "links": links}


def _misbehave(how: Behaviour, body: Any) -> Response:
    match how.mode:
        case "slow":
            gevent.sleep(how.seconds)
        case "fail":
            headers = {"Retry-After": str(how.retry_after)} if how.retry_after else {}
            return _json({"message": "told to fail"}, how.status, headers)
        case "rate_limit":
            return _json({"message": "too many calls"}, 429, {"Retry-After": str(how.retry_after or 7)})
        case "hang":
            gevent.sleep(min(how.seconds, _LONGEST_HANG))
        case "drip":
            return Response(_drip(json.dumps(body).encode(), how.seconds), content_type="application/json")
        case "reset":
            _reset()
        case "garbage":
            return Response(os.urandom(2000), content_type="application/json")
        case "html":
            return Response("<!doctype html><title>Maintenance</title>", content_type="text/html")
        case "huge":
            return Response((b" " * 65_536 for _ in range(_HUGE // 65_536)), content_type="application/json")
        case "wrong_shape":
            return _json({"productReviews": {"0": "x"}, "links": "x", "summaries": 3})
        case "cut":
            return Response(
                json.dumps(body)[:20], content_type="application/json", headers={"Content-Length": "9999"}
            )
    return _json(body)


def _drip(body: bytes, seconds: float) -> Iterator[bytes]:
    for place in range(len(body)):
        yield body[place : place + 1]
        gevent.sleep(seconds)


def _reset() -> None:
    """Close the caller's connection with a TCP reset."""
    connection: socket.socket = request.environ["sandbox.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # Not connection.close(): the server's own file on the socket would keep it open. The descriptor stays taken, by a
    # socket that was never connected, so that what the server still writes goes to nobody else.
    with socket.socket() as unconnected:
        os.dup2(unconnected.fileno(), connection.fileno())


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(body), status, headers, content_type="application/json")


class _Handler(WSGIHandler):  # type: ignore[misc]  # gevent has no types
    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ["sandbox.socket"] = self.socket
        return environ


def serve(host: str, port: int) -> None:
    """Serve until interrupted; says where it listens in one line."""
    server = WSGIServer(
        (host, port), create_sandbox(), handler_class=_Handler, log=None, error_log=None, backlog=2048
    )
    server.start()
    # Head and body leave in two writes; without this the second waits 40 ms for an acknowledgement.
    server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(f"Sandbox listening on http://{host}:{server.server_port}/v1", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, server.stop)
    server.serve_forever()
