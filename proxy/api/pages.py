"""What a person or a machine sees of the proxy itself, besides what it is for.

``/`` says what this is, ``/docs`` is the document to read, ``/status`` what goes on now; ``/healthz`` and ``/readyz``
are for load balancers, ``/metrics`` for Prometheus.

``/docs`` shows each address with a command, an answer and what is in it. ``/status`` is JSON too, and a page that a
person can read at night.
"""

from __future__ import annotations

import json
import secrets
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, abort, current_app, jsonify, render_template, request

from proxy.api import problem
from proxy.api.schemas import SCHEMAS, Alive, Plan, Readiness
from proxy.cache import BackendDown, Tiered
from proxy.cache.backend import Use
from proxy.settings import Settings
from proxy.sync import Sync
from proxy.sync.feed import ShopState
from proxy.telemetry.metrics import MINUTES, MOST_ERRORS, Snapshot, Workers
from proxy.trustpilot.circuit_breaker import CircuitBreaker
from proxy.trustpilot.quota import PlanUse, Quota

Json = dict[str, Any]
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def wants_page() -> bool:
    """Tell whether the caller is a browser: it would rather have HTML than JSON."""
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def rendered(template: str, **values: Any) -> Response:
    """Return a page whose own scripts and styles run, and nothing else."""
    nonce = secrets.token_urlsafe(16)
    values |= {"version": version("connected-content-proxy"), "has_preview": "preview" in current_app.blueprints}
    page = render_template(template, nonce=nonce, **values)
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' https: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Vary"] = "Accept"
    return response


def home_page(settings: Settings) -> Blueprint:
    """Return ``/``: what this is, with a live answer and links. Who is no browser gets the 404 of any other path."""
    endpoints = Blueprint("home", __name__, template_folder="templates")
    # Asking costs Trustpilot's plan a call, so nothing is asked by itself but of a stand-in.
    sample = "" if settings.api_url == Settings.api_url else "TRUCK-01"

    @endpoints.get("/")
    def home() -> Response:
        if not wants_page():
            abort(404)
        return rendered("home.html", sample=sample)

    return endpoints


EXAMPLES: Json = json.loads((files(__package__) / "examples.json").read_text("utf-8"))
"""Real answers by path, recorded from the sandbox's sample reviews by ``python -m tools.examples``."""


@dataclass(frozen=True)
class Field:
    """A key of an answer: its place in it, what it is, and what it means."""

    name: str
    kind: str
    meaning: str


def register_docs(endpoints: Blueprint, document: Json) -> None:
    """Add the page."""
    schemas = document["components"]["schemas"]
    operations = [
        _operation(method, path, operation, operations.get("parameters", []), schemas)
        for path, operations in document["paths"].items()
        for method in ("get", "post")
        if (operation := operations.get(method))
    ]

    @endpoints.get("/docs")
    def docs() -> Response:
        host = request.host_url.rstrip("/")
        return rendered("docs.html", about=document["info"]["description"], operations=operations, host=host)


def _operation(method: str, path: str, operation: Json, shared: list[Json], schemas: Json) -> Json:
    given = [*shared, *operation.get("parameters", [])]
    succeeded = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    schemas_of = [shown["schema"] for answer in succeeded for shown in answer.get("content", {}).values()]
    return {
        "method": method.upper(),
        "path": path,
        "anchor": f"{method}-{path.strip('/').replace('/', '-').replace('{bu}', 'bu') or 'start'}",
        "summary": operation["summary"],
        "requires": operation.get("x-requires"),
        "parameters": [{**one, "takes": takes(one["schema"])} for one in given],
        "command": _command(method, path, given),
        "example": EXAMPLES.get(path) if method == "get" else None,
        "fields": list(_fields(schemas_of[0], schemas, "")) if schemas_of else [],
        "responses": operation["responses"],
        "tried": method == "get" and path.startswith("/v1/"),
    }


