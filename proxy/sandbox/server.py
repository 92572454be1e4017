"""Puts the sandbox together and serves it: ``flask --app wsgi sandbox`` or ``python -m proxy.sandbox.server``.

Beside Trustpilot's calls there is a control plane under ``/_sandbox/``: what has been called, how to answer, what to
sell. It has no credentials and never misbehaves. Products belong to the first business unit, or to the one named by
``?business_unit=``. Whatever it can't use is a 400 with ``{"message": …}`` that says why.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import click
import gevent
from flask import Blueprint, Flask, Response, request
from gevent.pywsgi import WSGIHandler, WSGIServer
from werkzeug.exceptions import BadRequest, HTTPException

from proxy.sandbox import API_KEY, API_SECRET, BUSINESS_UNIT
from proxy.sandbox.endpoints import CALLS, documented_calls
from proxy.sandbox.shops import CHANGES, BusinessUnit, Order
from proxy.sandbox.state import (
    Behaviour,
    ConnectionOverError,
    Limit,
    Lists,
    Mode,
    Shape,
    State,
    json_answer,
    refusal,
)


def create_sandbox() -> Flask:
    """Return the stand-in as a WSGI application, to be served by `serve`.

    Its documented calls need the connection that server puts into the WSGI environment; the control plane does not.
    """
    app = Flask("proxy.sandbox")
    # A SKU may hold slashes, also two in a row.
    app.url_map.merge_slashes = False
    state = State()
    app.register_blueprint(documented_calls(state))
    app.register_blueprint(control_plane(state))
    app.register_error_handler(HTTPException, refusal)
    return app


_BACKLOG = 4096


class _Handler(WSGIHandler):  # type: ignore[misc]  # gevent has no types
    """gevent's handler, with the connection in the WSGI environment and a way to end it without an answer."""

    def handle(self) -> None:
        # Head and body leave in two writes; without this the second waits for the first's delayed acknowledgement.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().handle()

    def get_environ(self) -> dict[str, object]:
        environ: dict[str, object] = super().get_environ()
        environ["sandbox.connection"] = self.socket
        return environ

    def run_application(self) -> None:
        try:
            super().run_application()
        except ConnectionOverError:
            self.close_connection = True


def serve(app: Flask, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM, which also end what is under way; port 0 takes a free one.

    Prints ``Sandbox listening on http://127.0.0.1:PORT/v1`` once callers can connect. Nothing is monkey-patched:
    the stand-in only ever waits through gevent itself.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = WSGIServer((host, port), app, handler_class=_Handler, backlog=_BACKLOG, log=None)
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, server.stop)
    server.start()
    print(f"Sandbox listening on http://{host}:{server.server_port}/v1", flush=True)
    server.serve_forever()


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8001, show_default=True, help="0 takes a free one")
def sandbox(host: str, port: int) -> None:
    """Run a local stand-in for Trustpilot."""
    serve(create_sandbox(), host, port)


_Takes = tuple[str, Callable[[Any], bool]]
"""What a member takes, in words, and whether a value is such."""


def _whole(least: int, most: int) -> _Takes:
    return f"a whole number from {least} to {most}", lambda given: type(given) is int and least <= given <= most


def _texts(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(each, str) for each in given)


def _fits_into_a_header(given: Any) -> bool:
    """RFC 9110 allows seconds and dates in Retry-After, and servers send nonsense."""
    return type(given) is int or (isinstance(given, str) and given.isascii() and given.isprintable())


