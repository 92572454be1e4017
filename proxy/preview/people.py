"""Where a preview's calls go: for the message itself to this proxy, for the five people to answers made here."""

from __future__ import annotations

import gzip
import json
import re
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from contextvars import Context
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from importlib.resources import files
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit
from wsgiref.types import WSGIApplication

from msgspec import structs, to_builtins
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from proxy.api import parameters
from proxy.api.parameters import BadParameter, Query
from proxy.clock import TRIES_OUT, Spawn
from proxy.middleware import IN_PROCESS
from proxy.preview.braze import BodyTooLargeError, NoAnswerInTimeError, Profile, RefusedError, Request, Response
from proxy.reviews import models
from proxy.reviews.answers import Block, BusinessAnswer
from proxy.reviews.business import Business
from proxy.reviews.fragment import fragment
from proxy.reviews.models import Attachment, Comment, Consumer, File, Review, ServiceReview, Shop, Source
from proxy.reviews.view import NOTHING, Summary, View, product_block, trimmed_summary

T = TypeVar("T")

_ATTRIBUTE = re.compile(r"(?<![\w.])\$\{\s*([^{}]+?)\s*\}")
_NAMESPACED = re.compile(
    r"\b(custom_attribute|event_properties|api_trigger_properties|canvas_entry_properties|context)\.\$\{\s*([^{}]+?)\s*\}"
)
_FIELDS = {"custom_attribute": "custom_attributes", "context": "canvas_entry_properties"}
_DATA = tomllib.loads((files(__package__) / "people.toml").read_text("utf-8"))
_SAMPLES = _DATA["samples"]
_PHOTO = Attachment(processed_files=[File(mime_type="image/jpeg", url="https://shop.example.com/photo.jpg")])
_WHOLE = [
    Review(
        id=f"{number:024x}",
        created_at=f"2026-10-{14 - number}T17:42:40Z",
        stars=stars,
        content=text,
        consumer=Consumer(id="1", display_name=author),
        language="en",
        attribute_ratings=[models.Rating(attribute_name="Value for money", rating=4.0)],
        attachments=[_PHOTO],
        first_company_comment=Comment(comment="Thank you, we’re glad you like it!"),
    )
    for number, (stars, author, text) in enumerate(_DATA["reviews"])
]
_NOTHING_MORE = {"created_at": None, "consumer": None, "language": None, "first_company_comment": None}
_WITH_GAPS = [structs.replace(review, **_NOTHING_MORE, attribute_ratings=[], attachments=[]) for review in _WHOLE]
_WITH_GAPS[1] = structs.replace(_WITH_GAPS[1], content=None)
_COUNTED = Summary(4.3, 153, (13, 4, 9, 31, 96))


@dataclass(frozen=True)
class Recipient:
    """One of the five: what is set for them, and how the proxy answers."""

    name: str
    label: str
    about: str
    is_known: bool = True
    answer: str = "full"


RECIPIENTS = tuple(Recipient(**one) for one in _DATA["people"])


def profile_of(recipient: Recipient, given: Profile, templates: Sequence[str]) -> Profile:
    """Return the profile of one of the five: ``given`` with what ``templates`` read filled in, or nothing at all."""
    if not recipient.is_known:
        return Profile()
    groups: dict[str, dict[str, object]] = {}
    for template in templates:
        for name in _ATTRIBUTE.findall(template):
            groups.setdefault("attributes", {})[name] = _sample(name)
        for space, name in _NAMESPACED.findall(template):
            groups.setdefault(_FIELDS.get(space, space), {})[name] = _sample(name)
    filled = {
        field: {**values, **{name: value for name, value in getattr(given, field).items() if value not in ("", None)}}
        for field, values in groups.items()
    }
    return replace(given, **filled)


def _sample(name: str) -> object:
    if name in _SAMPLES:
        return _SAMPLES[name]
    plain = name.lower()
    if re.search(r"skus|items|products|cart$", plain):
        return ["TRUCK-01", "BLENDER-450"]
    if "sku" in plain or plain.endswith("id"):
        return "TRUCK-01"
    if re.search(r"link|url|image|picture|photo", plain):
        return "https://shop.example.com/1"
    return 3 if re.search(r"count|price|total|amount|number|quantity", plain) else name.replace("_", " ")


