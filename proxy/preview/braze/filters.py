"""Every filter that Braze has: Liquid's own, and those it adds (Braze: Filters; Advanced filters)."""

import base64
import functools
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from urllib.parse import quote

from proxy.preview.braze.dates import Now, in_zone, read_date, strftime
from proxy.preview.braze.ruby import text
from proxy.preview.braze.standard_filters import STANDARD, Filter, of_text

_RESERVED_IN_URLS = ";/?:@&=+$,[]!*'()"


def filters(now: Now) -> dict[str, Filter]:
    """Return every filter of Braze's by its name; ``now`` tells the time for ``'now' | date``."""
    return {**STANDARD, **_BRAZES, "date": functools.partial(_date, now), "time_zone": functools.partial(_zone, now)}


def _date(now: Now, value: object, layout: object) -> object:
    moment = read_date(value, now) if text(layout) else None
    return value if moment is None else strftime(moment, text(layout))


def _zone(now: Now, value: object, zone: object) -> datetime | None:
    """Return the moment in another zone, for ``date`` to write (Braze: Filters, "Time zone filter")."""
    moment = read_date(value, now)
    return None if moment is None else in_zone(moment, zone)


def _property_accessor(value: object, key: object = None) -> object:
    return value.get(key) if isinstance(value, Mapping) else None


def _number_with_delimiter(value: str) -> str:
    whole, point, fraction = value.partition(".")
    return f"{int(whole):,}{point}{fraction}" if whole.lstrip("-").isdecimal() else value


def _money(value: object) -> object:
    """Return a number with two decimals and no currency; text stays, as Braze wants ``plus: 0`` before (Filters)."""
    return f"{value:.2f}" if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) else value


def _hash(algorithm: str) -> Filter:
    return lambda value: hashlib.new(algorithm, text(value).encode(), usedforsecurity=False).hexdigest()


def _signature(algorithm: str, *, as_base64: bool = False) -> Filter:
    def sign(value: object, key: object) -> str:
        digest = hmac.digest(text(key).encode(), text(value).encode(), algorithm)
        return base64.b64encode(digest).decode() if as_base64 else digest.hex()

    return sign


def _json_parse(value: object) -> object:
    return json.loads(text(value)) if isinstance(value, str) and value.strip() else value


def _as_json_string(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=text)


_BRAZES: Mapping[str, Filter] = {
    "as_json_string": _as_json_string,
    "hmac_sha1": _signature("sha1"),  # its former name
    "hmac_sha1_base64": _signature("sha1", as_base64=True),
    "hmac_sha1_hex": _signature("sha1"),
    "hmac_sha256": _signature("sha256"),
    "hmac_sha256_base64": _signature("sha256", as_base64=True),
    "hmac_sha256_hex": _signature("sha256"),
    "hmac_sha512": _signature("sha512"),
    "id": lambda value, _name=None: value,  # Braze writes it behind a Content Block; it changes nothing
    "json_escape": of_text(lambda value: json.dumps(value, ensure_ascii=False)[1:-1]),
    "json_parse": _json_parse,
    "md5": _hash("md5"),
    "money": _money,
    "number_with_delimiter": of_text(_number_with_delimiter),
    "property_accessor": _property_accessor,
    "sha1": _hash("sha1"),
    "sha2": _hash("sha256"),
    "url_escape": of_text(lambda value: quote(value, safe=_RESERVED_IN_URLS)),
    "url_param_escape": of_text(lambda value: quote(value, safe="")),
}

FILTERS = tuple(sorted({*STANDARD, *_BRAZES, "date", "time_zone"}))
"""The names of all of them."""
