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
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO, TypeVar

import click
import requests
from flask import current_app
from flask.cli import with_appcontext
from tqdm import tqdm

from proxy.api.parameters import BadParameter, check_sku
from proxy.cache import DeadlinePassed
from proxy.clock import Deadline
from proxy.reviews import ProductReviews, Selection, Warmed
from proxy.reviews.models import Source
from proxy.reviews.search import MISSING, Missing
from proxy.settings import Settings
from proxy.terminal import bar, chosen_unit, end_if_stopped, shared_store, stopped_by_signals
from proxy.trustpilot import Busy, Paused, QuotaUsedUp

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
    except UnreadableList as error:
        raise click.UsageError(str(error)) from error
    if not skus:
        raise click.UsageError("the file holds no SKU")
    bad = _refused(skus)
    good = [sku for sku in skus if sku not in bad]
    if through:
        warming, stopped = _run(good, ThroughProxy(through.rstrip("/"), _reading_secret(settings), unit))
    else:
        with shared_store(_THROUGH_INSTEAD) as proxy:
            sources: tuple[Source, ...] = ("trustpilot", "imported") if settings.imported_reviews else ("trustpilot",)
            warming, stopped = _run(good, IntoStore(proxy.reviews, unit, sources))
    warming.failed.update(bad)
    _summarise(warming, len(skus))
    end_if_stopped(stopped=stopped)
    sys.exit(1 if warming.failed else 0)


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


def _run(skus: list[str], source: IntoStore | ThroughProxy) -> tuple[Warming, bool]:
    with stopped_by_signals() as stop, bar(" SKUs", total=len(skus)) as shown:
        warming = Warming(source, stop, shown)
        warming.run(skus)
        return warming, stop.is_set()


def _summarise(warming: Warming, total: int) -> None:
    counts, failed = warming.counts, warming.failed
    said = [f"{counts[outcome]} {outcome.value}" for outcome in Warmed]
    left = total - counts.total() - len(failed)
    click.echo(", ".join([*said, f"{len(failed)} failed", *([f"{left} left"] if left else [])]))
    for sku, reason in list(failed.items())[:_MOST_FAILURES_SHOWN]:
        click.echo(f"  {sku}: {reason}")
    if len(failed) > _MOST_FAILURES_SHOWN:
        click.echo(f"  and {len(failed) - _MOST_FAILURES_SHOWN} more")


AT_ONCE = 6
"""Fewer than the refreshes that Trustpilot is asked at once, so that a warming never takes their last place."""


T = TypeVar("T")


