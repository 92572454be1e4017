"""Which attachment of a review becomes its ``image``."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.reviews.block import product_block
from proxy.reviews.view import View

URL = "https://photos.example/"


def _attachment(state: object = "ready", **file: object) -> dict[str, Any]:
    return {"id": "a", "state": state, "processedFiles": [{"dimension": "360pxWide", **file}]}


def _image(*attachments: dict[str, Any]) -> str | None:
    block = product_block("A", None, [{"stars": 5, "attachments": list(attachments)}], View(html=False))
    image: str | None = block["reviews"][0]["image"]
    return image


@pytest.mark.parametrize(
    "file",
    [
        {"url": URL + "film.mp4"},
        {"url": URL + "film.mp4", "mimeType": None},
        {"url": URL + "film", "mimeType": ""},
        {"url": URL + "film.webm?poster=1.jpg", "mimeType": 7},
        {"url": URL + "film.jpg", "mimeType": "video/mp4"},
        {"url": URL + "unknown"},
    ],
)
def test_what_is_not_known_to_be_a_picture_is_none(file: dict[str, object]) -> None:
    assert _image(_attachment(**file)) is None
    photo = _attachment(url=URL + "photo", mimeType="image/jpeg")
    assert _image(_attachment(**file), photo) == URL + "photo"


@pytest.mark.parametrize(
    "file",
    [
        {"url": URL + "photo.JPG", "mimeType": None},
        {"url": URL + "photo.png?width=360"},
        {"url": URL + "photo", "mimeType": "image/webp"},
        {"url": URL + "photo", "mimeType": "Image/JPEG"},
    ],
)
def test_a_picture_is_known_by_its_type_or_else_by_its_name(file: dict[str, object]) -> None:
    assert _image(_attachment(**file)) == file["url"]


@pytest.mark.parametrize(
    "state", ["processing", "pending", "rejected", "underModeration", "deleted", "failed", "", 7]
)
def test_a_picture_that_is_not_ready_is_not_shown(state: object) -> None:
    assert _image(_attachment(state, url=URL + "photo.jpg", mimeType="image/jpeg")) is None


@pytest.mark.parametrize("state", ["ready", "Ready", "approved", "published", None])
def test_a_picture_that_is_ready_or_says_nothing_of_its_state_is_shown(state: object) -> None:
    assert _image(_attachment(state, url=URL + "photo.jpg", mimeType="image/jpeg")) == URL + "photo.jpg"
