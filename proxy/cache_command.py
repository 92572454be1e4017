"""``flask --app wsgi cache``: look into the store that the proxies share, and empty it, while they run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import with_appcontext

from proxy.cache import BackendDown, Entry, State
from proxy.reviews.page_loader import product_name

if TYPE_CHECKING:
    from proxy.app import Proxy

_AT_ONCE = 16
_STATES = {State.HIT: "fresh", State.STALE: "stale", State.MISS: "gone"}


@click.group("cache")
def cache() -> None:
    """Look into the store that the proxies share, or empty it; they may be running."""


@cache.command("stats")
@with_appcontext
def stats() -> None:
    """Count what is cached, and the calls made."""
    with _shared() as proxy:
        products: set[str] = set()
        states: Counter[str] = Counter()
        size = 0

        def look(product: str, _part: str, entry: Entry) -> None:
            nonlocal size
            products.add(product)
            states[_state(proxy, entry)] += 1
            size += len(entry.value)

        proxy.store.scan("", look)
        click.echo(f"store     {proxy.settings.shown()['CACHE_URL']}")
        if (file := proxy.settings.cache_file) is not None and file.exists():
            most = proxy.settings.cache_max_disk_mb
            click.echo(f"file      {file.stat().st_size / 1024**2:.1f} MiB, at most {most:g} MiB")
        counted = ", ".join(f"{states[state]} {state}" for state in _STATES.values())
        click.echo(f"products  {len(products)} in {states.total()} entries ({counted}), {size / 1024**2:.1f} MiB")
        for use in proxy.quota.uses():
            click.echo(f"calls     {use.used} of {use.window.calls} in the last {use.window.name}")


@cache.command("show")
@click.argument("sku")
@click.option("--business-unit", help="[default: all configured]")
@with_appcontext
def show(sku: str, business_unit: str | None) -> None:
    """Show what is cached for SKU: each part, its age and its size; exit status 1 when there is nothing."""
    with _shared() as proxy:
        units = [business_unit] if business_unit else proxy.settings.business_units
        shown = 0
        for unit in units:
            name = product_name(unit, sku)

            def look(product: str, part: str, entry: Entry, name: str = name) -> None:
                nonlocal shown
                if product == name:
                    shown += 1
                    age = max(0.0, time.time() - entry.as_of)
                    what = "" if entry.found else ", holds nothing"
                    click.echo(
                        f"{product}  {part}  {_state(proxy, entry)}, {age:.0f} s old, {len(entry.value)} bytes{what}"
                    )

            proxy.store.scan(name, look)
    if not shown:
        raise click.ClickException(f"nothing is cached for {sku}")


@cache.command("clear")
@with_appcontext
def clear() -> None:
    """Drop all cached reviews. The count of calls and the record of sent invitations stay."""
    with _shared() as proxy:
        products: set[str] = set()
        proxy.store.scan("", lambda product, _part, _entry: products.add(product))
        # Side by side, so that many become one write.
        with ThreadPoolExecutor(_AT_ONCE) as workers:
            list(workers.map(proxy.cache.invalidate, products))
    click.echo(f"{len(products)} products dropped")


@contextmanager
def _shared() -> Iterator[Proxy]:
    proxy: Proxy = current_app.extensions["proxy"]
    if not proxy.settings.shared_store:
        raise click.UsageError("CACHE_URL is memory://, which this command does not share with the running proxy")
    try:
        yield proxy
    except BackendDown as error:
        raise click.ClickException(f"the store can't be used: {error}") from error
    finally:
        proxy.backend.close()


def _state(proxy: Proxy, entry: Entry) -> str:
    return _STATES[proxy.store.lifetimes.state(entry, time.time())]
