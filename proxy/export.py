"""``flask --app wsgi export``: copies of what is cached, as rows for a Braze catalog or a file for each product.

Next to nothing is fetched, as an export of a whole shop must not cost a call for each product. Files are written
whole or not at all, in the form that Braze's catalogs take ("Create a catalog"): a column ``id`` of letters, digits,
hyphens and underscores; 5,000 characters a value; CSV files of at most 100 MB.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal, TextIO
from urllib.parse import quote

import click
import msgspec
from flask.cli import with_appcontext

from proxy.api import parameters
from proxy.api.parameters import BadParameter, Query
from proxy.cache import Cache, Cached, Call, Fetch, Group, Key, Lookup
from proxy.clock import Deadline, spawn
from proxy.reviews import ProductReviews, Selection, Unavailable, View
from proxy.reviews.answers import Block
from proxy.reviews.page_loader import NEWEST_PAGE, product_name, shop_and_sku
from proxy.terminal import bar, chosen_unit, shared_store
from proxy.trustpilot import TrustpilotError
from proxy.warming import UnreadableList, read_skus

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

    Nothing is fetched but what was exported before and is gone: warm the products before, or let SYNC read the whole
    shop. What stood in TARGET stays until the new one is whole.
    """
    with shared_store() as proxy:
        selection, view = _asked(proxy.settings, business_unit, query)
        cache = CopiesOnly(proxy.store, Group(spawn), time.time)
        proxy.assets.load()
        reviews = proxy.reviews.through(cache)
        seen = Seen(target / ".seen" if each else target.with_name(f"{target.name}.seen"), selection.business_unit)
        try:
            skus = read_skus(file) if file else cached_skus(cache, selection.business_unit)
            gone = sorted(seen.before.keys() - skus) if file is None else []
            without: list[str] = []
            found: Blocks = chain(
                _read_once(blocks(reviews, selection, skus, view), cache, selection.business_unit),
                _asked_again(blocks(proxy.reviews, selection, gone[:_MOST_ASKED], view), without),
                blocks(reviews, selection, gone[_MOST_ASKED:], view),
            )
            found = bar(" SKUs", found, len(skus) + len(gone))
            if each:
                counts = _each(found, target, seen)
            else:
                counts = _rows(found, view.limit, target, seen, only_changed=only_changed)
            seen.save(without)
        except UnreadableList as error:
            raise click.UsageError(str(error)) from error
        except FileTooLarge:
            raise click.ClickException(
                "the file would be over 100 MB, which Braze refuses; --query limit=1&max_chars=300 makes it smaller. "
                f"{target} is as it was"
            ) from None
        except OSError as error:
            raise click.ClickException(f"{target} can't be written: {error.strerror}") from error
    click.echo(", ".join(f"{counts[name]} {name}" for name in ("written", "unchanged", "not cached", "skipped")))
    if counts["not cached"]:
        click.echo("What was exported of products not cached stays as it was: warm them before the next.", err=True)


def _asked(settings: Any, business_unit: str | None, query: str) -> tuple[Selection, View]:
    unit = chosen_unit(settings, business_unit)
    asked = Query.parse(f"sku=A&{query}".encode())
    try:
        selection = parameters.selection(asked, settings.business_units, imported=settings.imported_reviews)
        view = parameters.view(asked)
    except BadParameter as error:
        raise click.BadParameter(str(error)) from error
    asked.one(parameters.ON_ERROR)
    for name, given, option in (("sku", ["A"], "--skus"), ("business_unit", None, "--business-unit")):
        if asked.given.get(name) != given:
            raise click.BadParameter(f"--query: {name} is not taken from it; give {option}")
    if asked.ignored:
        raise click.BadParameter(f"--query: no parameter of /v1/reviews: {asked.ignored}")
    return Selection(unit, (), selection.locale, selection.sources), view


def _asked_again(found: Blocks, without: list[str]) -> Blocks:
    """Add to ``without`` what was passed on and has no reviews any more."""
    for sku, block in found:
        yield sku, block
        if block and block["summary"] and (block["scope"] == "business" or not block["summary"]["total"]):
            without.append(sku)


def _read_once(found: Blocks, cache: CopiesOnly, business_unit: str) -> Blocks:
    for sku, block in found:
        yield sku, block
        cache.pass_over(product_name(business_unit, sku))


def _each(found: Blocks, folder: Path, seen: Seen) -> Counter[str]:
    folder.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    for sku, block in found:
        name = file_name(sku)
        if block is None or name is None:
            counts["not cached" if block is None else "skipped"] += 1
            continue
        seen.is_new(sku, block)
        written = write_changed(folder / name, msgspec.json.encode(block))
        counts["written" if written else "unchanged"] += 1
    return counts


def _rows(found: Blocks, limit: int, target: Path, seen: Seen, *, only_changed: bool) -> Counter[str]:
    counts: Counter[str] = Counter()
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
    return counts


_PATIENCE_SECONDS = 60
_MOST_ASKED = 100
"""Products exported before of which nothing is cached any more: most often their last review was deleted, and what
was exported has to be taken back. Where more are gone, the store was lost or is too small."""


class NotCached(TrustpilotError):
    """No copy is held, and none is fetched."""


class CopiesOnly(Cache):
    """Answers from entries, fresh or stale, and never fetches."""

    def get_or_fetch(self, key: Key, fetch: Fetch, *, awaited: bool = True) -> Lookup:
        """Find the entry for ``key``; waiting for one that is not there raises :class:`NotCached`."""
        cached = self.get(key)
        if cached is not None:
            return cached
        call: Call[Cached] = Call()
        call.set_exception(NotCached("nothing is fetched for an export"))
        return call

    def pass_over(self, product: str) -> None:
        """Keep no more of ``product`` in memory: an export reads each once, however many there are."""
        self._store.drop_l1(product)


