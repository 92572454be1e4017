"""``flask --app wsgi export``: what a person sees of an export."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

import click
import msgspec
from flask import current_app
from flask.cli import with_appcontext
from tqdm import tqdm

from proxy.api import parameters
from proxy.api.parameters import BadParameter, Query
from proxy.app import spawn
from proxy.export.copies import CopiesOnly, blocks, cached_skus
from proxy.export.files import FileTooLarge, Rows, Seen, file_name, replaced, row, write_changed
from proxy.reviews import Selection, View
from proxy.reviews.answers import Block
from proxy.reviews.page_loader import product_name
from proxy.warming import NoSuchColumn, read_skus

Blocks = Iterable[tuple[str, Block | None]]
"""Each SKU with its block, ``None`` where not all of it is cached."""


@click.command("export")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--each", is_flag=True, help="TARGET is a folder: one JSON file per SKU, as /v1/reviews answers")
@click.option("--changed", "only_changed", is_flag=True, help="only the rows that changed since the last export")
@click.option("--skus", "file", type=click.File(encoding="utf-8-sig"), help="these SKUs  [default: all cached]")
@click.option("--query", default="", help="parameters of /v1/reviews, such as 'limit=5&stars=4,5&format=text'")
@click.option("--business-unit", help="[default: the first configured]")
@with_appcontext
def export(
    target: Path, *, each: bool, only_changed: bool, file: TextIO | None, query: str, business_unit: str | None
) -> None:
    """Write the cached products to TARGET: a CSV for a Braze catalog, or JSON lines where it ends in .jsonl.

    Nothing is fetched: warm the products before, or let SYNC read the whole shop. What stood in TARGET stays
    until the new one is whole.
    """
    proxy = current_app.extensions["proxy"]
    if not proxy.settings.shared_store:
        raise click.UsageError("CACHE_URL is memory://, which this command does not share with the running proxy")
    selection, view = _asked(proxy.settings, business_unit, query)
    cache = CopiesOnly(proxy.store, time.time, spawn)
    proxy.assets.load()
    reviews = proxy.reviews.through(cache)
    try:
        skus = read_skus(file) if file else cached_skus(cache, selection.business_unit)
    except NoSuchColumn as error:
        raise click.UsageError(str(error)) from error
    try:
        found = _read_once(blocks(reviews, selection, skus, view), cache, selection.business_unit)
        found = _shown(found, len(skus))
        counts = _each(found, target) if each else _rows(found, view.limit, target, only_changed=only_changed)
    except FileTooLarge:
        raise click.ClickException(
            "the file would be over 100 MB, which Braze refuses; --query limit=1&max_chars=300 makes it smaller. "
            f"{target} is as it was"
        ) from None
    click.echo(", ".join(f"{counts[name]} {name}" for name in ("written", "unchanged", "not cached", "skipped")))


def _asked(settings: Any, business_unit: str | None, query: str) -> tuple[Selection, View]:
    unit = business_unit or settings.business_units[0]
    if unit not in settings.business_units:
        raise click.BadParameter(f"takes a configured business unit: {', '.join(settings.business_units)}")
    asked = Query.parse(f"sku=A&{query}".encode())
    try:
        selection = parameters.selection(asked, settings.business_units, imported=settings.imported_reviews)
        view = parameters.view(asked)
    except BadParameter as error:
        raise click.BadParameter(str(error)) from error
    parameters.on_error_empty(asked)
    if asked.ignored:
        raise click.BadParameter(f"--query: no parameter of /v1/reviews: {asked.ignored}")
    return Selection(unit, (), selection.locale, selection.sources), view


def _read_once(found: Blocks, cache: CopiesOnly, business_unit: str) -> Blocks:
    for sku, block in found:
        yield sku, block
        cache.pass_over(product_name(business_unit, sku))


def _each(found: Blocks, folder: Path) -> Counter[str]:
    folder.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    for sku, block in found:
        name = file_name(sku)
        if block is None or name is None:
            counts["not cached" if block is None else "skipped"] += 1
            continue
        written = write_changed(folder / name, msgspec.json.encode(block))
        counts["written" if written else "unchanged"] += 1
    return counts


def _rows(found: Blocks, limit: int, target: Path, *, only_changed: bool) -> Counter[str]:
    counts: Counter[str] = Counter()
    seen = Seen(target.with_name(f"{target.name}.seen"))
    with replaced(target) as file:
        rows = Rows(file, "jsonl" if target.suffix == ".jsonl" else "csv")
        for sku, block in found:
            if block is None:
                counts["not cached"] += 1
                continue
            cells = row(sku, block, limit)
            if seen.is_new(sku, cells) or not only_changed:
                rows.write(cells)
                counts["written"] += 1
            else:
                counts["unchanged"] += 1
    seen.save()
    return counts


def _shown(found: Blocks, total: int) -> Blocks:
    columns, lines = shutil.get_terminal_size()
    bar: Blocks = tqdm(found, total=total, unit=" SKUs", disable=None, ncols=columns, nrows=lines, file=sys.stderr)
    return bar
