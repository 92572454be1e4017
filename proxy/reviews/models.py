"""What is read of Trustpilot: reviews, a page as an index over raw ones, a shop; and how texts are made ready."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
import regex
import zstandard
from msgspec import UNSET, Meta, Struct, UnsetType

_HTML = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "{": "&#123;", "}": "&#125;"}
)
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]+")
"""Unicode's controls that are no white space, surrogates, and what turns the direction of text: that would turn the
message around a review; right-to-left letters need none of it."""

_VISIBLE_CHARACTER = regex.compile(r"\X")
"""What a reader sees as one: a letter with its marks, a flag, a family (Unicode Standard Annex 29)."""


def clean(text: object) -> str:
    """Return ``text`` without control characters, white space collapsed and trimmed; "" for what is not text."""
    if not isinstance(text, str):
        return ""
    if not text.isprintable():
        text = _CONTROLS.sub("", text)
    elif "  " not in text and text[:1] != " " and text[-1:] != " ":
        return text  # of all white space only the space is printable
    return " ".join(text.split())


def cut(text: str, max_chars: int | None) -> tuple[str, bool]:
    """Return ``text`` in at most ``max_chars`` characters, and whether it had to be cut.

    The cut is at a word boundary and ends in ``…``. A first word that is too long is cut inside, never inside one
    visible character.
    """
    if max_chars is None or len(text) <= max_chars:
        return text, False
    room = max_chars - 1
    end = text.rfind(" ", 0, room + 1)
    if end <= 0:
        end = _visible(text, room)
    return text[:end].rstrip() + "…", True


def ready(text: object, *, html: bool) -> str:
    """Return ``text`` clean, and safe in HTML where that is asked for."""
    cleaned = clean(text)
    return escape_html(cleaned) if html else cleaned


def cut_ready(text: object, max_chars: int | None, *, html: bool) -> tuple[str, bool]:
    """Return ``text`` as :func:`ready` does, cut before, and whether it had to be."""
    content, truncated = cut(clean(text), max_chars)
    return escape_html(content) if html else content, truncated


def escape_html(text: str) -> str:
    """Return ``text`` safe inside HTML text and quoted attributes, and inert to Liquid."""
    return text.translate(_HTML)


def _visible(text: str, room: int) -> int:
    """Return where the last visible character ends that is within ``room``; one that is longer by itself is cut."""
    last = 0
    # One character more than there is room for tells whether the last one ends in it.
    for character in _VISIBLE_CHARACTER.finditer(text, 0, room + 1):
        if character.end() > room:
            break
        last = character.end()
    return last or room


PER_PAGE = 100
"""Reviews on a page: the most that Trustpilot hands out per call."""

LONGEST_TEXT = 20_000
"""Characters of one text: several times the longest review, and cheap to clean at every read."""

LONGEST_LIST = 100
"""Ratings, attachments and files of one review."""

UNDATED = float("-inf")
"""When a review without a date was written: it counts as the oldest."""

_WIDE_ENOUGH = 360
"""Pixels: wide enough for a phone and for a column of an e-mail, and small enough to load in both."""

_SHOWN_STATES = ("ready", "approved", "published")
"""States of an attachment that Trustpilot shows. Others are being processed or moderated, or were refused."""

_RATINGS = frozenset({1, 2, 3, 4, 5})
_ADDRESS = re.compile(r"https?://[^\s/]")
_QUERY = re.compile("[?#]")
_WIDTH = re.compile(r"(\d{1,5})px")
_PICTURE_NAME = re.compile(r"\.(?:jpe?g|png|gif|webp)$", re.IGNORECASE)

Source = Literal["trustpilot", "imported"]
"""Which list a review is in: Trustpilot's own, or that of the reviews a shop brought from an earlier platform."""

# What is absent stays absent, and what is null stays null: the drop-in URLs answer what Trustpilot did.
Text = Annotated[str, Meta(max_length=LONGEST_TEXT)] | None | UnsetType
Number = float | None | UnsetType
Most = Meta(max_length=LONGEST_LIST)


SHOP = ""
"""In the place of a SKU: the shop itself."""


def at_url(url: str) -> str:
    """Return what stands in the place of a SKU for the products at ``url``; no SKU begins with a space."""
    return f" {url}"


def products_query(sku: str) -> tuple[str, str]:
    """Return Trustpilot's query parameter that asks for ``sku``: one, several, or what :func:`at_url` named."""
    return ("productUrl", sku[1:]) if sku.startswith(" ") else ("sku", sku)


class Consumer(Struct, rename="camel"):
    """Who wrote a review."""

    id: Text = UNSET
    display_name: Text = UNSET