@dataclass(frozen=True)
class CannedTransport:
    """Answers a template's calls as the proxy would for one of the five; asks nobody."""

    answer: str

    def send(self, request: Request) -> Response:
        parts = urlsplit(request.url)
        if request.method != "GET" or not parts.path.startswith("/v1/"):
            raise RefusedError("not sent from a preview")
        path, query = parts.path, Query.parse(parts.query.encode())
        if path == "/v1/business":
            return self._answered(query, self._business(_asked(parameters.business_view, query)))
        if "/product-reviews/business-units/" in path:
            return self._as_trustpilot(path, query)
        given = ",".join(value for name in ("skus", "sku", "product_url") for value in query.given.get(name, ()))
        skus = [sku for sku in given.split(",") if sku.strip()]
        if not skus:
            name = "skus" if path == "/v1/products" else "sku"
            detail = "an empty SKU: the Liquid variable rendered to nothing; takes a SKU such as TRUCK-01"
            return _problem(400, f"{name} is '': {detail}")
        asked = _asked(parameters.view, query)
        match path:
            case "/v1/fragment":
                return self._fragment(skus[0], query)
            case "/v1/summary":
                summary = trimmed_summary(self._counted, asked.display, self)
                return self._answered(query, {"sku": ",".join(skus), "found": bool(summary["total"]), **summary})
            case "/v1/products":
                blocks = [self._block(sku, asked) for sku in skus[: parameters.MOST_SKUS]]
                found = any(block["found"] for block in blocks)
                return self._answered(query, {"found": found, "count": len(blocks), "products": blocks})
            case "/v1/reviews":
                return self._answered(query, self._block(",".join(skus), asked))
        return _problem(404, "there is nothing at this address")

    def _answered(self, query: Query, body: Mapping[str, Any]) -> Response:
        if self.answer == "down":
            if query.given.get("on_error") != ["empty"]:
                return _problem(503, "Trustpilot is failing")
            error = {"error": "Trustpilot is failing"}
            body = {**body, "found": False, "count": 0, **error}
            if "products" in body:
                body["products"] = [{**block, **error} for block in body["products"]]
        return _json(200, body)

    def _fragment(self, sku: str, query: Query) -> Response:
        asked = replace(_asked(parameters.view, query), html=False)
        as_text = _asked(lambda one: one.one(parameters.CHANNEL), query)
        style = _asked(lambda one: one.one(parameters.STYLE), query)
        is_shown = self.answer not in ("down", "empty")
        shown = fragment(self._block(sku, asked), asked, style, as_text=as_text)
        kind = f"text/{'plain' if as_text and is_shown else 'html'}; charset=utf-8"
        return Response(200, {"Content-Type": kind}, shown.encode() if is_shown else b"")

    def stars_image(self, stars: float) -> str | None:
        """Return none: a picture would be fetched by whoever looks at the preview."""
        return None

    def shop_page(self, business_unit: str) -> str | None:
        return "https://www.trustpilot.com/review/shop.example" if self.answer == "full" else None

    @property
    def _counted(self) -> Summary:
        return NOTHING if self.answer in ("empty", "down") else _COUNTED

    def _block(self, sku: str, asked: View) -> Block:
        shown: list[tuple[Review, Source]] = [(review, "trustpilot") for review in self._reviews(asked)]
        summary = None if self.answer == "nulls" else self._counted
        return product_block(sku, summary, shown, asked, self, "")

    def _reviews(self, asked: View) -> list[Review]:
        if self.answer in ("empty", "down"):
            return []
        reviews = _WITH_GAPS if self.answer == "nulls" else _WHOLE
        shown = [one for one in reviews if one.stars in asked.stars and len(one.content or "") >= asked.min_chars]
        return shown[: asked.limit]

    def _business(self, asked: View) -> BusinessAnswer:
        counted = self._counted
        shop = Shop("Shop", "", counted.average, None, [counted.total, *counted.stars])
        reviews = [ServiceReview(**structs.asdict(review)) for review in self._reviews(asked)]
        return Business("", asked, shop, reviews, [], whole=True).answer(self)

    def _as_trustpilot(self, path: str, query: Query) -> Response:
        if self.answer == "down":
            return _problem(503, "Trustpilot is failing")
        if not path.endswith("/reviews"):
            return _json(200, self._counted.in_trustpilots_shape())
        stars, (_, limit) = _asked(parameters.filters, query)[0], _asked(parameters.paging, query)
        reviews = self._reviews(View(stars=stars, limit=limit))
        return _json(200, {"productReviews": to_builtins(reviews), "links": []})


