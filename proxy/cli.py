"""flask's commands: demo, cache, check and sync here, the others in their rooms."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import quote

import click
from flask import current_app
from flask.cli import with_appcontext

from proxy.api.openapi import print_collection as collection
from proxy.cache import Entry, State
from proxy.export import export
from proxy.preview import preview
from proxy.reviews.page_loader import product_name
from proxy.sandbox import API_KEY, API_SECRET, BUSINESS_UNIT
from proxy.sandbox.server import sandbox
from proxy.server import with_file
from proxy.settings import Settings, SettingsError, documented
from proxy.sync import Sync
from proxy.sync.feed import dated, is_newest_first
from proxy.terminal import bar, end_if_stopped, shared_store, stopped_by_signals
from proxy.trustpilot import FIREWALL, Refused, TrustpilotError, TurnedAway
from proxy.trustpilot.changes import read_feed
from proxy.trustpilot.private import Grant, Token
from proxy.trustpilot.transport import Transport
from proxy.warming import warm

if TYPE_CHECKING:
    from proxy.app import Proxy

__all__ = ["cache", "check", "collection", "demo", "export", "preview", "sandbox", "sync", "warm"]

_NAME, _SECRET = "demo", "demo-secret"  # guards sample data
_GUNICORN_CONFIG = "gunicorn.conf.py"


@click.command("demo")
@click.option("--host", default="127.0.0.1", show_default=True, help="where to listen; 0.0.0.0 in a container")
@click.option("--port", default=8000, show_default=True, envvar="PORT", help="a free one is taken if this is not")
def demo(host: str, port: int) -> None:
    """Run the sandbox and a proxy in front of it until Ctrl-C, and print what to try.

    Whatever the environment and .env say: nothing is asked of Trustpilot, and no store of yours is touched.
    """
    root = Path.cwd()
    if not (root / _GUNICORN_CONFIG).is_file():
        raise click.ClickException(f"takes the folder that holds wsgi.py and {_GUNICORN_CONFIG}")
    # Also where a shell started this in the background, with the signal ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with TemporaryDirectory(prefix="connected-content-proxy-") as folder, contextlib.ExitStack() as running:
            _run(host, _free_port(host, port), root, Path(folder), running)
    except KeyboardInterrupt:
        click.echo("\nStopped.")


def _run(host: str, port: int, root: Path, folder: Path, running: contextlib.ExitStack) -> None:
    click.echo("Starting a stand-in for Trustpilot with sample reviews, and the proxy in front of it: a few seconds.")
    settings = {name for name, _, _ in documented()}
    environment = {name: value for name, value in os.environ.items() if name not in settings}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), environment.get("PYTHONPATH"))))
    sandbox = _start(["proxy.sandbox.server", "--port", "0"], environment, folder, running, subprocess.PIPE)
    listening = re.search(r"http://\S+", sandbox.stdout.readline() if sandbox.stdout else "")
    if not listening:
        raise click.ClickException("the sandbox did not start")
    api_url = listening[0]
    environment |= {
        # Not a .env that happens to be above the folder.
        "PROXY_ENV_FILE": os.devnull,
        "TRUSTPILOT_API_URL": api_url,
        "TRUSTPILOT_INVITATIONS_URL": api_url,
        "TRUSTPILOT_API_KEY": API_KEY,
        "TRUSTPILOT_API_SECRET": API_SECRET,
        "TRUSTPILOT_BUSINESS_UNIT_ID": BUSINESS_UNIT,
        "TRUSTPILOT_BUSINESS_USER_ID": "demo-user",
        "PROXY_CREDENTIALS": f"{_NAME}:{_SECRET}",
        "PREVIEW": "false" if find_spec("liquid") is None else "true",
        "LOG_LEVEL": "warning",
    }
    options = ["--config", str(root / _GUNICORN_CONFIG), "--bind", f"{host}:{port}"]
    server = _start(["gunicorn", "wsgi:app", *options], environment, folder, running, None)
    here = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104  # compared
    _await(here, port, server)
    click.echo(_greeting(f"http://{here}:{port}"))
    if status := server.wait():
        raise click.ClickException(f"the proxy stopped with status {status}")


def _start(
    module: list[str], environment: dict[str, str], folder: Path, running: contextlib.ExitStack, stdout: int | None
) -> subprocess.Popen[str]:
    """Start a module of Python's, which is stopped with ``running``.

    In a session of its own: it gets one SIGTERM, and not the terminal's Ctrl-C as well, which gunicorn's workers take
    in the middle of their shutdown with a traceback.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        cwd=folder,
        env=environment,
        stdout=stdout,
        text=True,
        start_new_session=True,
    )

    def stop() -> None:
        if process.poll() is None:
            process.terminate()
            process.wait(20)

    running.callback(stop)
    return process