def cached_skus(cache: Cache, business_unit: str) -> list[str]:
    """Return the SKUs of which a newest page is cached. Raises :class:`~proxy.cache.BackendDown`."""
    skus: set[str] = set()

    def look(product: str, part: str, _value: bytes) -> None:
        if sku := sku_of_page(product, part):
            skus.add(sku)

    cache.scan(product_name(business_unit, ""), look)
    return sorted(skus)


def sku_of_page(product: str, part: str) -> str:
    """Return the SKU of which this is the newest page, ``""`` for anything else that is cached."""
    sku = shop_and_sku(product)[1]
    return sku if part == NEWEST_PAGE and sku.strip() and not sku.startswith(" ") else ""


def blocks(
    reviews: ProductReviews, selection: Selection, skus: list[str], view: View
) -> Iterator[tuple[str, Block | None]]:
    """Yield each SKU with its block, ``None`` where not all of it is cached."""
    for sku in skus:
        alone = Selection(selection.business_unit, (sku,), selection.locale, selection.sources)
        try:
            block = reviews.block(alone, view, Deadline.after(_PATIENCE_SECONDS)).body
        except Unavailable:
            yield sku, None
        else:
            yield sku, block if block["summary"] else None


LONGEST_VALUE = 5000
LARGEST_FILE = 100 * 1000 * 1000
_LONGEST_NAME = 255
_LONGEST_ID = 250

Format = Literal["csv", "jsonl"]


class FileTooLarge(Exception):
    """Braze takes no file so large."""


@contextmanager
def replaced(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a file to take the place of ``path`` once the block has ended well; until then ``path`` stays as it is.

    ``durable``: wait until it is on the disk, so that a power cut too leaves the old file or the new.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def catalog_id(sku: str) -> str:
    """Return ``sku`` as Braze's ids can be written; one that has to be changed stays one of its own."""
    if re.fullmatch(rf"[A-Za-z0-9_-]{{1,{_LONGEST_ID}}}", sku):
        return sku
    digest = hashlib.sha256(sku.encode()).hexdigest()[:12]
    return re.sub(r"[^A-Za-z0-9_-]", "-", sku)[: _LONGEST_ID - 13] + "-" + digest


def row(sku: str, block: Mapping[str, Any], reviews: int) -> dict[str, str | float | None]:
    """Return one product as a flat row; without so many reviews the last ones' columns are empty."""
    summary = block["summary"] or {}
    cells: dict[str, str | float | None] = {
        "id": catalog_id(sku),
        "sku": sku,
        **{name: summary.get(name) for name in ("average", "stars", "total")},
        "disclosure": block["disclosure"],
        "link": block["links"]["trustpilot"],
    }
    for number in range(1, reviews + 1):
        shown = block["reviews"][number - 1] if number <= len(block["reviews"]) else {}
        cells[f"review_{number}_text"] = shown.get("content")
        cells[f"review_{number}_author"] = shown.get("author")
        cells[f"review_{number}_stars"] = shown.get("stars")
    return {name: value[:LONGEST_VALUE] if isinstance(value, str) else value for name, value in cells.items()}


class Rows:
    """Writes rows to an open file. Raises :class:`FileTooLarge` before a row too many."""

    def __init__(self, file: IO[bytes], form: Format) -> None:
        self._file = file
        self._form = form
        self._size = 0

    def write(self, cells: dict[str, str | float | None]) -> None:
        """Write one row, before the first a line with the names."""
        if self._form == "jsonl":
            line = json.dumps(cells, ensure_ascii=False) + "\n"
        else:
            text = io.StringIO()
            rows = csv.writer(text)
            rows.writerows([cells.values()] if self._size else [cells, cells.values()])
            line = text.getvalue()
        data = line.encode("utf-8", "replace")
        self._size += len(data)
        if self._size > LARGEST_FILE:
            raise FileTooLarge
        self._file.write(data)


def file_name(sku: str) -> str | None:
    """Return the name of the file for ``sku``, as it stands in a URL, ``None`` where no file may be called so."""
    name = quote(sku, safe="") + ".json"
    return name if len(name) <= _LONGEST_NAME - len("..part") and not name.startswith(".") else None


def write_changed(path: Path, data: bytes) -> bool:
    """Write a file unless it holds ``data`` already; tell whether it was written."""
    if path.is_file() and path.read_bytes() == data:
        return False
    # One of thousands, and written again by the next export: the disk is not waited for.
    with replaced(path, durable=False) as file:
        file.write(data)
    return True


class Seen:
    """What was exported of a business unit before: a digest for each SKU, beside the file."""

    def __init__(self, path: Path, business_unit: str) -> None:
        self._path = path
        self._units: dict[str, dict[str, str]] = {}
        # Without it, or where it is damaged, all counts as new.
        with suppress(FileNotFoundError, NotADirectoryError, UnicodeDecodeError, msgspec.DecodeError):
            self._units = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, str]])
        self.before = self._units.get(business_unit, {})
        self._now = self._units[business_unit] = {**self.before}

    def is_new(self, sku: str, cells: Mapping[str, object]) -> bool:
        """Note a row; tell whether it is another than before."""
        digest = hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:24]
        self._now[sku] = digest
        return self.before.get(sku) != digest

    def save(self, taken_back: Iterable[str]) -> None:
        """Remember what was noted, but for what was ``taken_back``."""
        for sku in taken_back:
            self._now.pop(sku, None)
        if self._now or self.before:
            with replaced(self._path) as file:
                file.write(json.dumps(self._units).encode())