_SECONDS: _Takes = ("seconds, from 0 to 86400", lambda given: type(given) in (int, float) and 0 <= given <= 86_400)
_KINDS = [call.kind for call in CALLS]
_BEHAVIOUR: Mapping[str, _Takes] = {
    "mode": (f"one of {', '.join(Mode)}", lambda given: given in list(Mode)),
    "kinds": (f"a list of {', '.join(_KINDS)}", lambda given: _texts(given) and set(given) <= set(_KINDS)),
    "business_units": ("a list of business units", _texts),
    "skus": ("a list of SKUs", _texts),
    "times": _whole(1, 10**9),
    "seconds": _SECONDS,
    "status": _whole(300, 599),
    "retry_after": ("seconds or text that fits into a header", _fits_into_a_header),
    "shape": (f"one of {', '.join(Shape)}", lambda given: given in list(Shape)),
}
_LIMIT = {"calls": _whole(0, 10**9), "seconds": _SECONDS}
_GENERATE: Mapping[str, _Takes] = {
    "products": _whole(1, 200_000),
    "reviews": _whole(0, 10_000),
    "prefix": ("text", lambda given: isinstance(given, str)),
}
_ORDER: _Takes = (f"one of {', '.join(Order)}", lambda given: given in list(Order))
_LISTS: Mapping[str, _Takes] = {
    "reviews_order": _ORDER,
    "feed_order": _ORDER,
    "batch_skus": _whole(0, 10**9),
    "arrivals": _whole(0, 1000),
    "lost_page": _whole(2, 10**9),
}
_CHANGE: Mapping[str, _Takes] = {
    "changes": _whole(1, 100_000),
    "seed": _whole(0, 10**9),
    "kinds": (
        f"a list of {', '.join(CHANGES)}",
        lambda given: _texts(given) and bool(given) and set(given) <= set(CHANGES),
    ),
}
_TEXT: _Takes = ("text", lambda given: isinstance(given, str) and given != "")
_REVIEWS: _Takes = ("a list of reviews", lambda given: isinstance(given, list))
_DELETE: Mapping[str, _Takes] = {"reviewId": _TEXT, "consumerId": _TEXT}
_PRODUCT: Mapping[str, _Takes] = {"reviews": _REVIEWS, "imported": _REVIEWS, "name": _TEXT, "productUrl": _TEXT}
_SHOP: Mapping[str, _Takes] = {"name": _TEXT, "service_reviews": _REVIEWS}
_TOKEN: Mapping[str, _Takes] = {
    "seconds": _whole(0, 10**7),
    "as_number": ("true or false", lambda given: isinstance(given, bool)),
}


def control_plane(state: State) -> Blueprint:
    """Return the control plane as a blueprint."""
    made = Blueprint("control", __name__, url_prefix="/_sandbox")

    def view(act: Callable[..., object]) -> Callable[..., Response]:
        def answer(**path: str) -> Response:
            given = act(state, **path)
            return json_answer({} if given is None else given)

        return answer

    made.add_url_rule("/", "overview", view(_overview))
    for rule, (_, act) in _CONTROLS.items():
        method, path = rule.split()
        made.add_url_rule(path, rule, view(act), methods=[method])
    return made


def _behave(state: State) -> None:
    given = _given()
    each = given if isinstance(given, list) else [given]
    state.behaviours = [Behaviour.of(_members(one, _BEHAVIOUR, "mode")) for one in each]


def _limit(state: State) -> None:
    given = _given()
    state.limit = None if given is None else Limit(**_members(given, _LIMIT, "calls", "seconds"))


def _set_lists(state: State) -> None:
    given = _members(_given(), _LISTS)
    orders = {name: Order(value) for name, value in given.items() if name.endswith("_order")}
    state.lists = Lists(**{**given, **orders})


def _put_shop(state: State, unit: str) -> None:
    state.units[unit] = BusinessUnit(**_members(_given(), _SHOP, "name"))


def _put_product(state: State, sku: str) -> None:
    given, unit = _given(), _unit(state)
    members = _members({"reviews": given} if isinstance(given, list) else given, _PRODUCT)
    for name, products in (("reviews", unit.products), ("imported", unit.imported)):
        if name in members:
            products.put(sku, members.pop(name))
    unit.details[sku] = {**unit.details.get(sku, {}), **members}


def _generate(state: State) -> object:
    asked = _members(_given(), _GENERATE, "products", "reviews")
    return {"skus": _unit(state).products.generate(**asked)}