class Rating(Struct, rename="camel"):
    """A rating of one attribute, such as value for money."""

    attribute_id: Text = UNSET
    attribute_name: Text = UNSET
    attribute_type: Text = UNSET
    rating: Number = UNSET


class File(Struct, rename="camel"):
    """One size of an attachment."""

    mime_type: Text = UNSET
    dimension: Text = UNSET
    url: Text = UNSET

    @property
    def is_picture(self) -> bool:
        """Whether it is a picture for a message: by its type, or by its name where it tells no type."""
        if not self.url or not _ADDRESS.match(self.url):
            return False  # javascript:, data: and the like have no place in a message
        if self.mime_type:
            return self.mime_type.lower().startswith("image/")
        return bool(_PICTURE_NAME.search(_QUERY.split(self.url, maxsplit=1)[0]))

    @property
    def width(self) -> int:
        """Pixels, 0 where it tells none."""
        width = _WIDTH.match(self.dimension or "")
        return int(width[1]) if width else 0


class Attachment(Struct, rename="camel"):
    """A photo or film."""

    id: Text = UNSET
    state: Text = UNSET
    processed_files: Annotated[list[File], Most] | UnsetType | None = UNSET

    @property
    def pictures(self) -> list[File]:
        """Its sizes that can be shown."""
        # Not every answer tells the state; the reviews call lists published reviews only.
        if isinstance(self.state, str) and self.state.lower() not in _SHOWN_STATES:
            return []
        return [file for file in self.processed_files or () if file.is_picture]


class Comment(Struct, rename="camel"):
    """The company's reply."""

    comment: Text = UNSET
    created_at: Text = UNSET


class Review(Struct, rename="camel"):
    """One review in Trustpilot's own shape.

    The fields are all that is read of it. Webhooks and the private API add the reviewer's e-mail address and the
    order number: as only what is listed here is kept, no field that Trustpilot adds one day can reach the cache, a
    log or an answer. ``stars`` is 0 where nothing tells them.
    """

    id: Text = UNSET
    created_at: Text = UNSET
    stars: int | float = 0
    content: Text = UNSET
    consumer: Consumer | UnsetType | None = UNSET
    language: Text = UNSET
    attribute_ratings: Annotated[list[Rating], Most] | UnsetType | None = UNSET
    attachments: Annotated[list[Attachment], Most] | UnsetType | None = UNSET
    first_company_comment: Comment | UnsetType | None = UNSET

    @property
    def moment(self) -> datetime | None:
        """When it was written, in UTC, ``None`` without a date. Raises ``ValueError`` or ``OverflowError``."""
        if not isinstance(self.created_at, str):
            return None
        moment = datetime.fromisoformat(self.created_at)
        if moment.tzinfo is UTC:
            return moment
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)

    @property
    def image(self) -> str | None:
        """The address of the first attachment's smallest picture that is wide enough, else of its widest."""
        for attachment in self.attachments or ():
            if pictures := attachment.pictures:
                wide = [picture for picture in pictures if picture.width >= _WIDE_ENOUGH]
                widest = max(pictures, key=lambda picture: picture.width)
                return min(wide, key=lambda picture: picture.width, default=widest).url or None
        return None


class Indexed(Struct, frozen=True, array_like=True, gc=False):
    """What decides whether and where a view shows a review."""

    id: str | None
    stars: int
    chars: int
    """The length of its clean text."""
    language: str
    """In lower case, empty where it tells none."""
    written: float
    """Seconds since the epoch, :data:`UNDATED` where it tells no date."""
    image: bool

    @classmethod
    def of(cls, review: Review) -> Indexed:
        """Index ``review``, its stars made a whole number. Raises ``ValueError`` when it can't be shown."""
        if review.stars not in _RATINGS:
            raise ValueError("a review has 1 to 5 stars")
        # Also where written `5.0`, as in Trustpilot's own samples.
        review.stars = stars = int(review.stars)
        try:
            moment = review.moment
        except OverflowError as error:
            raise ValueError("a date out of range") from error
        language, attachments = review.language, review.attachments
        return cls(
            review.id or None,
            stars,
            len(clean(review.content)),
            language.lower() if language else "",
            moment.timestamp() if moment else UNDATED,
            any(attachment.pictures for attachment in attachments) if attachments else False,
        )


Item = tuple[Indexed, bytes]
"""A review's index, and the :class:`Review` as JSON."""


def item_of(review: Review) -> Item:
    """Index ``review``. Raises ``ValueError`` when it can't be shown."""
    return Indexed.of(review), _JSON.encode(review)


