"""The endpoints that bring held copies up to date: a purge by hand, and Trustpilot's webhook."""

from __future__ import annotations

from flask import Blueprint, Response, abort, jsonify, request

from proxy.api import parameters
from proxy.api.errors import problem
from proxy.api.parameters import Query
from proxy.reviews import Updates
from proxy.settings import Settings
from proxy.trustpilot.errors import Malformed
from proxy.trustpilot.events import read_events


def updating(updates: Updates, settings: Settings) -> Blueprint:
    """Return the endpoints. Both need a credential: Trustpilot's webhook shows one in its URL or a header."""
    endpoints = Blueprint("updating", __name__)
    units = settings.business_units

    @endpoints.post("/v1/cache/purge")
    def purge() -> Response:
        """Forget products."""
        selection = parameters.selection(Query.parse(request.query_string), units)
        request.get_data()  # empty as a rule; a malformed one is refused before anything is forgotten
        updates.purge(selection.business_unit, selection.skus)
        return jsonify(purged=list(selection.skus))

    @endpoints.post("/hooks/trustpilot")
    def hook() -> Response:
        """Take created, updated and deleted reviews."""
        unit = parameters.business_unit(Query.parse(request.query_string), units)
        if not request.is_json:
            abort(415)
        try:
            events, ignored = read_events(request.get_data())
        except Malformed as error:
            return problem(400, f"{error}; takes Trustpilot's webhook, an object with a list of events")
        updates.apply(unit, events)
        return jsonify(applied=len(events), ignored=ignored)

    return endpoints
