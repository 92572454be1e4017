"""``flask --app wsgi sync``: how far all reviews of the shops are cached, and going on until they are."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from types import FrameType

import click
from flask import current_app
from flask.cli import with_appcontext
from tqdm import tqdm

from proxy.settings import Settings
from proxy.sync.service import Sync

_INTERRUPTED = 130
_PAUSE_SECONDS = 1.0


@click.command("sync")
@click.option("--wait", is_flag=True, help="read on until all reviews are cached")
@with_appcontext
def sync(*, wait: bool) -> None:
    """Show how many reviews of each shop are cached; with --wait read the rest.

    An interrupted reading goes on where it stopped, here or in a running proxy. It keeps to 80 % of the call budget.
    """
    proxy = current_app.extensions["proxy"]
    settings: Settings = proxy.settings
    service: Sync | None = proxy.sync
    if service is None or not service.has_feed:
        raise click.UsageError("takes SYNC=auto or feed, and TRUSTPILOT_API_SECRET: without a token there is no feed")
    if not settings.shared_store:
        raise click.UsageError("CACHE_URL is memory://, which this command does not share with the running proxy")
    stopped = wait and _read_on(service, settings.business_units)
    for unit in settings.business_units:
        read, total = service.progress(unit)
        state = "all are cached" if service.is_backfilled(unit) else "not all are cached yet"
        click.echo(f"business unit {unit}: {read} of about {total} reviews read; {state}")
    if stopped:
        click.echo("Stopped. The same command goes on from here.")
        sys.exit(_INTERRUPTED)


def _read_on(service: Sync, units: tuple[str, ...]) -> bool:
    """Do what is due until all is cached; tell whether a Ctrl-C or SIGTERM ended it."""
    stop = threading.Event()

    def ask_to_stop(_number: int, _at: FrameType | None) -> None:
        stop.set()
        service.stop()

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # Not tqdm's own guess, which shows nothing in a terminal that does not tell its size.
        columns, lines = shutil.get_terminal_size()
        with tqdm(unit=" reviews", disable=None, ncols=columns, nrows=lines) as bar:
            while not stop.is_set() and not all(map(service.is_backfilled, units)):
                service.round()
                progress = [service.progress(unit) for unit in units]
                bar.total = sum(max(pair) for pair in progress)
                bar.n = sum(read for read, _ in progress)
                bar.refresh()
                if not all(map(service.is_backfilled, units)):
                    stop.wait(_PAUSE_SECONDS)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return stop.is_set()