def _asked(read: Callable[[Query], T], query: Query) -> T:
    """Return what ``query`` asks for, or what is usual where it asks wrongly: the real call tells of that."""
    try:
        return read(query)
    except BadParameter:
        return read(Query({}))


def _json(status: int, body: Mapping[str, Any], kind: str = "application/json") -> Response:
    return Response(status, {"Content-Type": kind}, json.dumps(body).encode())


def _problem(status: int, detail: str) -> Response:
    return _json(
        status, {"title": "", "status": status, "detail": detail, "found": False}, "application/problem+json"
    )


# ---- The real calls

PUBLIC_NAMES = ("reviews.example.com", "api.trustpilot.com", "invitations-api.trustpilot.com")
"""Stand for this proxy in any preview: the documentation's name, and the hosts of tags about to be moved over."""

_TOKEN = "/v1/oauth/oauth-business-users-for-applications/accesstoken"  # noqa: S105  # an address
_ALL_CALLS_SECONDS = 15.0
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class InProcessTransport:
    """Sends a template's calls to ``app``.

    ``names`` are the hosts (``host`` or ``host:port``) that stand for this proxy. ``spawn`` runs a job beside
    the caller. All calls of one preview together have 15 seconds. What fails counts nowhere: the live proxy's breaker
    stays closed and its cache as it was; and it is asked for once, however often a tag's ``:retry`` asks.
    """

    app: WSGIApplication
    names: Iterable[str]
    spawn: Spawn
    until: float = field(default_factory=lambda: time.monotonic() + _ALL_CALLS_SECONDS)
    _failed: dict[str, Response] = field(default_factory=dict)

    def send(self, request: Request) -> Response:
        parts = urlsplit(request.url)
        self._check_host(parts)
        _check_call(request.method, parts.path)
        if request.method == "GET" and request.url in self._failed:
            # Braze would ask again; asking Trustpilot again and again is no preview's business.
            return self._failed[request.url]
        left = self.until - time.monotonic()
        if left <= 0:
            raise RefusedError(f"the preview's {_ALL_CALLS_SECONDS:g} seconds for all calls are used up")
        answer: Future[Response] = Future()

        def job() -> None:
            try:
                # In an empty context: Flask before 3.1.2 takes the asking request's for this call's own.
                answer.set_result(Context().run(self._answered, request, parts))
            except Exception as error:  # noqa: BLE001  # handed to the caller, who raises it
                answer.set_exception(error)

        # Beside the caller and not in it: the app must not take this call for a part of the request that asked.
        self.spawn(job)
        try:
            response = answer.result(min(left, request.timeout_seconds))
        except TooLate as error:
            raise NoAnswerInTimeError("the proxy did not answer in time") from error
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._failed[request.url] = response
        if len(response.body) > request.max_body_bytes:
            raise BodyTooLargeError("the answer is too large")
        return response

    def _answered(self, request: Request, parts: SplitResult) -> Response:
        TRIES_OUT.set(True)
        builder = EnvironBuilder(
            method=request.method,
            path=parts.path,
            query_string=parts.query,
            base_url=f"{parts.scheme}://{parts.netloc}/",
            headers=Headers(list(request.headers.items())),
            data=request.body,
            environ_overrides={IN_PROCESS: True},
        )
        try:
            chunks, status, headers = run_wsgi_app(self.app, builder.get_environ(), buffered=True)
        finally:
            builder.close()
        body = b"".join(chunks)
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        return Response(int(status.partition(" ")[0]), dict(headers), body)

    def _check_host(self, parts: SplitResult) -> None:
        own = {_address(urlsplit(f"{parts.scheme}://{name}")) for name in (*self.names, *PUBLIC_NAMES)}
        if _address(parts) not in own:
            raise RefusedError(
                f"a preview calls this proxy only, and {parts.netloc} is not its name. "
                f"In place of the proxy's own name a tag may also have {' or '.join(PUBLIC_NAMES[:2])}"
            )


def _address(parts: SplitResult) -> tuple[str, int | None]:
    return parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)


def _check_call(method: str, path: str) -> None:
    """Let through what only reads, and the token a template may ask for."""
    if method == "POST" and path == _TOKEN:
        return
    if method == "POST":
        invites = path == "/v1/invitations" or path.endswith("/email-invitations")
        because = "it would invite a customer" if invites else "a preview only reads"
        raise RefusedError(f"not sent from a preview: {because}")
    if not path.startswith("/v1/"):
        raise RefusedError("a preview calls the proxy's reading addresses only; they start with /v1/")
