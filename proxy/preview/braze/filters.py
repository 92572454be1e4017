"""The filters Braze adds to Liquid (Braze: Advanced filters), and those it says it does not have.

Values arrive as Liquid has them; a variable that is not set counts as empty text.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from urllib.parse import quote

from liquid import Environment
from liquid.stringify import to_liquid_string

_RESERVED_IN_URLS = ";/?:@&=+$,[]!*'()"

# Braze: Filters lists the first three as not supported; the others are the library's own, unknown to Liquid.
NOT_BRAZES = ("find_index", "lstrip", "rstrip", "safe", "escapejs")


def register(environment: Environment) -> None:
    """Give an environment Braze's set of filters."""
    for name in NOT_BRAZES:
        environment.filters.pop(name, None)
    for name, function in BRAZES.items():
        environment.add_filter(name, function)


def property_accessor(value: object, key: object = None) -> object:
    """Return the value of a hash at a key, or nil."""
    return value.get(key) if isinstance(value, Mapping) else None


def url_param_escape(value: object) -> str:
    """Escape everything that can't stand in a URL's parameter, the ampersand included."""
    return quote(_text(value), safe="")


def url_escape(value: object) -> str:
    """Escape what can't stand in a URL; its own separators stay."""
    return quote(_text(value), safe=_RESERVED_IN_URLS)


def json_escape(value: object) -> str:
    """Escape quotes, backslashes and control characters, for use inside a JSON string."""
    return json.dumps(_text(value), ensure_ascii=False)[1:-1]


def base64_encode(value: object) -> str:
    """Return the text in base64."""
    return _base64(_text(value).encode())


def number_with_delimiter(value: object) -> str:
    """Return a number with commas between thousands; anything else as it is."""
    whole, point, fraction = _text(value).partition(".")
    return f"{int(whole):,}{point}{fraction}" if whole.lstrip("-").isdecimal() else _text(value)


def money(value: object) -> object:
    """Return a number with two decimals and no currency; text stays, as Braze wants ``plus: 0`` before (Filters)."""
    return f"{value:.2f}" if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) else value


def md5(value: object) -> str:
    """Return the MD5 digest in hexadecimal."""
    return hashlib.md5(_text(value).encode(), usedforsecurity=False).hexdigest()


def sha1(value: object) -> str:
    """Return the SHA-1 digest in hexadecimal."""
    return hashlib.sha1(_text(value).encode(), usedforsecurity=False).hexdigest()


def sha2(value: object) -> str:
    """Return the SHA-256 digest in hexadecimal."""
    return hashlib.sha256(_text(value).encode()).hexdigest()


def hmac_sha1_hex(value: object, key: object = None) -> str:
    """Return the HMAC-SHA-1 signature in hexadecimal."""
    return _signature(value, key, "sha1").hex()


def hmac_sha1_base64(value: object, key: object = None) -> str:
    """Return the HMAC-SHA-1 signature in base64."""
    return _base64(_signature(value, key, "sha1"))


def hmac_sha256_hex(value: object, key: object = None) -> str:
    """Return the HMAC-SHA-256 signature in hexadecimal."""
    return _signature(value, key, "sha256").hex()


def hmac_sha256_base64(value: object, key: object = None) -> str:
    """Return the HMAC-SHA-256 signature in base64."""
    return _base64(_signature(value, key, "sha256"))


def _text(value: object) -> str:
    return to_liquid_string(value, autoescape=False)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _signature(value: object, key: object, algorithm: str) -> bytes:
    return hmac.digest(_text(key).encode(), _text(value).encode(), algorithm)


BRAZES: Mapping[str, Callable[..., object]] = {
    "property_accessor": property_accessor,
    "url_param_escape": url_param_escape,
    "url_escape": url_escape,
    "json_escape": json_escape,
    "base64_encode": base64_encode,
    "number_with_delimiter": number_with_delimiter,
    "money": money,
    "md5": md5,
    "sha1": sha1,
    "sha2": sha2,
    "hmac_sha1_hex": hmac_sha1_hex,
    "hmac_sha1": hmac_sha1_hex,  # its former name
    "hmac_sha1_base64": hmac_sha1_base64,
    "hmac_sha256_hex": hmac_sha256_hex,
    "hmac_sha256_base64": hmac_sha256_base64,
}
