"""How an environment variable's value is read. Each reader raises a :class:`ValueError` that says what it takes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network

RIGHTS = ("read", "invite", "hook", "admin")
"""What a credential may do. ``read`` opens the preview too, ``admin`` purging, metrics and status."""


@dataclass(frozen=True)
class Credential:
    """One ``name:secret`` pair of ``PROXY_CREDENTIALS``, with what it may do."""

    name: str
    secret: str = field(repr=False)
    rights: frozenset[str] = frozenset(RIGHTS)

    def __str__(self) -> str:
        narrowed = "" if len(self.rights) == len(RIGHTS) else f" ({'+'.join(sorted(self.rights, key=RIGHTS.index))})"
        return f"{self.name}{narrowed}"


def number(most: float = 1e9, *, above: bool = False) -> Callable[[str], float]:
    """Take a finite number that is at least 0, or ``above`` it, and at most ``most``."""

    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            raise ValueError("must be a number") from None
        if not math.isfinite(number):
            raise ValueError("must be a finite number")
        if number < 0 or (above and number == 0):
            raise ValueError(f"must be {'greater than 0' if above else '0 or greater'}")
        if number > most:
            raise ValueError(f"must be {most:.15g} or less")
        return number

    return parse


def whole(least: int, most: int = 999_999_999) -> Callable[[str], int]:
    """Take a whole number from ``least`` to ``most``."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
            end = f"{least} or greater" if most == 999_999_999 else f"{least} to {most}"
            raise ValueError(f"must be a whole number, {end}")
        return int(value)

    return parse


def calls_or_unlimited(value: str) -> int | None:
    """Take a whole number, or ``unlimited``, which is ``None``."""
    try:
        return None if value.lower() == "unlimited" else whole(1)(value)
    except ValueError as error:
        raise ValueError(f"{error}, or unlimited") from None


def boolean(value: str) -> bool:
    """Take true or false, in any of the usual spellings."""
    lowered = value.lower()
    if lowered in ("true", "1", "yes", "on"):
        return True
    if lowered in ("false", "0", "no", "off"):
        return False
    raise ValueError("must be true or false")


def one_of(*choices: str) -> Callable[[str], str]:
    """Take one of ``choices`` in either case."""

    def parse(value: str) -> str:
        if value.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value.lower()

    return parse


def header_safe(value: str) -> str:
    """Take what can be sent in an HTTP header."""
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("must be printable ASCII without spaces")
    return value


def business_units(value: str) -> tuple[str, ...]:
    """Take ids, comma-separated; each counts once."""
    units = [unit.strip() for unit in value.split(",")]
    for unit in units:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", unit):
            raise ValueError(f"{unit!r} is not a business unit id (letters, digits, - and _)")
    return tuple(dict.fromkeys(units))


def http_url(value: str) -> str:
    """Take an address that paths are added to; a slash at its end is dropped."""
    try:
        parts = urlsplit(value)
        port_is_sound = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError("must be an http:// or https:// URL") from None
    printable = re.fullmatch(r"[\x21-\x7e]+", value)
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_sound or not printable:
        raise ValueError("must be an http:// or https:// URL")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password")
    if parts.query or parts.fragment:
        raise ValueError("must not hold a query or fragment")
    return value.rstrip("/")


def cache_url(value: str) -> str:
    """Take what the store that the scheme names can read."""
    scheme = value.partition(":")[0]
    if value in ("memory:", "memory://"):
        return "memory://"
    if scheme in ("redis", "rediss", "unix"):
        if find_spec("redis") is None:
            raise ValueError("a Redis needs the extra: pip install '.[redis]'")
        from proxy.redis_link import check_url  # an extra

        check_url(value)
        return value
    cache_file(value)
    return value


def cache_file(url: str) -> Path:
    """Return the file that ``sqlite:///…`` names: relative to the working directory, with four slashes absolute."""
    scheme, _, name = url.partition(":///")
    if scheme != "sqlite" or not re.fullmatch(r"[^?#\x00-\x1f]*[^?#\x00-\x1f/.:]", name):
        raise ValueError(
            "must be sqlite:///file (four slashes before an absolute path), redis://host:port/database (rediss:// "
            "for TLS), or memory://"
        )
    return Path(name)


def credentials(value: str) -> tuple[Credential, ...]:
    """Take ``name:secret`` pairs, each with its rights or with all."""
    return tuple(_credential(number, pair.strip()) for number, pair in enumerate(value.split(","), start=1))


def _credential(number: int, pair: str) -> Credential:
    name, _, secret = pair.partition(":")
    rights = frozenset(RIGHTS)
    # A secret may hold colons, so what follows the last one is rights only if it looks like them.
    before, colon, end = secret.rpartition(":")
    words = end.split("+")
    if colon and any(get_close_matches(word.strip().lower(), RIGHTS, cutoff=0.75) for word in words):
        if not set(words) <= set(RIGHTS):
            raise ValueError(f"pair {number} ends in rights that are none; they are {'+'.join(RIGHTS)}")
        secret, rights = before, frozenset(words)
    if not (name and secret):
        raise ValueError(f"pair {number} must be name:secret, or name:secret:rights")
    if not re.fullmatch(r"[\x20-\x7e]+", name + secret) or secret != secret.strip():
        raise ValueError(f"pair {number} must be printable ASCII, without a space at the secret's end")
    return Credential(name, secret, rights)


def networks(value: str) -> tuple[Network, ...]:
    """Take networks in CIDR notation."""
    networks = []
    for text in value.split(","):
        try:
            networks.append(ip_network(text.strip()))
        except ValueError:
            raise ValueError(f"{text.strip()!r} is not a network such as 10.0.0.0/8 or 2001:db8::/32") from None
    return tuple(networks)
