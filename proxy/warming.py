"""``flask --app wsgi warm``: fetches products before a send, so that its first messages find copies.

The SKUs come from a file as shops export them. A few products are warmed at once, in the store that the proxies share
or through a running proxy; the command waits where the budget asks to, and stops when it is told to.
"""

from __future__ import annotations

import csv
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TextIO, TypeVar

import click
import requests
from flask import current_app
from flask.cli import with_appcontext

from proxy.api.parameters import BadParameter, check_sku
from proxy.cache import DeadlinePassed, FailedElsewhere
from proxy.clock import Deadline
from proxy.reviews import ProductReviews, Selection, Warmed
from proxy.reviews.models import Source
from proxy.reviews.search import Missing
from proxy.settings import Settings
from proxy.terminal import bar, chosen_unit, end_if_stopped, shared_store, stopped_by_signals
from proxy.trustpilot import TrustpilotError
from proxy.trustpilot.errors import Busy, Paused, QuotaUsedUp

_MOST_FAILURES_SHOWN = 20
_THROUGH_INSTEAD = (
    ": set it to the proxies' sqlite:///… or redis://…, or name the one running proxy with --through "
    "http://127.0.0.1:8000"
)


@click.command("warm")
@click.argument("file", type=click.File(encoding="utf-8-sig"))
@click.option("--column", help="the CSV column that holds the SKUs  [default: sku]")
@click.option("--business-unit", help="[default: the first configured]")
@click.option("--through", metavar="URL", help="ask this running proxy, which keeps copies in its own memory")
@with_appcontext
def warm(file: TextIO, column: str | None, business_unit: str | None, through: str | None) -> None:
    """Fetch the products in FILE (- for standard input) before a send.

    FILE has one SKU per line, or is a CSV. What is fresh already is not fetched again, so an interrupted warming goes
    on where it stopped. Fetching keeps to 80 % of the call budget and waits where that is used up.
    """
    settings: Settings = current_app.extensions["proxy"].settings
    unit = chosen_unit(settings, business_unit)
    try:
        skus = read_skus(file, column)
    except NoSuchColumn as error:
        raise click.UsageError(f"{error}; choose one with --column") from error
    if not skus:
        raise click.UsageError("the file holds no SKU")
    bad = _refused(skus)
    good = [sku for sku in skus if sku not in bad]
    if through:
        tally, stopped = _run(good, ThroughProxy(through.rstrip("/"), _reading_secret(settings), unit))
    else:
        with shared_store(_THROUGH_INSTEAD) as proxy:
            sources: tuple[Source, ...] = ("trustpilot", "imported") if settings.imported_reviews else ("trustpilot",)
            tally, stopped = _run(good, IntoStore(proxy.reviews, unit, sources))
    tally.failed.update(bad)
    _summarise(tally, len(skus))
    end_if_stopped(stopped=stopped)
    sys.exit(1 if tally.failed else 0)


def _refused(skus: list[str]) -> dict[str, str]:
    refused = {}
    for sku in skus:
        try:
            check_sku("sku", sku)
        except BadParameter as error:
            refused[sku] = str(error)
    return refused


def _reading_secret(settings: Settings) -> str:
    return next((pair.secret for pair in settings.credentials if "read" in pair.rights), "")


def _run(skus: list[str], source: Warm) -> tuple[Tally, bool]:
    with stopped_by_signals() as stop, bar(" SKUs", total=len(skus)) as shown:
        reported: set[str] = set()

        def waiting(not_yet: NotYet) -> None:
            if str(not_yet) not in reported:
                reported.add(str(not_yet))
                shown.write(f"Waiting {not_yet.seconds:.0f} s: {not_yet}", file=sys.stderr)

        def progressed() -> None:
            reported.clear()
            shown.update()

        return warm_all(skus, source, stop=stop, progressed=progressed, waiting=waiting), stop.is_set()


