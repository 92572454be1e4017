from __future__ import annotations

import pytest

from proxy.warming import NoSuchColumn, read_skus


@pytest.mark.parametrize(
    ("text", "skus"),
    [
        ("A\nB\n", ["A", "B"]),
        ("A\r\n\r\n  B  \r\nA", ["A", "B"]),
        ("sku\nA\nB", ["A", "B"]),
        ("\ufeffSKU\nA", ["A"]),
        ("name,sku,price\nTruck,A,9\nLamp,B,7", ["A", "B"]),
        ('name;SKU\n"Truck; red";A', ["A"]),
        ("name\tsku\nTruck\tA\nshort\n", ["A"]),
        ("", []),
        ("\n\n", []),
    ],
)
def test_skus_are_read_from_lines_or_the_sku_column(text: str, skus: list[str]) -> None:
    assert read_skus(text.splitlines(keepends=True)) == skus


def test_another_column_can_be_named() -> None:
    assert read_skus(["ean,article", "1,A"], "Article") == ["A"]


@pytest.mark.parametrize(("lines", "column"), [(["a,b", "1,2"], None), (["sku", "A"], "article")])
def test_a_missing_column_is_an_error_that_names_the_columns_there_are(lines: list[str], column: str | None) -> None:
    with pytest.raises(NoSuchColumn, match="the first line has: "):
        read_skus(lines, column)
