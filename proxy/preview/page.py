"""``/preview``: one page, the endpoints it is made of, and what it offers: templates, products, links to share."""

from __future__ import annotations

import ipaddress
import json
import re
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from flask import Blueprint, Flask, Response, abort, jsonify, render_template, request
from werkzeug.exceptions import BadRequest

from proxy.cache import BackendDown, Group, Tiered
from proxy.clock import Now, Spawn
from proxy.export import CopiesOnly, blocks, sku_of_page
from proxy.middleware import caller
from proxy.preview.braze import Channel
from proxy.preview.builder import HOST, BadChoices, Choices, build, read, rewritten
from proxy.preview.calls import has_secret
from proxy.preview.message import PROFILE_KINDS, BadProfile, Message, in_frame, preview, profile
from proxy.preview.people import CannedTransport, InProcessTransport
from proxy.reviews import ProductReviews, Selection, View
from proxy.reviews.page_loader import product_name
from proxy.settings import Credential, Settings

_MOST = 200
_MOST_LIKE = 50
_PATIENCE_SECONDS = 0.2


class _Enough(Exception):
    """Ends a scan."""


def known_products(
    store: Tiered, reviews: ProductReviews, business_unit: str, now: Now, spawn: Spawn
) -> Callable[[str], list[dict[str, Any]]]:
    """Return what lists the ``sku``, ``average_text`` and ``total`` of some products, most reviewed first.

    It never waits long. With a text it lists those whose SKU holds it: all that begin so are looked at first, as the
    cache finds them by their beginning however many there are; then the others, as far as there is time.
    """
    copies, selection = CopiesOnly(store, Group(spawn), now), Selection(business_unit, ())
    reviews = reviews.through(copies)

    def listed(like: str) -> list[dict[str, Any]]:
        skus: set[str] = set()
        until = time.monotonic() + _PATIENCE_SECONDS
        most = _MOST if not like else _MOST_LIKE

        def look(product: str, part: str, _value: bytes) -> None:
            sku = sku_of_page(product, part)
            if sku and like.lower() in sku.lower():
                skus.add(sku)
            if len(skus) >= most or time.monotonic() > until:
                raise _Enough

        with suppress(BackendDown, _Enough):
            for beginning in dict.fromkeys((like, like.upper(), like.lower(), "")):
                copies.scan(product_name(business_unit, beginning), look)
        products: list[dict[str, Any]] = []
        for sku, block in blocks(reviews, selection, sorted(skus), View(limit=1)):
            if summary := block and block["summary"]:
                stars, total = summary["average_text"], summary["total"]
                products.append({"sku": sku, "average_text": stars, "total": total})
        return sorted(products, key=lambda one: (-one["total"], one["sku"]))

    return listed


@dataclass(frozen=True)
class ReadyTemplate:
    """A template with what it needs to be previewed: ``data`` is what `proxy.preview.message.profile` reads."""

    name: str
    label: str
    about: str
    channel: Channel
    title: str
    data: Mapping[str, Any] = field(hash=False)
    preheader: str = ""

    def template(self) -> str:
        """Return the template's Liquid, calling `HOST`."""
        return (files(__package__) / "templates" / f"{self.name}.liquid").read_text("utf-8")


READY_TEMPLATES = tuple(
    ReadyTemplate(**{**one, "channel": Channel(one["channel"])})
    for one in tomllib.loads((files(__package__) / "templates/ready.toml").read_text("utf-8"))["template"]
)


_SECRET_NAME = re.compile(r"authorization|api[-_ ]?key|token|secret|passw", re.IGNORECASE)
_SECRET = re.compile(
    r"\b(?:Basic|Bearer)\s+[A-Za-z0-9+/_.=-]{8,}|\beyJ[\w-]{8,}\.[\w-]+|hmac_sha\d+:\s*['\"][^'\"]+|-----BEGIN\b"
    r"|[?&](?:api[-_]?key|(?:access_)?token|secret|password)=[\w%.~+/-]{8,}",
    re.IGNORECASE,
)
_PERSONAL_NAME = re.compile(r"e[-_]?mail|phone|birth|\bdob\b|address|last_name|user_id|braze_id", re.IGNORECASE)
_PERSONAL = re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}|\+\d[\d ()/-]{7,}\d", re.IGNORECASE)
_SHORTEST_SECRET = 6


def shareable(message: Message, own_secrets: Iterable[str]) -> dict[str, Any]:
    """Return why no link is made of ``message``, empty where one may be, and the values that a link leaves out.

    ``own_secrets`` are the proxy's; none of them may stand anywhere. ``personal`` names kinds and names of the data.
    """
    parts = {"subject or title": message.title, "preheader": message.preheader, "message": message.body}
    values = [(kind, name, value) for kind in PROFILE_KINDS for name, value in asdict(message.profile)[kind].items()]
    secrets = [one for one in own_secrets if len(one) >= _SHORTEST_SECRET]
    refused = ""
    for part, text in parts.items():
        if has_secret(text) or _SECRET.search(text) or any(one in text for one in secrets):
            refused = f"A secret stands in the {part}: store it in Braze and name it in the tag, then share."
    for _, name, value in values:
        text = _of_text(value)
        if _SECRET_NAME.search(name) or _SECRET.search(text) or any(one in text for one in secrets):
            refused = f"The value of {name} may be a secret: take it out, then share."
    personal = [
        [kind, name]
        for kind, name, value in values
        if _PERSONAL_NAME.search(name) or _PERSONAL.search(_of_text(value))
    ]
    return {"refused": refused, "personal": personal}


