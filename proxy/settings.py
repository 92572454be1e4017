"""Every environment variable the proxy reads, as one table: name, type, default and meaning of each.

The table is the default, the check and the documentation (docs/reference.md is written from it). Names, defaults and
meanings are the contract's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from proxy import variables as read
from proxy.variables import RIGHTS, Credential, Network

__all__ = ["Credential", "Network", "Settings", "SettingsError", "documented", "unknown_names"]

T = TypeVar("T")


class SettingsError(Exception):
    """The environment does not describe a proxy that can start.

    ``mistakes`` has one line per wrong variable, each naming it. Values of secrets are never quoted.
    """

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True)
class Variable:
    """A row of the table, beside the field's type and default."""

    name: str
    parse: Callable[[str], object]
    """Raises a :class:`ValueError` that says what is taken."""
    meaning: str
    secret: bool
    """Whether its value is never quoted."""


def _row(name: str, parse: Callable[[str], T], default: T, meaning: str, *, secret: bool = False) -> T:
    variable = Variable(name, parse, meaning, secret)
    row: T = field(default=default, repr=not secret, metadata={"variable": variable})
    return row


def _switch(name: str, meaning: str) -> bool:
    """Return a row that is off unless somebody turns it on."""
    return _row(name, read.boolean, default=False, meaning=meaning)


