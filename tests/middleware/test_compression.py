from __future__ import annotations

import gzip

import pytest

from proxy.middleware.response_cache import accepts_gzip, compressed


@pytest.mark.parametrize(
    "header", ["gzip", "GZIP", "br, gzip;q=0.5", "*", "identity, *;q=0.1", "x-gzip", "gzip ; q=1"]
)
def test_gzip_is_taken(header: str) -> None:
    assert accepts_gzip(header)


@pytest.mark.parametrize("header", ["", "br", "gzip;q=0", "gzip; q=0.000", "*;q=0", "gzip;q=0, *", "gzip;q=x", ";;,"])
def test_gzip_is_not_taken(header: str) -> None:
    assert not accepts_gzip(header)


def test_the_same_body_is_always_the_same_gzip() -> None:
    assert compressed(b"reviews" * 200) == compressed(b"reviews" * 200)
    assert gzip.decompress(compressed(b"reviews" * 200)) == b"reviews" * 200