def _change(state: State) -> object:
    """Change reviews at random; the same seed changes the same shop alike."""
    asked = _members(_given(), _CHANGE, "changes", "seed")
    chance, unit = random.Random(asked["seed"]), _unit(state)  # noqa: S311  # sample data
    skus = chance.choices(list(unit.products), k=asked["changes"])
    kinds = asked.get("kinds", CHANGES)
    changes = [unit.change(chance, kinds, state.now(), sku) for sku in skus]
    for change in changes:
        if change["what"] == "deleted":
            state.list_deletion("reviewId", change["id"])
    return {"changes": changes}


def _delete(state: State) -> object:
    asked = _members(_given(), _DELETE)
    return {"reviews": sum(state.delete(name, each) for name, each in asked.items())}


def _set_token(state: State) -> None:
    for name, value in _members(_given(), _TOKEN).items():
        setattr(state.tokens, name, value)


def _what(takes: Mapping[str, _Takes]) -> object:
    return {name: f"takes {what}" for name, (what, _) in takes.items()}


_CONTROLS: Mapping[str, tuple[object, Callable[..., object]]] = {
    "GET /calls": ("what has been called", lambda state: state.record.written_up()),
    "GET /asides": ("the calls that nobody waits for", lambda state: state.asides.written_up()),
    "POST /reset": ("as on the first day", State.reset),
    "PUT /behaviour": (_what(_BEHAVIOUR), _behave),
    "PUT /limit": ({"calls": 833, "seconds": 300}, _limit),
    "PUT /lists": (_what(_LISTS), _set_lists),
    "PUT /shops/<unit>": (_what(_SHOP), _put_shop),
    "PUT /products/<path:sku>": (["reviews, in any order"], _put_product),
    "POST /change": ({"changes": 200, "seed": 7, "kinds": CHANGES}, _change),
    "POST /delete": ({"reviewId": "670d5810ba62e6b31de97de9", "consumerId": "6176xxxx"}, _delete),
    "POST /generate": ({"products": 2000, "reviews": 100, "prefix": "SKU-"}, _generate),
    "PUT /token": ({"seconds": 360000, "as_number": False}, _set_token),
    "POST /token/revoke": (None, lambda state: state.tokens.revoke()),
    "GET /invitations": ("what has been sent", lambda state: list(state.invitations)),
    "GET /links": ("what invitation links have been asked for", lambda state: list(state.links)),
}
"""Each call of the control plane: what it tells or takes, for people, and what it does."""


def _given() -> object:
    """Return the request's JSON, whatever its content type says: a control plane should not need curl flags."""
    try:
        given: object = json.loads(request.get_data())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body takes JSON: {error}") from error
    return given


def _members(given: object, takes: Mapping[str, _Takes], *required: str) -> dict[str, Any]:
    """Return the members of a JSON object, those that are null left out."""
    if not isinstance(given, dict):
        raise BadRequest(f"the body takes a JSON object with {', '.join(takes)}, not {given!r:.80}")
    members = {name: value for name, value in given.items() if value is not None}
    for name in (*members, *required):
        if name not in takes:
            raise BadRequest(f"there is no {name}; the body takes {', '.join(takes)}")
        what, fits = takes[name]
        if not fits(members.get(name)):
            raise BadRequest(f"{name} takes {what}, not {members.get(name)!r:.80}")
    return members


def _unit(state: State) -> BusinessUnit:
    unit = request.args.get("business_unit", BUSINESS_UNIT)
    if unit not in state.units:
        raise BadRequest(f"business_unit takes one of {', '.join(state.units)}, not {unit}")
    return state.units[unit]


def _overview(state: State) -> dict[str, object]:
    return {
        "what": "A local stand-in for Trustpilot with sample data.",
        "api_url": f"{request.host_url}v1",
        "api_key": API_KEY,
        "api_secret": API_SECRET,
        "business_units": {each: unit.products.sizes() for each, unit in state.units.items()},
        "behaviour": [asdict(behaviour) for behaviour in state.behaviours],
        "limit": {"calls": state.limit.calls, "seconds": state.limit.seconds} if state.limit else None,
        "control": {rule.replace(" ", " /_sandbox"): what for rule, (what, _) in _CONTROLS.items()},
    }


if __name__ == "__main__":
    sandbox()