class Page(Struct, frozen=True, array_like=True):
    """Up to 100 reviews in Trustpilot's order: an index of all, and each as JSON, read only when it is shown."""

    complete: bool
    """Whether these are all there are, under the filters that they were asked with."""
    dropped: int
    """How many more there were that can't be shown."""
    index: list[Indexed]
    raw: list[bytes]
    """Each a :class:`Review` as JSON."""
    newest_first: bool
    newest: float
    """When the newest review that tells a date was written, :data:`UNDATED` where none does."""
    oldest: float
    """When the oldest one was written, positive infinity where none tells a date."""

    @classmethod
    def of(cls, reviews: Iterable[Review], *, complete: bool, dropped: int = 0) -> Page:
        """Index ``reviews``; those that can't be shown are dropped."""
        items = []
        for review in reviews:
            try:
                items.append(item_of(review))
            except ValueError:
                dropped += 1
        return cls.of_items(items, complete=complete, dropped=dropped)

    @classmethod
    def of_items(cls, items: Sequence[Item], *, complete: bool, dropped: int) -> Page:
        """Return the page of reviews that are indexed already."""
        index, raw = [review for review, _ in items], [raw for _, raw in items]
        dates = [review.written for review in index if review.written != UNDATED]
        newest_first = dates == sorted(dates, reverse=True)
        oldest = min(dates, default=float("inf"))
        return cls(complete, dropped, index, raw, newest_first, max(dates, default=UNDATED), oldest)

    @property
    def items(self) -> Iterator[Item]:
        """Its reviews, each with its index."""
        return zip(self.index, self.raw, strict=True)

    @property
    def countable(self) -> bool:
        """Whether the count of these reviews is the product's."""
        return self.complete and not self.dropped

    @property
    def end(self) -> str:
        """The id of the last review, which names the place where the next page begins."""
        return self.index[-1].id or "" if self.index else ""

    def encode(self) -> bytes:
        plain = _PACK.encode(self)
        with _ZSTD_LOCK:
            return _COMPRESSOR.compress(plain)

    @classmethod
    def decode(cls, value: bytes) -> Page:
        """Read what :meth:`encode` wrote."""
        with _ZSTD_LOCK:
            plain = _DECOMPRESSOR.decompress(value)
        return _UNPACK.decode(plain)


_JSON = msgspec.json.Encoder()
_REVIEW = msgspec.json.Decoder(Review)
_PACK = msgspec.msgpack.Encoder()
_UNPACK = msgspec.msgpack.Decoder(Page)
# Level 1 takes 50 µs for 100 reviews, zlib's 230, for a tenth fewer bytes (zstandard 0.25). Each new compressor costs
# as much again, and one is not to be used by two threads at once.
_COMPRESSOR = zstandard.ZstdCompressor(level=1)
_DECOMPRESSOR = zstandard.ZstdDecompressor()
_ZSTD_LOCK = threading.Lock()


def read_review(raw: bytes) -> Review:
    """Read one of :attr:`Page.raw`."""
    return _REVIEW.decode(raw)


class FeedItem(Struct, frozen=True):
    """One review of a shop's feed, and of which product."""

    sku: str
    review: Review
    written: float
    """Seconds since the epoch, :data:`UNDATED` where it tells no date that can be read."""
    product_url: str | None = None
    """The product's page in the shop."""


class ServiceReview(Review, rename="camel"):
    """A review of the shop itself: as one of a product, with a title."""

    title: Text = UNSET
    is_verified: bool | UnsetType = UNSET


_SERVICE_REVIEW = msgspec.json.Decoder(ServiceReview)


def read_service_review(raw: bytes) -> ServiceReview:
    """Read one of :attr:`Page.raw` where the page is one of :data:`SHOP`."""
    return _SERVICE_REVIEW.decode(raw)


class Shop(Struct, frozen=True, rename="camel"):
    """A business unit as Trustpilot shows it."""

    name: str
    domain: str
    trust_score: float | None
    stars: float | None
    """In halves."""
    numbers: list[int]
    """Service reviews in all, then from one star to five."""


class ReviewEvent(Struct, frozen=True):
    """One review of one product came, changed, or went.

    ``review`` holds what the event says of it; ``hidden`` that it is not published; ``whole`` that the reviews call
    would say no more of it. Without a ``sku`` it has to be looked up by its id, or by its product's page. With an
    empty id it is not known which review it is, so the product has to be fetched.
    """

    kind: Literal["created", "updated", "deleted"]
    sku: str | None
    review_id: str
    review: Review
    hidden: bool
    whole: bool
    product_url: str | None = None
    """The product's page in the shop."""