def _command(method: str, path: str, given: list[Json]) -> str:
    """Return the rest of a curl line, after the credential; ``HOST`` stands for the address."""
    for one in given:
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", one["schema"]["enum"][0])
    asked = "&".join(f"{one['name']}={one['example']}" for one in given if one.get("required") and "example" in one)
    url = "HOST" + path + (f"?{asked}" if asked else "")
    return f"-X POST {shlex.quote(url)}" if method == "post" else shlex.quote(url) if asked else url


def fields_of(schema: str) -> list[Field]:
    """Return the keys of the answers that a schema of the document describes."""
    return list(_fields(SCHEMAS[schema], SCHEMAS, ""))


def _fields(schema: Json, schemas: Json, path: str) -> Iterator[Field]:
    schema = _resolved(schema, schemas)
    if schema.get("type") == "array":
        yield from _fields(schema["items"], schemas, f"{path}[]")
    for name, inner in schema.get("properties", {}).items():
        whole = f"{path}.{name}".lstrip(".")
        yield Field(whole, _kind(inner, schemas), inner.get("description", ""))
        for one in inner.get("anyOf", [inner]):
            yield from _fields(one, schemas, whole)


def _resolved(schema: Json, schemas: Json) -> Json:
    return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _kind(schema: Json, schemas: Json) -> str:
    schema = _resolved(schema, schemas)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one, schemas) for one in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "const" in schema:
        return json.dumps(schema["const"])
    kind = schema.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def takes(schema: Json) -> str:
    """Return in words what a parameter of that schema takes."""
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema["type"] in ("integer", "number"):
        return f"{schema['minimum']} to {schema['maximum']}"
    return "text"


_NEARLY = 0.8
"""Of a window: from here on copies are not refreshed any more."""


def status_page(
    settings: Settings,
    workers: Workers,
    quota: Quota,
    store: Tiered,
    sync: Sync | None,
    is_draining: Callable[[], bool],
) -> Blueprint:
    """Return the endpoint."""
    endpoints = Blueprint("status", __name__)

    def report() -> Json:
        running, ended = workers.snapshots()
        now = time.time()
        plan = plan_shown(quota.plan_use())
        days = plan and plan["days_until_used_up"]
        everything: Json = {
            "version": version("connected-content-proxy"),
            "now": _iso(now),
            "trustpilot": _trustpilot(running),
            "calls": [_window(use) for use in quota.uses()],
            "plan": plan and {**plan, "days_until_used_up": days and round(days)},
            "sync": {
                "mode": settings.sync,
                "fresh_seconds": settings.fresh_seconds,
                "fresh_seconds_now": round(store.lifetimes.fresh_now),
                "feeds": _feeds(sync, now) if sync else [],
            },
            "last_hour": _last_hour([*running, *ended], now),
            # A worker of an earlier version, which ends soon, has no copies to tell of.
            "cache": _copies([one["levels"]["copies"] for one in running if "copies" in one["levels"]]),
            "store": {"kind": settings.cache_url.partition(":")[0], "reachable": store.backend.is_reachable()},
            "workers": {
                "expected": settings.workers,
                "running": [
                    {"pid": one["pid"], "since": _iso(one["started"])}
                    for one in sorted(running, key=lambda one: one["started"])
                ],
            },
            "errors": _errors([*running, *ended]),
            "settings": settings.shown(),
            "draining": is_draining(),
        }
        warnings = warnings_of(everything, now)
        return {"state": "attention" if warnings else "well", "notices": warnings, **everything}

    @endpoints.get("/status")
    def status() -> Response:
        if wants_page():
            return rendered("status.html", status=report(), moment=_moment, span=span)
        text = json.dumps(report(), ensure_ascii=False)
        return Response(
            text, content_type="application/json", headers={"Cache-Control": "no-store", "Vary": "Accept"}
        )

    return endpoints


def _copies(of_workers: list[Json]) -> Json:
    """Return what is cached and how old it is, in the memory of all workers."""
    counted = {
        name: sum(copies[name] for copies in of_workers) for name in ("fresh", "stale", "gone", "bytes", "sum")
    }
    entries = counted["fresh"] + counted["stale"] + counted["gone"]
    ages = {
        "average_age_seconds": round(counted.pop("sum") / entries) if entries else None,
        "oldest_age_seconds": round(max(copies["oldest"] for copies in of_workers)) if entries else None,
    }
    return {"entries": entries, **counted, **ages}