def _of_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_BODY_BYTES = 512 * 1024
_SKU_CHARACTERS = 200
# Inline styles and https images are the e-mail's, whose frame inherits this policy besides its own; scripts are
# this page's file only, and the frame is sandboxed without any.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' https: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def preview_page(
    app: Flask, settings: Settings, spawn: Spawn, products: Callable[[str], list[dict[str, Any]]]
) -> Blueprint:
    """Return the page and its endpoints.

    ``app`` is what a template's calls are made to; ``products`` lists some that it knows, like a text, without any
    call.
    """
    page = Blueprint(
        "preview",
        __name__,
        url_prefix="/preview",
        static_folder="static",
        static_url_path="/static",
        template_folder="templates",
    )

    @page.after_request
    def guard(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @page.get("", strict_slashes=False)
    def show() -> Response:
        return Response(render_template("preview.html"), mimetype="text/html")

    @page.get("/ready")
    def ready() -> Response:
        """Return what the page starts from: ready templates, with the address Braze reaches this proxy by."""
        host = _host()
        templates = [
            asdict(one) | {"body": one.template().replace(HOST, host), "thumbnail": _thumbnail(one)}
            for one in READY_TEMPLATES
        ]
        return jsonify(templates=templates, own=_thumbnail(None), host=host, host_is_example=host == HOST)

    @page.get("/products")
    def known() -> Response:
        """Return products to preview with; with ``like`` those whose SKU holds it."""
        return jsonify(products=products(request.args.get("like", "")[:_SKU_CHARACTERS].strip()))

    @page.post("/tag")
    def tag() -> Response:
        """Return the tag and the block for the choices made, or what is wrong with which of them.

        With a ``body`` return it with its tag changed, null where the builder steps back.
        """
        given = _json()
        filters = given.get("filters", {})
        if not isinstance(filters, dict):
            raise BadRequest("filters must be an object of parameters and their values")
        texts = ("kind", "source", "sku", "credential", "fallback", "fallback_text", "display_locale")
        choices = Choices(
            channel=_channel(given),
            host=_host(),
            filters={name: _text(filters, name) for name in filters},
            **{name: _text(given, name) for name in texts if name in given},
        )
        try:
            if "body" in given:
                return jsonify(body=rewritten(_text(given, "body"), choices))
            built = build(choices)
        except BadChoices as error:
            return jsonify(mistakes=error.mistakes)
        return jsonify(tag=built.tag, block=built.block)

    @page.post("/render")
    def rendered() -> Response:
        """Return the message, its calls and mistakes, what the builder reads in it, and whether it may be shared."""
        given = _json()
        known = caller(request.environ, settings.credentials)
        if known is None:
            abort(401)  # the app's own check comes first; this keeps a change there from opening the preview
        try:
            previewed = profile(given.get("data", {}))
        except BadProfile as error:
            raise BadRequest(str(error)) from error
        texts = {name: _text(given, name) for name in ("body", "title", "preheader")}
        message = Message(_channel(given), **texts, profile=previewed)
        transport = InProcessTransport(app, (request.host,), spawn)
        host = _host()
        shown = preview(message, transport, known, host).shown(message.channel)
        shown["builder"] = read(message.body, host, message.channel).shown()
        shown["sharing"] = shareable(message, settings.secrets)
        return jsonify(shown)

    return page


@cache
def _thumbnail(ready: ReadyTemplate | None) -> dict[str, Any]:
    """Return how a template looks, from made-up answers; None is the builder's own block."""
    if ready:
        message = Message(ready.channel, ready.template(), ready.title, profile(dict(ready.data)))
    else:
        built = build(Choices(Channel.EMAIL, HOST, sku="item_sku"))
        given = profile({"event_properties": {"item_sku": "A"}})
        message = Message(Channel.EMAIL, built.tag + built.block, profile=given)
    full = preview(message, CannedTransport("full"), Credential("preview", "none"))
    shown = {"title": full.title, "body": full.body}
    return shown | {"frame": in_frame(full.body)} if message.channel.is_html else shown


def _json() -> dict[str, Any]:
    # Only JSON: another site's page can't send that without asking first, which nothing here allows.
    if request.mimetype != "application/json":
        abort(415, "send application/json")
    body = request.stream.read(_BODY_BYTES + 1)
    if len(body) > _BODY_BYTES:
        abort(413)
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON, or is nested too deeply") from None
    if not isinstance(given, dict):
        raise BadRequest("send a JSON object")
    return given


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be text")
    return value


def _channel(given: Mapping[str, Any]) -> Channel:
    try:
        return Channel(_text(given, "channel"))
    except ValueError:
        raise BadRequest(f"channel takes {', '.join(Channel)}") from None


def _host() -> str:
    """Return the address to write into tags: the one this page was called by, unless Braze could not call it."""
    name = request.host.rpartition(":")[0] or request.host
    with suppress(ValueError):
        if not ipaddress.ip_address(name.strip("[]")).is_global:
            return HOST
    return HOST if name == "localhost" or request.host != name else f"https://{request.host}"