def _summarise(tally: Tally, total: int) -> None:
    counts = [f"{tally.counts[outcome]} {outcome.value}" for outcome in Warmed]
    left = total - tally.done
    click.echo(", ".join([*counts, f"{len(tally.failed)} failed", *([f"{left} left"] if left else [])]))
    for sku, reason in list(tally.failed.items())[:_MOST_FAILURES_SHOWN]:
        click.echo(f"  {sku}: {reason}")
    if len(tally.failed) > _MOST_FAILURES_SHOWN:
        click.echo(f"  and {len(tally.failed) - _MOST_FAILURES_SHOWN} more")


AT_ONCE = 6
"""Fewer than the refreshes that Trustpilot is asked at once, so that a warming never takes their last place."""


T = TypeVar("T")


class NotYet(Exception):
    """Nothing can be fetched for ``seconds``: the budget is used up, or Trustpilot fails."""

    def __init__(self, reason: str, *, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds


class CouldNot(Exception):
    """This product could not be fetched."""


SUMMARIES_AT_ONCE = 100
"""So many products' pages are fetched, then the summaries that they lack in one call."""


class Warm(Protocol):
    """Warms products: each one's page, and all their summaries together."""

    def page(self, sku: str) -> tuple[Warmed, bool]:
        """Return what the page came to, and whether the summary is to be warmed too.

        Raises :class:`NotYet` or :class:`CouldNot`.
        """

    def summaries(self, skus: Sequence[str]) -> dict[str, Warmed | CouldNot]:
        """Return by SKU what the summaries came to. Raises :class:`NotYet`."""


@dataclass
class Tally:
    """What a warming came to."""

    counts: Counter[Warmed] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by SKU."""

    @property
    def done(self) -> int:
        """How many products were looked after."""
        return self.counts.total() + len(self.failed)


def warm_all(
    skus: Sequence[str],
    warm: Warm,
    *,
    stop: threading.Event,
    progressed: Callable[[], None],
    waiting: Callable[[NotYet], None],
) -> Tally:
    """Warm ``skus`` in their order. Setting ``stop`` ends it after the products under way; nothing fetched is lost.

    ``progressed`` is called after each product, ``waiting`` before each wait; both one at a time.
    """
    tally = Tally()
    lock = threading.Lock()
    lacking: dict[str, Warmed] = {}
    """What the page came to, by SKU, where the summary is to be warmed too."""

    def count(sku: str, outcome: Warmed | CouldNot) -> None:
        if isinstance(outcome, CouldNot):
            tally.failed[sku] = str(outcome)
        else:
            tally.counts[outcome] += 1
        progressed()

    def look_after(sku: str) -> None:
        try:
            warmed = _patiently(partial(warm.page, sku), stop, lock, waiting)
        except CouldNot as error:
            with lock:
                count(sku, error)
            return
        if warmed is None:
            return
        outcome, lacks_summary = warmed
        with lock:
            if lacks_summary:
                lacking[sku] = outcome
            else:
                count(sku, outcome)

    def complete() -> None:
        """Warm the summaries that the pages lack."""
        warmed = _patiently(partial(warm.summaries, list(lacking)), stop, lock, waiting) if lacking else None
        for sku, outcome in (warmed or {}).items():
            count(sku, lacking[sku] if outcome is Warmed.FRESH_ALREADY else outcome)
        lacking.clear()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for first in range(0, len(skus), SUMMARIES_AT_ONCE):
            list(pool.map(look_after, skus[first : first + SUMMARIES_AT_ONCE]))
            complete()
    return tally


def _patiently(
    warm: Callable[[], T], stop: threading.Event, lock: threading.Lock, waiting: Callable[[NotYet], None]
) -> T | None:
    """Call ``warm``, waiting as often as it takes; ``None`` when stopped meanwhile."""
    while not stop.is_set():
        try:
            return warm()
        except NotYet as not_yet:
            with lock:
                waiting(not_yet)
            stop.wait(not_yet.seconds)
    return None


DEFAULT_COLUMN = "sku"


class NoSuchColumn(Exception):
    """A CSV has no column of the name asked for."""


def read_skus(lines: Iterable[str], column: str | None = None) -> list[str]:
    """Return the SKUs in their order, duplicates and empty lines left out.

    The first line may name the columns, separated by commas, semicolons or tabs; ``column`` (by default ``sku``, in
    any case) is the one that is read. A file with one column needs no such line. Raises :class:`NoSuchColumn`.
    """
    text = [line for line in (line.strip("\ufeff\r\n") for line in lines) if line.strip()]
    if not text:
        return []
    delimiter = max(",;\t", key=text[0].count)
    rows = list(csv.reader(text, delimiter=delimiter))
    index, has_header = _index([name.strip() for name in rows[0]], column)
    cells = (row[index].strip() for row in rows[has_header:] if len(row) > index)
    return list(dict.fromkeys(cell for cell in cells if cell))


def _index(header: list[str], column: str | None) -> tuple[int, bool]:
    """Return the place of the column to read, and whether the first line names columns."""
    wanted = (column or DEFAULT_COLUMN).lower()
    names = [name.lower() for name in header]
    if wanted in names:
        return names.index(wanted), True
    if column is None and len(header) == 1:
        return 0, False
    raise NoSuchColumn(f"no column {wanted!r}; the first line has: {', '.join(header)}")


_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class IntoStore:
    """Fetches into the store that the proxies share: from those sources that they read where nobody says which."""

    reviews: ProductReviews
    business_unit: str
    sources: tuple[Source, ...]

    def page(self, sku: str) -> tuple[Warmed, bool]:
        selection = Selection(self.business_unit, (sku,), sources=self.sources)
        try:
            return self.reviews.warm_page(selection, Deadline.after(_PATIENCE_SECONDS))
        except (TrustpilotError, FailedElsewhere, DeadlinePassed) as error:
            raise _said(error) from error

    def summaries(self, skus: Sequence[str]) -> dict[str, Warmed | CouldNot]:
        outcomes = self.reviews.warm_summaries(self.business_unit, skus, Deadline.after(_PATIENCE_SECONDS))
        said = {sku: outcome if isinstance(outcome, Warmed) else _said(outcome) for sku, outcome in outcomes.items()}
        for outcome in said.values():
            if isinstance(outcome, NotYet):
                raise outcome
        return {sku: outcome for sku, outcome in said.items() if not isinstance(outcome, NotYet)}


def _said(missing: Missing) -> NotYet | CouldNot:
    if isinstance(missing, QuotaUsedUp | Paused | Busy):
        return NotYet(str(missing), seconds=1 if isinstance(missing, Busy) else missing.retry_after)
    if isinstance(missing, DeadlinePassed):
        return CouldNot(f"Trustpilot did not answer within {_PATIENCE_SECONDS} s")
    return CouldNot(str(missing))


class ThroughProxy:
    """Asks the proxy at ``url``, showing ``secret``; the proxy sees to the summaries itself."""

    def __init__(self, url: str, secret: str, business_unit: str) -> None:
        self._session = requests.Session()
        self._session.headers["X-Api-Key"] = secret
        self._url = url
        self._business_unit = business_unit

    def summaries(self, skus: Sequence[str]) -> dict[str, Warmed | CouldNot]:
        """Return that nothing is left to do: no page asks for it."""
        return dict.fromkeys(skus, Warmed.FRESH_ALREADY)

    def page(self, sku: str) -> tuple[Warmed, bool]:
        params = {"sku": sku, "business_unit": self._business_unit}
        try:
            # A redirect would take the secret elsewhere.
            answer = self._session.get(
                f"{self._url}/v1/reviews", params=params, timeout=_PATIENCE_SECONDS, allow_redirects=False
            )
        except requests.RequestException as error:
            raise CouldNot(f"the proxy at {self._url} can't be reached") from error
        try:
            body = answer.json()
            if answer.status_code == 503:
                raise NotYet(body["detail"], seconds=float(answer.headers["Retry-After"]))
            if answer.status_code != 200:
                raise CouldNot(f"the proxy answered {answer.status_code}: {body['detail']}")
            if not body["found"]:
                return Warmed.WITHOUT_REVIEWS, False
            return Warmed.FRESH_ALREADY if answer.headers["X-Cache"] == "hit" else Warmed.FETCHED, False
        except (ValueError, LookupError, TypeError) as error:
            # Of a front, or of another server.
            raise CouldNot(f"{self._url} answered {answer.status_code}, and not as the proxy does") from error