class NotYet(Exception):
    """Nothing can be fetched for ``seconds``: the budget is used up, or Trustpilot fails."""

    def __init__(self, reason: str, *, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds


SUMMARIES_AT_ONCE = 100
"""So many products' pages are fetched, then the summaries that they lack in one call."""


class Warming:
    """Warms products in their order, a few at once: each one's page, then the summaries that the pages lack."""

    def __init__(self, source: IntoStore | ThroughProxy, stop: threading.Event, shown: tqdm[Any]) -> None:
        """End once ``stop`` is set, after the products under way; nothing fetched is lost."""
        self.counts: Counter[Warmed] = Counter()
        self.failed: dict[str, str] = {}
        """Why, by SKU."""
        self._source = source
        self._stop = stop
        self._shown = shown
        self._lock = threading.Lock()
        self._said: set[str] = set()

    def run(self, skus: Sequence[str]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for first in range(0, len(skus), SUMMARIES_AT_ONCE):
                some = skus[first : first + SUMMARIES_AT_ONCE]
                pages = dict(zip(some, pool.map(self._page, some), strict=True))
                lacking = {sku: outcome for sku, outcome in pages.items() if outcome is not None}
                warmed = self._patiently(partial(self._source.summaries, list(lacking))) if lacking else None
                for sku, outcome in (warmed or {}).items():
                    self._count(sku, lacking[sku] if outcome is Warmed.FRESH_ALREADY else outcome)

    def _page(self, sku: str) -> Warmed | str | None:
        """Warm a page; return what it came to only where the summary is to be warmed too."""
        outcome, lacks_summary = self._patiently(partial(self._source.page, sku)) or (None, False)
        if outcome is not None and not lacks_summary:
            self._count(sku, outcome)
        return outcome if lacks_summary else None

    def _count(self, sku: str, outcome: Warmed | str) -> None:
        with self._lock:
            if isinstance(outcome, Warmed):
                self.counts[outcome] += 1
            else:
                self.failed[sku] = outcome
            self._said.clear()
            self._shown.update()

    def _patiently(self, warm: Callable[[], T]) -> T | None:
        """Call ``warm``, waiting as often as it takes and saying for what; ``None`` when stopped meanwhile."""
        while not self._stop.is_set():
            try:
                return warm()
            except NotYet as not_yet:
                with self._lock:
                    if str(not_yet) not in self._said:
                        self._said.add(str(not_yet))
                        self._shown.write(f"Waiting {not_yet.seconds:.0f} s: {not_yet}", file=sys.stderr)
                self._stop.wait(not_yet.seconds)
        return None


DEFAULT_COLUMN = "sku"


class UnreadableList(Exception):
    """A file with SKUs can't be read. The message says why."""


class NoSuchColumn(UnreadableList):
    """A CSV has no column of the name asked for."""


def read_skus(lines: Iterable[str], column: str | None = None) -> list[str]:
    """Return the SKUs in their order, duplicates and empty lines left out.

    The first line may name the columns, separated by commas, semicolons or tabs; ``column`` (by default ``sku``, in
    any case) is the one that is read. A file with one column needs no such line. Raises :class:`UnreadableList`.
    """
    try:
        text = [line for line in (line.strip("\ufeff\r\n") for line in lines) if line.strip()]
    except UnicodeDecodeError as error:
        raise UnreadableList("the file is not UTF-8: save it as “CSV UTF-8”") from error
    if not text:
        return []
    delimiter = max(",;\t", key=text[0].count)
    try:
        # Strict: a quotation mark that is never closed would take all lines after it in.
        rows = list(csv.reader(text, delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UnreadableList(f"the file is no CSV: {error}") from error
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

    def page(self, sku: str) -> tuple[Warmed | str, bool]:
        """Return what the page came to, and whether the summary is to be warmed too. Raises :class:`NotYet`."""
        selection = Selection(self.business_unit, (sku,), sources=self.sources)
        try:
            return self.reviews.warm_page(selection, Deadline.after(_PATIENCE_SECONDS))
        except MISSING as missing:
            return _why(missing), False

    def summaries(self, skus: Sequence[str]) -> dict[str, Warmed | str]:
        """Return by SKU what the summaries came to. Raises :class:`NotYet`."""
        outcomes = self.reviews.warm_summaries(self.business_unit, skus, Deadline.after(_PATIENCE_SECONDS))
        return {sku: outcome if isinstance(outcome, Warmed) else _why(outcome) for sku, outcome in outcomes.items()}


def _why(missing: Missing) -> str:
    if isinstance(missing, QuotaUsedUp | Paused | Busy):
        raise NotYet(str(missing), seconds=1 if isinstance(missing, Busy) else missing.retry_after) from missing
    if isinstance(missing, DeadlinePassed):
        return f"Trustpilot did not answer within {_PATIENCE_SECONDS} s"
    return str(missing)


class ThroughProxy:
    """Asks the proxy at ``url``, showing ``secret``; the proxy sees to the summaries itself."""

    def __init__(self, url: str, secret: str, business_unit: str) -> None:
        self._session = requests.Session()
        self._session.headers["X-Api-Key"] = secret
        self._url = url
        self._business_unit = business_unit

    def summaries(self, skus: Sequence[str]) -> dict[str, Warmed | str]:
        """Return that nothing is left to do: no page asks for it."""
        return dict.fromkeys(skus, Warmed.FRESH_ALREADY)

    def page(self, sku: str) -> tuple[Warmed | str, bool]:
        """Return what :meth:`IntoStore.page` does."""
        params = {"sku": sku, "business_unit": self._business_unit}
        try:
            # A redirect would take the secret elsewhere.
            answer = self._session.get(
                f"{self._url}/v1/reviews", params=params, timeout=_PATIENCE_SECONDS, allow_redirects=False
            )
        except requests.RequestException:
            return f"the proxy at {self._url} can't be reached", False
        try:
            body = answer.json()
            if answer.status_code == 503:
                raise NotYet(body["detail"], seconds=float(answer.headers["Retry-After"]))
            if answer.status_code != 200:
                return f"the proxy answered {answer.status_code}: {body['detail']}", False
            if not body["found"]:
                return Warmed.WITHOUT_REVIEWS, False
            return Warmed.FRESH_ALREADY if answer.headers["X-Cache"] == "hit" else Warmed.FETCHED, False
        except (ValueError, LookupError, TypeError):
            # Of a front, or of another server.
            return f"{self._url} answered {answer.status_code}, and not as the proxy does", False
