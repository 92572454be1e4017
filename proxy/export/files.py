"""Writes the files: whole or not at all, in the form that Braze's catalogs take.

Braze: "Create a catalog": a column ``id`` of letters, digits, hyphens and underscores; 5,000 characters a value; CSV
files of at most 100 MB.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import quote

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
    with part.open("wb") as file:
        yield file
        if durable:
            file.flush()
            os.fsync(file.fileno())
    part.replace(path)


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
            writer = csv.writer(text)
            if not self._size:
                writer.writerow(cells)
            writer.writerow(["" if value is None else value for value in cells.values()])
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
    """What was exported before: a digest for each SKU, beside the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before: dict[str, str] = {}
        if path.is_file():
            self._before = json.loads(path.read_text("utf-8"))
        self._now: dict[str, str] = {}

    def is_new(self, sku: str, cells: dict[str, str | float | None]) -> bool:
        """Note a row; tell whether it is another than before."""
        digest = hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:24]
        self._now[sku] = digest
        return self._before.get(sku) != digest

    def save(self) -> None:
        """Remember what was noted."""
        with replaced(self._path) as file:
            file.write(json.dumps({**self._before, **self._now}).encode())