_REQUIRED: Any = MISSING
_SECONDS = read.number(above=True)
_SECONDS_OR_0 = read.number()
_COUNT = read.whole(1)
_A_YEAR: int | None = 200_000
_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment asked for. Durations are seconds, sizes are mebibytes where the name says so."""

    api_key: str = _row(
        "TRUSTPILOT_API_KEY", read.header_safe, _REQUIRED, "Trustpilot's API key. Required", secret=True
    )
    business_units: tuple[str, ...] = _row(
        "TRUSTPILOT_BUSINESS_UNIT_ID",
        read.business_units,
        _REQUIRED,
        "one or several business units, comma-separated; the first is the default one. Required",
    )
    api_secret: str | None = _row(
        "TRUSTPILOT_API_SECRET",
        read.header_safe,
        None,
        "the API secret; needed for invitations, links, the token endpoint and the private API",
        secret=True,
    )
    business_user_id: str | None = _row(
        "TRUSTPILOT_BUSINESS_USER_ID", read.header_safe, None, "the business user who sends the invitations"
    )
    api_url: str = _row(
        "TRUSTPILOT_API_URL", read.http_url, "https://api.trustpilot.com/v1", "Trustpilot's API, or a test system's"
    )
    invitations_url: str = _row(
        "TRUSTPILOT_INVITATIONS_URL",
        read.http_url,
        "https://invitations-api.trustpilot.com/v1",
        "Trustpilot's API for invitations, or a test system's",
    )
    calls_per_5_minutes: int = _row("TRUSTPILOT_CALLS_PER_5_MINUTES", _COUNT, 833, "most calls in any 5 minutes")
    calls_per_hour: int = _row("TRUSTPILOT_CALLS_PER_HOUR", _COUNT, 10_000, "most calls in any hour")
    calls_per_year: int | None = _row(
        "TRUSTPILOT_CALLS_PER_YEAR",
        read.calls_or_unlimited,
        _A_YEAR,
        "calls a year that the plan has, or `unlimited`; when a day's share is used up, copies are stale for longer",
    )
    batch_skus: int = _row(
        "TRUSTPILOT_BATCH_SKUS",
        _COUNT,
        100,
        "most SKUs in one summaries call; fewer are asked for where Trustpilot rejects so many",
    )
    imported_reviews: bool = _switch(
        "TRUSTPILOT_IMPORTED_REVIEWS",
        "`true` merges reviews imported from an earlier platform wherever `imported` is not given",
    )
    sync: str = _row(
        "SYNC",
        read.one_of("auto", "feed", "summaries", "off"),
        "auto",
        "how copies are kept true: `off` fetches each again when it is stale; `summaries` only what changed, as the "
        "counts of many products in one call show; `feed` reads all new reviews of a shop in one call; `auto`: "
        "`feed` where there is an API secret",
    )
    credentials: tuple[Credential, ...] = _row(
        "PROXY_CREDENTIALS",
        read.credentials,
        (),
        "`name:secret` pairs, comma-separated; `name:secret:read+hook` narrows one to those of the rights `read`, "
        "`invite`, `hook` and `admin`",
        secret=True,
    )
    allow_anonymous: bool = _switch("PROXY_ALLOW_ANONYMOUS", "`true` opens reading under `/v1` to everyone")
    allowed_networks: tuple[Network, ...] = _row(
        "PROXY_ALLOWED_CIDRS", read.networks, (), "networks that may call, comma-separated; without it all"
    )
    trusted_hops: int = _row(
        "PROXY_TRUSTED_HOPS", read.whole(0), 0, "how many proxies in front are believed about the caller's address"
    )
    drain_seconds: float = _row(
        "PROXY_DRAIN_SECONDS",
        read.number(3600),
        0.0,
        "from SIGTERM, when `/readyz` turns, until no more calls are taken",
    )
    cache_url: str = _row(
        "CACHE_URL",
        read.cache_url,
        "sqlite:///proxy.sqlite3",
        "what the workers share: a file of this machine, relative to the working directory (four slashes: absolute); "
        "`redis://…` for several machines; `memory://` for nothing",
        secret=True,
    )
    fresh_seconds: float = _row("CACHE_FRESH_SECONDS", _SECONDS, 900.0, "age until which a copy is fresh")
    stale_seconds: float = _row(
        "CACHE_STALE_SECONDS",
        _SECONDS_OR_0,
        86_400.0,
        "age until which a copy is answered while a new one is fetched; from then on it is gone",
    )
    missing_seconds: float = _row(
        "CACHE_MISSING_SECONDS", _SECONDS_OR_0, 300.0, "how long a product without reviews is remembered"
    )
    cache_max_mb: float = _row("CACHE_MAX_MB", _SECONDS, 64.0, "memory for copies in each worker, in MiB")
    cache_max_disk_mb: float = _row(
        "CACHE_MAX_DISK_MB", _SECONDS, 1024.0, "most MiB that the file of `CACHE_URL` grows to"
    )
    deadline_seconds: float = _row("DEADLINE_SECONDS", _SECONDS, 1.5, "the longest an answer takes")
    upstream_timeout_seconds: float = _row(
        "UPSTREAM_TIMEOUT_SECONDS", _SECONDS, 10.0, "the longest a call to Trustpilot takes"
    )
    upstream_concurrency: int = _row(
        "UPSTREAM_CONCURRENCY", _COUNT, 128, "most calls to Trustpilot at once, in each worker"
    )
    token_endpoint: bool = _switch(
        "TOKEN_ENDPOINT",
        "`true` opens Trustpilot's own token call; deprecated, `/v1/invitation-links` needs no token",
    )
    preview: bool = _switch("PREVIEW", "`true` opens `/preview`; it needs the extra `preview`")
    log_level: str = _row(
        "LOG_LEVEL", read.one_of(*_LEVELS), "info", "`debug`, `info`, `warning`, `error`, `critical`"
    )
    port: int = _row("PORT", read.whole(0, 65_535), 8000, "where the proxy listens")
    web_concurrency: int | None = _row(
        "WEB_CONCURRENCY",
        read.whole(1, 1000),
        None,
        "worker processes; without it one with `memory://`, else one per core",
    )

    @property
    def shared_store(self) -> bool:
        return not self.cache_url.startswith("memory:")

    @property
    def uses_redis(self) -> bool:
        return self.shared_store and self.cache_file is None

    @property
    def cache_file(self) -> Path | None:
        """The SQLite file that is the shared cache, if it is one."""
        return read.cache_file(self.cache_url) if self.cache_url.startswith("sqlite:") else None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be seen: keys, secrets, and the shared store's password."""
        store = urlsplit(self.cache_url)
        passwords = (store.password, unquote(store.password or ""), *parse_qs(store.query).get("password", ()))
        known = (self.api_key, self.api_secret, *passwords, *(pair.secret for pair in self.credentials))
        return tuple(secret for secret in known if secret)

    @property
    def workers(self) -> int:
        """Worker processes to run: one per core with a shared store, one with memory.

        Workers do not share memory, so each one more would pay Trustpilot for the same SKUs again.
        """
        if self.web_concurrency is not None:
            return self.web_concurrency
        return (os.cpu_count() or 1) if self.shared_store else 1

    def shown(self) -> dict[str, str]:
        """Return the value of each variable as text that may be seen: of a secret only whether it is set."""
        values = {variable.name: (variable, getattr(self, row.name)) for row, variable in _rows()}
        shown = {
            name: ("set" if value else "") if variable.secret else _written(value)
            for name, (variable, value) in values.items()
        }
        shown["PROXY_CREDENTIALS"] = ", ".join(map(str, self.credentials))
        # Of a Redis not the password.
        host = f"{self.cache_url.partition(':')[0]}://" + (urlsplit(self.cache_url).hostname or "")
        shown["CACHE_URL"] = self.cache_url if self.cache_file else host
        return shown

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the variables of the table from ``environment``; an empty value counts as not set.

        Raises :class:`SettingsError` with every mistake found.
        """
        values: dict[str, Any] = {}
        mistakes = []
        wrong = set()
        for row, variable in _rows():
            given = environment.get(variable.name, "").strip()
            if not given and row.default is MISSING:
                mistakes.append(f"{variable.name} is not set: it is required")
            if not given:
                continue
            try:
                values[row.name] = variable.parse(given)
            except ValueError as mistake:
                # An address may hold a password or a key, in a place where it takes none.
                shown = "" if variable.secret or re.search("[@?]", given) else f"={given!r}"
                mistakes.append(f"{variable.name}{shown}: {mistake}")
                wrong.add(row.name)
        settings = cls(**{"api_key": "", "business_units": (), **values})
        mistakes += _mistakes_together(settings, wrong)
        if mistakes:
            raise SettingsError(mistakes)
        return settings


def _rows() -> list[tuple[Field[Any], Variable]]:
    return [(row, row.metadata["variable"]) for row in fields(Settings)]


def _mistakes_together(settings: Settings, wrong: set[str]) -> Iterator[str]:
    """Yield what is wrong between variables that are right each by itself; ``wrong`` are those that are not."""
    if not settings.credentials and "credentials" not in wrong:
        if not settings.allow_anonymous:
            yield (
                "PROXY_CREDENTIALS is not set: give name:secret pairs, or set PROXY_ALLOW_ANONYMOUS=true "
                "to open reading to everyone"
            )
        if settings.preview:
            yield "PREVIEW is true but PROXY_CREDENTIALS is not set: it renders for known callers only"
    if settings.preview and find_spec("liquid") is None:
        yield "PREVIEW is true but python-liquid is not installed: pip install '.[preview]'"
    if settings.sync == "feed" and not settings.api_secret and "api_secret" not in wrong:
        yield "SYNC is feed but TRUSTPILOT_API_SECRET is not set: a feed takes a token; auto does without"
    if settings.token_endpoint and not settings.api_secret and "api_secret" not in wrong:
        yield "TOKEN_ENDPOINT is true but TRUSTPILOT_API_SECRET is not set: there is no token without it"


def documented() -> list[tuple[str, str, str]]:
    """Return the table for people: name, default, meaning."""
    rows = [(variable.name, _written(row.default), variable.meaning) for row, variable in _rows()]
    # Where settings come from, so it is none of them.
    return [*rows, ("PROXY_ENV_FILE", "", "a file with these settings; it is read again at SIGHUP")]


def _written(value: object) -> str:
    if value is None or value is MISSING:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def unknown_names(environment: Mapping[str, str]) -> list[str]:
    """Return a warning for each variable that looks like one of the table and is none, with the nearest."""
    known = [name for name, _, _ in documented()]
    warnings = []
    for name in sorted(set(environment) - set(known)):
        # Nobody else's begin like that. Others' may begin with PROXY_, such as Kubernetes' own.
        likeness = 0.0 if name.startswith("TRUSTPILOT_") else 0.75
        begun = [one for one in known if "_" in name and one.startswith(f"{name.upper()}_")]
        if nearest := begun or get_close_matches(name.upper(), known, n=1, cutoff=likeness):
            warnings.append(f"{name} is no setting; {nearest[0]} is")
    return warnings


def doubtful_rights(environment: Mapping[str, str]) -> list[str]:
    """Return a warning for each secret that ends as if it named rights, and names none: it has all of them."""
    try:
        pairs = read.credentials(environment.get("PROXY_CREDENTIALS", ""))
    except ValueError:
        return []  # none are given, or they are reported as a mistake
    return [
        f"PROXY_CREDENTIALS: the secret of {pair.name} ends in a colon and a word that is no right, so the word is a "
        f"part of the secret and every right is given; the rights are {'+'.join(RIGHTS)}"
        for pair in pairs
        if re.search(r":[a-z]+(\+[a-z]+)*$", pair.secret) and len(pair.rights) == len(RIGHTS)
    ]


def deprecated_names(environment: Mapping[str, str]) -> list[str]:
    """Return a warning for each variable that still works and should not be needed any more."""
    if environment.get("TOKEN_ENDPOINT", "").strip().lower() not in ("true", "1", "yes", "on"):
        return []
    return [
        "TOKEN_ENDPOINT is deprecated: /v1/invitations and /v1/invitation-links need no token in the template "
        "(docs/invitations.md)"
    ]
