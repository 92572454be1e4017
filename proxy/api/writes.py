"""What is posted: invitations, links and the token, and what brings the cache up to date."""

from __future__ import annotations

import json
import re

from flask import Blueprint, Response, abort, jsonify, request

from proxy.api import STARTED, parameters, problem
from proxy.api.parameters import BadParameter, Query
from proxy.api.schemas import Applied, Link, Purged, Token
from proxy.clock import Deadline, Now
from proxy.invitations import BadInvitation, Invitations, Outcome, is_unrendered, read_link_request, read_object
from proxy.reviews import Updates
from proxy.reviews.models import products_query
from proxy.settings import Settings
from proxy.trustpilot import Malformed
from proxy.trustpilot.changes import read_events
from proxy.trustpilot.private import PATH, Tokens

LARGEST_BODY_BYTES = 256 * 1024
"""An invitation with a hundred products is a tenth of this."""

_LONGEST_KEY = 255
_FIELDS = frozenset({"email", "name", "reference", "sku", "locale", "redirect_url", "business_unit"})


def inviting(invitations: Invitations | None, settings: Settings) -> Blueprint:
    """Return the endpoints that send; without ``invitations`` they say what is not configured."""
    endpoints = Blueprint("inviting", __name__, url_prefix="/v1")
    units = settings.business_units

    @endpoints.post("/invitations")
    def invite() -> Response:
        """Send to the business unit of the query, or the first configured one."""
        return send(parameters.business_unit(Query.parse(request.query_string), units))

    @endpoints.post("/private/business-units/<unit>/email-invitations")
    def drop_in(unit: str) -> Response:
        return send(parameters.configured_unit(unit, units))

    def send(unit: str) -> Response:
        if invitations is None:
            return _not_set_up()
        key = _idempotency_key()
        outcome = invitations.send(unit, _json_body(), key)
        response = Response(outcome.verdict.body, outcome.verdict.status)
        if outcome.verdict.body:
            response.content_type = "application/json"
        else:
            del response.headers["Content-Type"]
        return _finished(response, outcome)

    @endpoints.post("/invitation-links")
    def link() -> Response:
        """Return a link to write a review, for a mail of the shop's own."""
        if invitations is None:
            return _not_set_up()
        given = _link_body()
        asked = parameters.business_unit(Query.parse(request.query_string), units)
        unit = asked if given.get("business_unit") is None else given["business_unit"]
        if unit not in units:
            raise BadInvitation("business_unit: takes a configured business unit")
        wanted = read_link_request(given)
        outcome = invitations.link(
            str(unit), wanted, Deadline.since(request.environ.get(STARTED), settings.deadline_seconds)
        )
        verdict = outcome.verdict
        if not verdict.accepted:
            return problem(
                verdict.status, f"Trustpilot refuses this link with {verdict.status}{_words(verdict.body)}"
            )
        return _finished(jsonify(Link(found=True, url=verdict.body.decode())), outcome)

    return endpoints


def _not_set_up() -> Response:
    # Not a 4xx, so that what Braze sends meanwhile goes out once this is put right; and of the 5xx one that Braze
    # does not count against the host.
    return problem(501, "invitations are not set up: the proxy needs TRUSTPILOT_API_SECRET")


def _finished(response: Response, outcome: Outcome) -> Response:
    response.headers["Cache-Control"] = "no-store"
    if outcome.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _words(refusal: bytes) -> str:
    """Return what Trustpilot says of a refusal, as far as it is text."""
    try:
        message = json.loads(refusal)["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return f": {message[:200]}" if isinstance(message, str) else ""


def handing_out(tokens: Tokens, settings: Settings, now: Now) -> Blueprint:
    """Return the endpoint that hands out the proxy's token in Trustpilot's shape."""
    endpoints = Blueprint("handing_out", __name__, url_prefix="/v1")

    @endpoints.post(PATH)
    def token() -> Response:
        """Trustpilot's own call; the caller's credential stands where key and secret stood."""
        if request.form.get("grant_type", "client_credentials") != "client_credentials":
            raise BadParameter("grant_type", None, "takes client_credentials")
        # A Connected Content tag asks for it while a message renders.
        token = tokens.token(Deadline.after(min(settings.deadline_seconds, settings.upstream_timeout_seconds)))
        left = max(0, int(token.expires_at - now()))
        kind = "BearerToken"
        response = jsonify(Token(access_token=token.text, token_type=kind, expires_in=str(left)))
        response.headers["Cache-Control"] = "no-store"
        return response

    return endpoints


def _json_body() -> bytes:
    if not request.is_json:
        abort(415, "an invitation takes Content-Type: application/json")
    return _body()


def _body() -> bytes:
    body = request.stream.read(LARGEST_BODY_BYTES + 1)
    if len(body) > LARGEST_BODY_BYTES:
        abort(413, f"an invitation takes at most {LARGEST_BODY_BYTES} bytes")
    return body


def _link_body() -> dict[str, object]:
    """Read JSON, or the form that Braze sends where a tag names no type."""
    if request.is_json:
        return read_object(_body())
    if request.mimetype != "application/x-www-form-urlencoded":
        abort(415, "a link takes Content-Type: application/json or application/x-www-form-urlencoded")
    given: dict[str, object] = {}
    for name, values in Query.parse(_body()).given.items():
        # Others are ignored, and never named: a body that was not escaped can make a name of an address.
        if name not in _FIELDS:
            continue
        if any("\ufffd" in value for value in values):
            raise BadInvitation(f"{name}: not valid UTF-8; encode it with | url_param_escape")
        if name != "sku" and len(values) > 1:
            raise BadInvitation(f"{name}: given twice; takes one value")
        given[name] = values if name == "sku" else values[0]
    return given


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    takes = f"takes 1 to {_LONGEST_KEY} printable ASCII characters, its own for each invitation"
    if not key.strip():
        raise BadParameter("Idempotency-Key", None, f"empty: the Liquid variable rendered to nothing; {takes}")
    if is_unrendered(key):
        raise BadParameter("Idempotency-Key", None, f"unrendered Liquid; {takes}")
    if not re.fullmatch(rf"[\x20-\x7e]{{1,{_LONGEST_KEY}}}", key):
        raise BadParameter("Idempotency-Key", None, takes)
    return key.strip()


def updating(changes: Updates, settings: Settings) -> Blueprint:
    """Return the endpoints. Both need a credential: Trustpilot's webhook shows one in its URL or a header."""
    endpoints = Blueprint("updates", __name__)
    units = settings.business_units

    @endpoints.post("/v1/cache/purge")
    def purge() -> Response:
        selection = parameters.selection(Query.parse(request.query_string), units)
        request.get_data()  # empty as a rule; a malformed one is refused before anything is forgotten
        changes.purge(selection.business_unit, selection.skus)
        return jsonify(Purged(purged=[products_query(sku)[1] for sku in selection.skus]))

    @endpoints.post("/hooks/trustpilot")
    def hook() -> Response:
        unit = parameters.business_unit(Query.parse(request.query_string), units)
        if not request.is_json:
            abort(415)
        try:
            events, ignored = read_events(request.get_data())
        except Malformed as error:
            return problem(400, f"{error}; takes Trustpilot's webhook, an object with a list of events")
        changes.apply(unit, events)
        return jsonify(Applied(applied=len(events), ignored=ignored))

    return endpoints
