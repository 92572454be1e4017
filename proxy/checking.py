"""``flask --app wsgi check``: tries the configured credentials against Trustpilot, a line for each."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import quote

import click

from proxy.server.configuration import with_file
from proxy.settings import Settings, SettingsError
from proxy.trustpilot.decode import read_feed
from proxy.trustpilot.errors import Refused, TrustpilotError, TurnedAway
from proxy.trustpilot.response import FIREWALL
from proxy.trustpilot.token import Grant, Token
from proxy.trustpilot.transport import Transport


@dataclass(frozen=True)
class Finding:
    """One line: what was tried, what came of it, and what to do."""

    works: bool
    text: str


@click.command("check")
def check() -> None:
    """Try the configured credentials against Trustpilot; costs one or two calls per business unit and a token."""
    try:
        settings = Settings.from_environment(with_file(os.environ))
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    transport = Transport(timeout=settings.upstream_timeout_seconds, concurrency=1)
    works = True
    for finding in findings(settings, transport):
        click.echo(f"{'ok ' if finding.works else 'NOT'} {finding.text}")
        works &= finding.works
    if not works:
        sys.exit(1)


def findings(settings: Settings, transport: Transport) -> Iterator[Finding]:
    """Try one thing after the other."""
    for unit in settings.business_units:
        yield _reviews(settings, transport, unit)
    if settings.api_secret is None:
        yield Finding(works=True, text="token: not tried; to send invitations set TRUSTPILOT_API_SECRET")
        return
    finding, token = _token(settings, transport, settings.api_secret)
    yield finding
    if token is not None and settings.sync in ("auto", "feed"):
        for unit in settings.business_units:
            yield _feed(settings, transport, unit, token)
    if settings.business_user_id is None:
        yield Finding(
            works=False,
            text="business user: not set, and Trustpilot asks for one; set TRUSTPILOT_BUSINESS_USER_ID to the id on "
            "an admin's profile page",
        )


def _reviews(settings: Settings, transport: Transport, unit: str) -> Finding:
    what = f"reviews of business unit {unit}"
    query = "sku=connected-content-proxy-check&perPage=1"
    url = f"{settings.api_url}/product-reviews/business-units/{quote(unit, safe='')}/reviews?{query}"
    try:
        response = transport.send("GET", url, headers={"apikey": settings.api_key})
    except TrustpilotError as error:
        return Finding(works=False, text=f"{what}: {error}; check TRUSTPILOT_API_URL and the network")
    status = response.status
    if response.is_firewall_page:
        return Finding(works=False, text=f"{what}: {FIREWALL}; {_UNWELCOME}")
    if status == 200:
        return Finding(works=True, text=f"{what}: work")
    return Finding(works=False, text=f"{what}: Trustpilot answered {status}; {_ADVICE.get(status, _LATER)}")


_UNWELCOME = "ask Trustpilot's support to let this machine's address pass; the key was not looked at"
_LATER = "try again in 15 minutes, then ask Trustpilot's support"
_ADVICE = {
    401: "check TRUSTPILOT_API_KEY",
    403: "check that the key of TRUSTPILOT_API_KEY may read product reviews",
    404: "check TRUSTPILOT_BUSINESS_UNIT_ID and TRUSTPILOT_API_URL",
    429: "too many calls; try again in 15 minutes",
}


def _feed(settings: Settings, transport: Transport, unit: str, token: Token) -> Finding:
    """Try the way in which one call confirms a whole shop. Without it ``SYNC=auto`` goes another."""
    what, works = f"feed of business unit {unit}", settings.sync == "auto"
    otherwise = "SYNC=auto confirms products by their counts instead" if works else "set SYNC=auto"
    url = f"{settings.api_url}/private/product-reviews/business-units/{quote(unit, safe='')}/reviews?perPage=100"
    try:
        response = transport.send("GET", url, headers={"Authorization": f"Bearer {token.text}"})
        if response.status != 200:
            return Finding(works=works, text=f"{what}: Trustpilot answered {response.status}; {otherwise}")
        items, _ = read_feed(response.body)
    except TrustpilotError as error:
        return Finding(works=works, text=f"{what}: {error}; {otherwise}")
    if any(earlier.written < later.written for earlier, later in pairwise(items)):
        return Finding(works=works, text=f"{what}: not newest first; {otherwise}")
    return Finding(works=True, text=f"{what}: works, newest first: one call confirms all products")


def _token(settings: Settings, transport: Transport, secret: str) -> tuple[Finding, Token | None]:
    grant = Grant(transport, api_url=settings.api_url, api_key=settings.api_key, api_secret=secret, now=time.time)
    try:
        token = grant.fetch()
    except Refused as error:
        advice = "check TRUSTPILOT_API_SECRET, and that it belongs to TRUSTPILOT_API_KEY"
        return Finding(works=False, text=f"token: {error}; {advice}"), None
    except TurnedAway as error:
        return Finding(works=False, text=f"token: {error}; {_UNWELCOME}"), None
    except TrustpilotError as error:
        return Finding(
            works=False, text=f"token: {error}; check TRUSTPILOT_API_URL, or try again in 15 minutes"
        ), None
    hours = (token.expires_at - time.time()) / 3600
    return Finding(works=True, text=f"token: works, lasts {hours:.0f} hours"), token
