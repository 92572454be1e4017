"""What a review says of itself: its picture, and its place in a page's index."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.reviews.models import Page, read_review
from proxy.trustpilot.client import read_reviews

URL = "https://photos.example/"


def _attachment(state: object = "ready", **file: object) -> dict[str, Any]:
    return {"id": "a", "state": state, "processedFiles": [{"dimension": "360pxWide", **file}]}


def _image(*attachments: dict[str, Any]) -> str | None:
    body = {"productReviews": [{"stars": 5, "attachments": list(attachments)}]}
    page = read_reviews(json.dumps(body).encode())
    image = read_review(page.raw[0]).image
    assert page.index[0].image is (image is not None)
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


def test_a_page_is_the_same_after_it_was_stored() -> None:
    reviews = [
        {
            "id": "b",
            "stars": 4,
            "content": " two\n words ",
            "language": "EN",
            "createdAt": "2024-10-14T17:42:40.286Z",
        },
        {"id": "a", "stars": 5.0, "content": None, "firstCompanyComment": None},
        {"stars": 9},
    ]
    page = read_reviews(json.dumps({"productReviews": reviews, "links": [{"rel": "next-page"}]}).encode())
    assert Page.decode(page.encode()) == page
    assert (page.complete, page.dropped, page.newest_first, page.newest == page.oldest) == (False, 1, True, True)
    assert [(one.id, one.stars, one.chars, one.language, one.image) for one in page.index] == [
        ("b", 4, 9, "en", False),
        ("a", 5, 0, "", False),
    ]
    assert [json.loads(raw) for raw in page.raw] == reviews[:2]