def _trustpilot(running: list[Snapshot]) -> Json:
    """Return whether calls are made. Each worker finds out for itself; the one that paused first speaks."""
    paused = [(one["paused_since"], one["levels"]) for one in running if one["paused_since"] is not None]
    since, levels = min(paused, key=lambda pair: pair[0], default=(None, {}))
    [pause, *_] = levels.get("pauses") or [{}]
    return {
        "state": "answering" if since is None else "paused",
        "since": None if since is None else _iso(since),
        **{name: pause.get(name) for name in ("reason", "next_try_seconds", "business_unit")},
    }


def _window(use: Use) -> Json:
    free = use.window.calls - use.used
    return {
        "window": use.window.name,
        "used": use.used,
        "limit": use.window.calls,
        "room_in_seconds": round(use.frees_in) if free <= 0 else 0,
    }


def _feeds(sync: Sync, now: float) -> list[Json]:
    with suppress(BackendDown):
        return [_feed(unit, state, sync.progress(unit)[0], now) for unit, state in sync.states().items()]
    return []


def _feed(unit: str, state: ShopState, reviews_read: int, now: float) -> Json:
    return {
        "business_unit": unit,
        "read_at": _iso(state.confirmed_at) if state.confirmed_at else None,
        "left_alone_seconds": max(0, round(state.unreadable_until - now)),
        "has_all_reviews": state.is_backfilled,
        "reviews_read": reviews_read,
        "reviews": state.reviews,
    }


