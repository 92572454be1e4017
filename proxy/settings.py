"""Every environment variable the proxy reads, as one typed, frozen object.

Names, defaults and meanings are the contract's. All mistakes are collected and reported at once, so that a
wrong deployment is put right in one go.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
Network = IPv4Network | IPv6Network

_BUSINESS_UNIT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


class SettingsError(Exception):
    """The environment does not describe a proxy that can start.

    ``mistakes`` has one line per wrong variable, each naming it. Values of secrets are never quoted.
    """

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True)
class Credential:
    """One ``name:secret`` pair of ``PROXY_CREDENTIALS``."""

    name: str
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment asked for. Durations are seconds, sizes are mebibytes where the name says so."""

    api_key: str = field(repr=False)
    business_units: tuple[str, ...]
    """The configured business units; the first is the default one."""
    api_secret: str | None = field(default=None, repr=False)
    business_user_id: str | None = None
    api_url: str = "https://api.trustpilot.com/v1"
    invitations_url: str = "https://invitations-api.trustpilot.com/v1"
    calls_per_5_minutes: int = 833
    calls_per_hour: int = 10_000
    credentials: tuple[Credential, ...] = ()
    allow_anonymous: bool = False
    allowed_networks: tuple[Network, ...] = ()
    """Callers' networks; empty allows all."""
    trusted_hops: int = 0
    cache_url: str = field(default="memory://", repr=False)
    fresh_seconds: float = 900
    stale_seconds: float = 86_400
    """Age at which a copy is gone. At or below ``fresh_seconds`` there is no stale phase."""
    missing_seconds: float = 300
    cache_max_mb: float = 64
    deadline_seconds: float = 1.5
    upstream_timeout_seconds: float = 10
    upstream_concurrency: int = 32
    token_endpoint: bool = False
    preview: bool = False
    log_level: str = "info"
    port: int = 8000
    drain_seconds: float = 0
    """From SIGTERM, when ``/readyz`` turns, until no more connections are taken."""
    web_concurrency: int | None = None
    """Worker processes; ``None`` leaves the choice to the store (see :meth:`workers`)."""

    @property
    def shared_store(self) -> bool:
        """Whether several workers share one cache."""
        return not self.cache_url.startswith("memory:")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be seen: keys, secrets, and the shared store's password."""
        password = urlsplit(self.cache_url).password
        known = (self.api_key, self.api_secret, password, *(pair.secret for pair in self.credentials))
        return tuple(secret for secret in known if secret)

    @property
    def workers(self) -> int:
        """Worker processes to run: one per core with a shared store, one with memory.

        Workers do not share memory, so each one more would pay Trustpilot for the same SKUs again.
        """
        if self.web_concurrency is not None:
            return self.web_concurrency
        return (os.cpu_count() or 1) if self.shared_store else 1

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the contract's variables from ``environment``; an empty value counts as not set.

        Raises :class:`SettingsError` with every mistake found.
        """
        return _Reader(environment).settings()


class _Reader:
    """Reads variables one by one and remembers what was wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._mistakes: list[str] = []

    def settings(self) -> Settings:
        defaults = Settings(api_key="", business_units=())
        settings = Settings(
            api_key=self._required("TRUSTPILOT_API_KEY", _header_safe, ""),
            business_units=self._required("TRUSTPILOT_BUSINESS_UNIT_ID", _business_units, ()),
            api_secret=self._read("TRUSTPILOT_API_SECRET", _header_safe, None, secret=True),
            business_user_id=self._read("TRUSTPILOT_BUSINESS_USER_ID", _header_safe, None),
            api_url=self._read("TRUSTPILOT_API_URL", _http_url, defaults.api_url),
            invitations_url=self._read("TRUSTPILOT_INVITATIONS_URL", _http_url, defaults.invitations_url),
            calls_per_5_minutes=self._read("TRUSTPILOT_CALLS_PER_5_MINUTES", _count, 833),
            calls_per_hour=self._read("TRUSTPILOT_CALLS_PER_HOUR", _count, 10_000),
            credentials=self._read("PROXY_CREDENTIALS", _credentials, (), secret=True),
            allow_anonymous=self._read("PROXY_ALLOW_ANONYMOUS", _boolean, default=False),
            allowed_networks=self._read("PROXY_ALLOWED_CIDRS", _networks, ()),
            trusted_hops=self._read("PROXY_TRUSTED_HOPS", _natural, 0),
            cache_url=self._read("CACHE_URL", _cache_url, defaults.cache_url, secret=True),
            fresh_seconds=self._read("CACHE_FRESH_SECONDS", _positive, defaults.fresh_seconds),
            stale_seconds=self._read("CACHE_STALE_SECONDS", _not_negative, defaults.stale_seconds),
            missing_seconds=self._read("CACHE_MISSING_SECONDS", _not_negative, defaults.missing_seconds),
            cache_max_mb=self._read("CACHE_MAX_MB", _positive, defaults.cache_max_mb),
            deadline_seconds=self._read("DEADLINE_SECONDS", _positive, defaults.deadline_seconds),
            upstream_timeout_seconds=self._read(
                "UPSTREAM_TIMEOUT_SECONDS", _positive, defaults.upstream_timeout_seconds
            ),
            upstream_concurrency=self._read("UPSTREAM_CONCURRENCY", _count, defaults.upstream_concurrency),
            token_endpoint=self._read("TOKEN_ENDPOINT", _boolean, default=False),
            preview=self._read("PREVIEW", _boolean, default=False),
            log_level=self._read("LOG_LEVEL", _log_level, defaults.log_level),
            port=self._read("PORT", _port, defaults.port),
            drain_seconds=self._read("PROXY_DRAIN_SECONDS", _not_negative, defaults.drain_seconds),
            web_concurrency=self._read("WEB_CONCURRENCY", _count, None),
        )
        self._check_together(settings)
        if self._mistakes:
            raise SettingsError(self._mistakes)
        return settings

    def _check_together(self, settings: Settings) -> None:
        """Find what is wrong between variables that are right each by itself."""
        if not settings.credentials and not settings.allow_anonymous and not self._value("PROXY_CREDENTIALS"):
            self._mistakes.append(
                "PROXY_CREDENTIALS is not set: give name:secret pairs, or set PROXY_ALLOW_ANONYMOUS=true "
                "to open reading to everyone"
            )
        if settings.shared_store and find_spec("redis") is None:
            self._mistakes.append("CACHE_URL names a Redis, which needs the extra: pip install '.[redis]'")
        if settings.preview and find_spec("liquid") is None:
            self._mistakes.append("PREVIEW is true but python-liquid is not installed: pip install '.[preview]'")
        if settings.preview and not settings.credentials and not self._value("PROXY_CREDENTIALS"):
            self._mistakes.append(
                "PREVIEW is true but PROXY_CREDENTIALS is not set: it renders for known callers only"
            )
        if settings.token_endpoint and not settings.api_secret:
            self._mistakes.append("TOKEN_ENDPOINT is true but TRUSTPILOT_API_SECRET is not set: no token can be had")

    def _value(self, name: str) -> str:
        return self._environment.get(name, "").strip()

    def _read(self, name: str, parse: Callable[[str], T], default: T | None, *, secret: bool = False) -> T:
        value = self._value(name)
        if not value:
            return default  # type: ignore[return-value]  # the caller's T includes the default's type
        try:
            return parse(value)
        except ValueError as mistake:
            shown = "" if secret else f"={value!r}"
            self._mistakes.append(f"{name}{shown}: {mistake}")
            return default  # type: ignore[return-value]  # never seen: a mistake stops the start

    def _required(self, name: str, parse: Callable[[str], T], nothing: T) -> T:
        if not self._value(name):
            self._mistakes.append(f"{name} is not set: it is required")
            return nothing
        return self._read(name, parse, nothing, secret=name == "TRUSTPILOT_API_KEY")


