"""``flask --app wsgi warm``: what a person sees of a warming."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from types import FrameType
from typing import TextIO

import click
from flask import current_app
from flask.cli import with_appcontext
from tqdm import tqdm

from proxy.api.parameters import BadParameter, check_sku
from proxy.reviews import Warmed
from proxy.reviews.models import Source
from proxy.settings import Settings
from proxy.warming.run import NotYet, Tally, Warm, warm_all
from proxy.warming.skus import NoSuchColumn, read_skus
from proxy.warming.sources import IntoStore, ThroughProxy

_INTERRUPTED = 130
_MOST_FAILURES_SHOWN = 20


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
    unit = business_unit or settings.business_units[0]
    if unit not in settings.business_units:
        raise click.BadParameter(f"takes a configured business unit: {', '.join(settings.business_units)}")
    try:
        skus = read_skus(file, column)
    except NoSuchColumn as error:
        raise click.UsageError(f"{error}; choose one with --column") from error
    if not skus:
        raise click.UsageError("the file holds no SKU")
    bad = _refused(skus)
    tally, stopped = _run([sku for sku in skus if sku not in bad], _source(settings, unit, through))
    tally.failed.update(bad)
    _summarise(tally, len(skus))
    if stopped:
        click.echo("Stopped. The same command goes on from here.")
        sys.exit(_INTERRUPTED)
    sys.exit(1 if tally.failed else 0)


def _refused(skus: list[str]) -> dict[str, str]:
    refused = {}
    for sku in skus:
        try:
            check_sku("sku", sku)
        except BadParameter as error:
            refused[sku] = str(error)
    return refused


def _source(settings: Settings, unit: str, through: str | None) -> Warm:
    if through:
        secret = settings.credentials[0].secret if settings.credentials else ""
        return ThroughProxy(through.rstrip("/"), secret, unit)
    if not settings.shared_store:
        raise click.UsageError(
            "CACHE_URL is memory://, which this command does not share with the running proxy: "
            "set it to the proxies' sqlite:///… or redis://…, or name the one running proxy with --through http://127.0.0.1:8000"
        )
    sources: tuple[Source, ...] = ("trustpilot", "imported") if settings.imported_reviews else ("trustpilot",)
    return IntoStore(current_app.extensions["proxy"].reviews, unit, sources)


def _run(skus: list[str], source: Warm) -> tuple[Tally, bool]:
    """Warm ``skus`` behind a progress bar; a Ctrl-C or SIGTERM lets what is under way end."""
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # Not tqdm's own guess, which shows nothing in a terminal that does not tell its size.
        columns, lines = shutil.get_terminal_size()
        with tqdm(total=len(skus), unit=" SKUs", disable=None, ncols=columns, nrows=lines) as bar:
            reported: set[str] = set()

            def waiting(not_yet: NotYet) -> None:
                if str(not_yet) not in reported:
                    reported.add(str(not_yet))
                    bar.write(f"Waiting {not_yet.seconds:.0f} s: {not_yet}", file=sys.stderr)

            def progressed() -> None:
                reported.clear()
                bar.update()

            return warm_all(skus, source, stop=stop, progressed=progressed, waiting=waiting), stop.is_set()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _summarise(tally: Tally, total: int) -> None:
    counts = [f"{tally.counts[outcome]} {outcome.value}" for outcome in Warmed]
    left = total - tally.done
    click.echo(", ".join([*counts, f"{len(tally.failed)} failed", *([f"{left} left"] if left else [])]))
    for sku, reason in list(tally.failed.items())[:_MOST_FAILURES_SHOWN]:
        click.echo(f"  {sku}: {reason}")
    if len(tally.failed) > _MOST_FAILURES_SHOWN:
        click.echo(f"  and {len(tally.failed) - _MOST_FAILURES_SHOWN} more")
