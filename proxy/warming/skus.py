"""Reads SKUs from a file as shops export them: one per line, or a column of a CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable

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
