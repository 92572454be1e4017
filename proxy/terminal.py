"""What flask's commands share: the shop and the store they are for, a progress bar, and an end by Ctrl-C."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from flask import current_app
from tqdm import tqdm

from proxy.cache import BackendDown
from proxy.settings import Settings

if TYPE_CHECKING:
    from proxy.app import Proxy

_INTERRUPTED = 130


def chosen_unit(settings: Settings, given: str | None) -> str:
    """Return the business unit that an option names, or the first."""
    unit = given or settings.business_units[0]
    if unit not in settings.business_units:
        raise click.BadParameter(f"takes a configured business unit: {', '.join(settings.business_units)}")
    return unit


@contextmanager
def shared_store(instead: str = "") -> Iterator[Proxy]:
    """Yield the proxy of this process, to work on the store that others share; refuse a store that none can."""
    proxy: Proxy = current_app.extensions["proxy"]
    if not proxy.settings.shared_store:
        raise click.UsageError(
            f"CACHE_URL is memory://, which this command does not share with the running proxy{instead}"
        )
    try:
        # Before and after, or what a command does would be lost where a failing store makes no difference.
        proxy.backend.get("")
        yield proxy
        proxy.backend.get("")
    except BackendDown as error:
        raise click.ClickException(f"the store can't be used: {error}") from error
    finally:
        proxy.backend.close()


def bar(unit: str, items: Iterable[Any] | None = None, total: int | None = None) -> tqdm[Any]:
    """Return a progress bar, on a terminal only."""
    # Not tqdm's own guess, which shows nothing in a terminal that does not tell its size.
    columns, lines = shutil.get_terminal_size()
    return tqdm(items, total=total, unit=unit, disable=None, ncols=columns, nrows=lines, file=sys.stderr)


@contextmanager
def stopped_by_signals(stop_too: Callable[[], None] = lambda: None) -> Iterator[threading.Event]:
    """Set an event at Ctrl-C or SIGTERM, so that what is under way may end."""
    stop = threading.Event()

    def ask_to_stop(_number: int, _at: FrameType | None) -> None:
        stop.set()
        stop_too()

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_if_stopped(*, stopped: bool) -> None:
    """Say how to go on after an interruption, and end with its status."""
    if stopped:
        click.echo("Stopped. The same command goes on from here.")
        sys.exit(_INTERRUPTED)
