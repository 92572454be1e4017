"""``/preview``: one page, and the JSON endpoints it is made of."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from flask import Blueprint, Flask, Response, abort, jsonify, render_template, request
from werkzeug.exceptions import BadRequest

from proxy.middleware.callers import caller
from proxy.preview.braze import Channel
from proxy.preview.builder import HOST, BadChoices, Choices, build
from proxy.preview.message import BadProfile, Message, in_frame, preview, profile
from proxy.preview.people import CannedTransport
from proxy.preview.ready import READY_TEMPLATES, ReadyTemplate
from proxy.preview.sharing import shareable
from proxy.preview.tag_editor import read, rewritten
from proxy.preview.transport import InProcessTransport, Spawn
from proxy.settings import Credential, Settings

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
            {
                "name": one.name,
                "label": one.label,
                "about": one.about,
                "channel": one.channel.value,
                "title": one.title,
                "preheader": one.preheader,
                "body": one.template().replace(HOST, host),
                "data": one.data,
                "thumbnail": _thumbnail(one),
            }
            for one in READY_TEMPLATES
        ]
        return jsonify(templates=templates, own=_own_thumbnail(), host=host, host_is_example=host == HOST)

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
        shown = preview(message, transport, known).shown(message.channel)
        shown["builder"] = read(message.body, _host(), message.channel).shown()
        shown["sharing"] = shareable(message, settings.secrets)
        return jsonify(shown)

    return page


@cache
def _thumbnail(ready: ReadyTemplate) -> dict[str, Any]:
    """Return how a template looks, from made-up answers."""
    return _looks(Message(ready.channel, ready.template(), ready.title, profile(dict(ready.data))))


@cache
def _own_thumbnail() -> dict[str, Any]:
    """Return how the builder's own block looks."""
    built = build(Choices(Channel.EMAIL, HOST, sku="item_sku"))
    return _looks(
        Message(Channel.EMAIL, built.tag + built.block, profile=profile({"event_properties": {"item_sku": "A"}}))
    )


def _looks(message: Message) -> dict[str, Any]:
    full = preview(message, CannedTransport("full"), Credential("preview", "none"))
    return {"title": full.title, "body": full.body} | (
        {"frame": in_frame(full.body)} if message.channel.is_html else {}
    )


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
    if name == "localhost" or _is_private(name) or request.host != name:
        return HOST
    return f"https://{request.host}"


def _is_private(name: str) -> bool:
    try:
        return not ipaddress.ip_address(name.strip("[]")).is_global
    except ValueError:
        return False