def _last_hour(snapshots: list[Snapshot], now: float) -> Json:
    oldest = int(now // 60) - MINUTES
    counts: Counter[str] = Counter()
    for snapshot in snapshots:
        for minute, counted in snapshot["minutes"].items():
            if int(minute) > oldest:
                counts.update(counted)
    calls = {what.removeprefix("call "): count for what, count in sorted(counts.items()) if what.startswith("call ")}
    return {"reads": {state: counts[state] for state in ("hit", "stale", "miss", "failed")}, "calls": calls}


def _errors(snapshots: list[Snapshot]) -> list[Json]:
    """Return the last errors, newest first: what the proxy failed before what it refused."""
    failures = sorted((failure for snapshot in snapshots for failure in snapshot["failures"]), reverse=True)
    failed = [failure for failure in failures if failure.status >= 500][:MOST_ERRORS]
    refused = [failure for failure in failures if failure.status < 500][: MOST_ERRORS - len(failed)]
    return [{**failure._asdict(), "at": _iso(failure.at)} for failure in sorted([*failed, *refused], reverse=True)]


def warnings_of(report: Json, now: float) -> list[str]:
    """Return a sentence for each thing that somebody should know."""
    warnings = []
    if report["draining"]:
        warnings.append("The proxy is stopping; it finishes what is under way.")
    trustpilot = report["trustpilot"]
    if trustpilot["state"] == "paused":
        whose = f" for business unit {trustpilot['business_unit']}" if trustpilot["business_unit"] else ""
        lasting = span(now - _read(trustpilot["since"]))
        reason = f" {trustpilot['reason']}." if trustpilot["reason"] else ""
        tried = trustpilot["next_try_seconds"]
        warnings.append(
            f"Calls to Trustpilot are paused{whose} for {lasting} now:{reason} Copies are answered meanwhile."
            + (f" The next try is in {span(tried)}." if tried else " The next try is under way or due.")
        )
    for window in report["calls"]:
        used = f"{window['used']:,} of {window['limit']:,} calls of the {window['window']}"
        if window["used"] >= window["limit"]:
            warnings.append(
                f"The quota is used up: {used}. There is room again in {span(window['room_in_seconds'])}."
            )
        elif window["used"] >= _NEARLY * window["limit"]:
            warnings.append(
                f"The quota is nearly used up: {used}. Copies are not refreshed; the rest is for new products."
            )
    warnings += _of_the_plan(report)
    warnings += [
        f"The feed of business unit {feed['business_unit']} can't be read, or is not newest first. Its products are "
        f"confirmed by their counts meanwhile. The next try is in {span(feed['left_alone_seconds'])}."
        for feed in report["sync"]["feeds"]
        if feed["left_alone_seconds"]
    ]
    if not report["store"]["reachable"]:
        warnings.append(
            "The store can't be reached. Each worker answers from its own memory; invitations are refused."
        )
    missing = report["workers"]["expected"] - len(report["workers"]["running"])
    if missing > 0:
        warnings.append(f"{missing} of {report['workers']['expected']} workers do not report.")
    recent = sum(error["status"] >= 500 and now - _read(error["at"]) < 300 for error in report["errors"])
    if recent:
        warnings.append(f"In the last 5 minutes at least {recent} answers were errors of status 5xx; they are below.")
    return warnings


def _of_the_plan(report: Json) -> list[str]:
    plan, sync = report["plan"], report["sync"]
    warnings = []
    if plan and plan["used"] >= plan["limit"]:
        warnings.append(
            f"The plan's {plan['limit']:,} calls of the year are used up. Only products without a copy are asked for."
        )
    if sync["fresh_seconds_now"] > sync["fresh_seconds"]:
        warnings.append(
            f"The plan has too few calls for the freshness that is set: copies are fresh for "
            f"{span(sync['fresh_seconds_now'])} in place of {span(sync['fresh_seconds'])}."
        )
    return warnings


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _read(written: str) -> float:
    return datetime.fromisoformat(written).timestamp()


def _moment(written: str) -> str:
    return datetime.fromisoformat(written).strftime("%H:%M:%S")


def span(seconds: float) -> str:
    """Return a length of time in words: ``40 seconds``, ``5 minutes``, ``3 hours``, ``12 days``."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}s"
    return "1 second" if seconds < 1.5 else f"{seconds:.0f} seconds"


def health(
    store: Tiered, quota: Quota, breaker: CircuitBreaker, sync: Sync | None, is_draining: Callable[[], bool]
) -> Blueprint:
    """Return the two endpoints that are open to everyone. ``is_draining``: the proxy was told to stop.

    ``/healthz``: the process answers. ``/readyz``: it is configured and its store can be reached.
    """
    endpoints = Blueprint("health", __name__)

    @endpoints.get("/healthz")
    def alive() -> Response:
        return jsonify(Alive(status="alive"))

    @endpoints.get("/readyz")
    def ready() -> Response:
        if is_draining():
            return problem(503, "the proxy is stopping; it finishes what is under way")
        if not store.backend.is_reachable():
            return problem(503, "the store can't be reached; answers come from this worker's memory meanwhile")
        found: Readiness = {
            "status": "ready",
            "trustpilot": "paused" if breaker.is_open else "calling",
            "calls": {use.window.name: {"used": use.used, "limit": use.window.calls} for use in quota.uses()},
            "plan": plan_shown(quota.plan_use()),
            "fresh_seconds": round(store.lifetimes.fresh_now),
            "sync": sync.counts() if sync else None,
        }
        return jsonify(found)

    return endpoints


def plan_shown(use: PlanUse | None) -> Plan | None:
    """Return how much of the year's calls is used, ``None`` where they are unlimited."""
    return (
        None
        if use is None
        else Plan(
            limit=use.limit,
            used=use.used,
            today=use.today,
            share_of_today=use.share,
            days_until_used_up=use.days_until_used_up,
        )
    )


def metrics_text(text: Callable[[], bytes], sample: Callable[[], None]) -> Blueprint:
    """Return what Prometheus collects; ``text`` makes its body, once ``sample`` has set the gauges."""
    endpoints = Blueprint("metrics", __name__)

    @endpoints.get("/metrics")
    def shown() -> Response:
        sample()
        return Response(text(), content_type=METRICS_TYPE, headers={"Cache-Control": "no-store"})

    return endpoints