def _number(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise ValueError("must be a number") from None
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def _positive(value: str) -> float:
    if (number := _number(value)) <= 0:
        raise ValueError("must be greater than 0")
    return number


def _not_negative(value: str) -> float:
    if (number := _number(value)) < 0:
        raise ValueError("must be 0 or greater")
    return number


def _natural(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise ValueError("must be a whole number, 0 or greater")
    return int(value)


def _count(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) == 0:
        raise ValueError("must be a whole number, 1 or greater")
    return int(value)


def _port(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) > 65_535:
        raise ValueError("must be a port, 0 to 65535")
    return int(value)


def _boolean(value: str) -> bool:
    lowered = value.lower()
    if lowered in ("true", "1", "yes", "on"):
        return True
    if lowered in ("false", "0", "no", "off"):
        return False
    raise ValueError("must be true or false")


def _log_level(value: str) -> str:
    if value.lower() not in _LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(_LOG_LEVELS)}")
    return value.lower()


def _header_safe(value: str) -> str:
    """Accept what can be sent in an HTTP header."""
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("must be printable ASCII without spaces")
    return value


def _business_units(value: str) -> tuple[str, ...]:
    units = [unit.strip() for unit in value.split(",")]
    for unit in units:
        if not _BUSINESS_UNIT.fullmatch(unit):
            raise ValueError(f"{unit!r} is not a business unit id (letters, digits, - and _)")
    return tuple(dict.fromkeys(units))


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port_is_sound = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError("must be an http:// or https:// URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_sound:
        raise ValueError("must be an http:// or https:// URL")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password")
    if parts.query or parts.fragment:
        raise ValueError("must not hold a query or fragment")
    return value.rstrip("/")


def _cache_url(value: str) -> str:
    parts = urlsplit(value)
    if value in ("memory:", "memory://"):
        return "memory://"
    if parts.scheme in ("redis", "rediss", "unix"):
        return value
    raise ValueError("must be memory://, or redis://host:port/database (rediss:// for TLS)")


def _credentials(value: str) -> tuple[Credential, ...]:
    pairs = []
    for number, pair in enumerate(value.split(","), start=1):
        name, colon, secret = pair.strip().partition(":")
        if not (name and colon and secret):
            raise ValueError(f"pair {number} must be name:secret")
        if not re.fullmatch(r"[\x21-\x7e]+", name + secret):
            raise ValueError(f"pair {number} must be printable ASCII without spaces")
        pairs.append(Credential(name, secret))
    return tuple(pairs)


def _networks(value: str) -> tuple[Network, ...]:
    networks = []
    for text in value.split(","):
        try:
            networks.append(ip_network(text.strip()))
        except ValueError:
            raise ValueError(f"{text.strip()!r} is not a network such as 10.0.0.0/8 or 2001:db8::/32") from None
    return tuple(networks)