def _free_port(host: str, wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                click.echo(f"Port {wanted} is taken; using a free one.")
                continue
            return int(probe.getsockname()[1])
    raise click.ClickException(f"no port is free at {host}")


def _await(host: str, port: int, server: subprocess.Popen[str]) -> None:
    while server.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex((host, port)) == 0:
                return
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    raise click.ClickException("the proxy did not start; its message is above")


def _greeting(url: str) -> str:
    return f"""
  {url.replace("//", f"//{_NAME}:{_SECRET}@")}/

is the page to begin with: name {_NAME}, secret {_SECRET}. In a terminal:

  curl -u {_NAME}:{_SECRET} '{url}/v1/reviews?sku=TRUCK-01'

In a Braze message:

  {{% connected_content {url}/v1/reviews?sku={{{{event_properties.${{item_sku}} | url_param_escape}}}}
     :headers {{"X-Api-Key": "{_SECRET}"}} :save product %}}
  {{% if product.found %}}{{{{ product.reviews[0].content }}}} – {{{{ product.reviews[0].author }}}}{{% endif %}}

The reviews are samples: nothing is asked of Trustpilot. Ctrl-C stops everything.
"""


_AT_ONCE = 16
_STATES = {State.HIT: "fresh", State.STALE: "stale", State.MISS: "gone"}


@click.group("cache")
def cache() -> None:
    """Look into the store that the proxies share, or empty it; they may be running."""


@cache.command("stats")
@with_appcontext
def stats() -> None:
    """Count what is cached, and the calls made."""
    with shared_store() as proxy:
        products: set[str] = set()
        states: Counter[str] = Counter()
        size = 0

        def look(product: str, _part: str, entry: Entry) -> None:
            nonlocal size
            products.add(product)
            states[_state(proxy, entry)] += 1
            size += len(entry.value)

        proxy.store.scan("", look)
        click.echo(f"store     {proxy.settings.shown()['CACHE_URL']}")
        if (file := proxy.settings.cache_file) is not None and file.exists():
            most = proxy.settings.cache_max_disk_mb
            click.echo(f"file      {file.stat().st_size / 1024**2:.1f} MiB, at most {most:g} MiB")
        counted = ", ".join(f"{states[state]} {state}" for state in _STATES.values())
        click.echo(f"products  {len(products)} in {states.total()} entries ({counted}), {size / 1024**2:.1f} MiB")
        for use in proxy.quota.uses():
            click.echo(f"calls     {use.used} of {use.window.calls} in the last {use.window.name}")


@cache.command("show")
@click.argument("sku")
@click.option("--business-unit", help="[default: all configured]")
@with_appcontext
def show(sku: str, business_unit: str | None) -> None:
    """Show what is cached for SKU: each part, its age and its size; exit status 1 when there is nothing."""
    with shared_store() as proxy:
        units = [business_unit] if business_unit else proxy.settings.business_units
        names = [product_name(unit, sku) for unit in units]
        shown = 0

        def look(product: str, part: str, entry: Entry) -> None:
            nonlocal shown
            if product in names:
                shown += 1
                age = max(0.0, time.time() - entry.as_of)
                what = "" if entry.found else ", holds nothing"
                click.echo(
                    f"{product}  {part}  {_state(proxy, entry)}, {age:.0f} s old, {len(entry.value)} bytes{what}"
                )

        for name in names:
            proxy.store.scan(name, look)
    if not shown:
        raise click.ClickException(f"nothing is cached for {sku}")


@cache.command("clear")
@with_appcontext
def clear() -> None:
    """Drop all cached reviews. The count of calls and the record of sent invitations stay."""
    with shared_store() as proxy:
        products: set[str] = set()
        proxy.store.scan("", lambda product, _part, _entry: products.add(product))
        # Side by side, so that many become one write.
        with ThreadPoolExecutor(_AT_ONCE) as workers:
            list(workers.map(proxy.cache.invalidate, products))
    click.echo(f"{len(products)} products dropped")


def _state(proxy: Proxy, entry: Entry) -> str:
    return _STATES[proxy.store.lifetimes.state(entry, time.time())]


Finding = tuple[bool, str]
"""Whether something works, and a line: what was tried, what came of it, and what to do."""


@click.command("check")
def check() -> None:
    """Try the configured credentials against Trustpilot; costs one or two calls per business unit and a token."""
    try:
        settings = Settings.from_environment(with_file(os.environ))
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    transport = Transport(timeout=settings.upstream_timeout_seconds, concurrency=1)
    works = True
    for this_works, text in findings(settings, transport):
        click.echo(f"{'ok ' if this_works else 'NOT'} {text}")
        works &= this_works
    if not works:
        sys.exit(1)


def findings(settings: Settings, transport: Transport) -> Iterator[Finding]:
    """Try one thing after the other."""
    for unit in settings.business_units:
        yield _reviews(settings, transport, unit)
    if settings.api_secret is None:
        yield (True, "token: not tried; to send invitations set TRUSTPILOT_API_SECRET")
        return
    finding, token = _token(settings, transport, settings.api_secret)
    yield finding
    if token is not None and settings.sync in ("auto", "feed"):
        for unit in settings.business_units:
            yield _feed(settings, transport, unit, token)
    if settings.business_user_id is None:
        yield (
            False,
            "business user: not set, and Trustpilot asks for one; set TRUSTPILOT_BUSINESS_USER_ID to the id on "
            "an admin's profile page",
        )


def _reviews(settings: Settings, transport: Transport, unit: str) -> Finding:
    what = f"reviews of business unit {unit}"
    query = "sku=connected-content-proxy-check&perPage=1"
    url = f"{settings.api_url}/product-reviews/business-units/{quote(unit, safe='')}/reviews?{query}"
    try:
        response = transport.send("GET", url, headers={"apikey": settings.api_key})
    except TrustpilotError as error:
        return (False, f"{what}: {error}; check TRUSTPILOT_API_URL and the network")
    status = response.status
    if response.is_firewall_page:
        return (False, f"{what}: {FIREWALL}; {_UNWELCOME}")
    if status == 200:
        return (True, f"{what}: work")
    return (False, f"{what}: Trustpilot answered {status}; {_ADVICE.get(status, _LATER)}")


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
            return (works, f"{what}: Trustpilot answered {response.status}; {otherwise}")
        items, _ = read_feed(response.body)
    except TrustpilotError as error:
        return (works, f"{what}: {error}; {otherwise}")
    if not is_newest_first(dated(items)):
        return (works, f"{what}: not newest first; {otherwise}")
    return (True, f"{what}: works, newest first: one call confirms all products")


def _token(settings: Settings, transport: Transport, secret: str) -> tuple[Finding, Token | None]:
    grant = Grant(transport, api_url=settings.api_url, api_key=settings.api_key, api_secret=secret, now=time.time)
    try:
        token = grant.fetch()
    except TrustpilotError as error:
        advice = next(words for kind, words in _TOKEN_ADVICE.items() if isinstance(error, kind))
        return (False, f"token: {error}; {advice}"), None
    hours = (token.expires_at - time.time()) / 3600
    return (True, f"token: works, lasts {hours:.0f} hours"), token


_TOKEN_ADVICE = {
    Refused: "check TRUSTPILOT_API_SECRET, and that it belongs to TRUSTPILOT_API_KEY",
    TurnedAway: _UNWELCOME,
    TrustpilotError: "check TRUSTPILOT_API_URL, or try again in 15 minutes",
}

_PAUSE_SECONDS = 1.0


@click.command("sync")
@click.option("--wait", is_flag=True, help="read on until all reviews are cached")
@with_appcontext
def sync(*, wait: bool) -> None:
    """Show how many reviews of each shop are cached; with --wait read the rest.

    An interrupted reading goes on where it stopped, here or in a running proxy. It keeps to 80 % of the call budget.
    """
    proxy = current_app.extensions["proxy"]
    settings: Settings = proxy.settings
    service: Sync | None = proxy.sync
    if service is None or service.feed is None:
        raise click.UsageError("takes SYNC=auto or feed, and TRUSTPILOT_API_SECRET: without a token there is no feed")
    with shared_store():
        stopped = wait and _read_on(service, settings.business_units)
        for unit in settings.business_units:
            read, total = service.progress(unit)
            state = "all are cached" if service.is_backfilled(unit) else "not all are cached yet"
            click.echo(f"business unit {unit}: {read} of about {total} reviews read; {state}")
    end_if_stopped(stopped=stopped)


def _read_on(service: Sync, units: tuple[str, ...]) -> bool:
    """Do what is due until all is cached; tell whether a Ctrl-C or SIGTERM ended it."""
    with stopped_by_signals(service.stop) as stop, bar(" reviews") as shown:
        while not stop.is_set() and not all(map(service.is_backfilled, units)):
            service.round()
            progress = [service.progress(unit) for unit in units]
            shown.total = sum(max(pair) for pair in progress)
            shown.n = sum(read for read, _ in progress)
            shown.refresh()
            if not all(map(service.is_backfilled, units)):
                stop.wait(_PAUSE_SECONDS)
    return stop.is_set()
