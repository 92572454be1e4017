"""How the proxy runs under gunicorn: its settings at the start and at SIGHUP, its stop; and its worker, beside this.

Settings come from the environment, and from ``.env`` or the file ``PROXY_ENV_FILE`` names. This is the only reader of
those files, so that gunicorn, flask and make start with the same settings. A running process can't be given another
environment, so what is to be changed without a stop has to be in one of them.

Whether the master was told to stop is shared with the workers it forks, so that ``/readyz`` turns in all at once.
"""

from __future__ import annotations

import logging
import mmap
import signal
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from types import FrameType

from dotenv import dotenv_values, find_dotenv
from dotenv.parser import parse_stream

from proxy.cache.sqlite_file import FileRefused, prepare
from proxy.settings import Settings, SettingsError, deprecated_names, documented, doubtful_rights, unknown_names

_log = logging.getLogger(__name__)
_good: list[Settings] = []
"""The last settings without a mistake, if any were read in this process or in the master it was forked from."""


def reload_settings(environment: MutableMapping[str, str]) -> Settings:
    """Read everything anew. A mistake leaves what was; at the start it is a :class:`SettingsError`.

    What a file sets beside the proxy's own settings, such as ``HTTPS_PROXY``, is added to ``environment``.
    """
    try:
        whole = with_file(environment)
        settings = Settings.from_environment(whole)
        _prepare_file(settings)
    except SettingsError as error:
        if not _good:
            raise
        _log.error("the settings stay as they were: %s", "; ".join(error.mistakes))
        return _good[0]
    own = {name for name, _, _ in documented()}
    for name in whole.keys() - own:
        environment.setdefault(name, whole[name])
    _good[:] = [settings]
    return settings


def current_settings(environment: MutableMapping[str, str]) -> Settings:
    """Return what the master read last, so that a mistake made since can't stop a worker from starting."""
    return _good[0] if _good else reload_settings(environment)


def _prepare_file(settings: Settings) -> None:
    if settings.cache_file is None:
        return
    try:
        prepare(settings.cache_file)
    except FileRefused as refused:
        raise SettingsError([f"CACHE_URL: {refused}"]) from refused


def warnings(environment: Mapping[str, str]) -> list[str]:
    """Return a line for each variable that was given and is probably mistyped, or deprecated."""
    try:
        given = with_file(environment)
    except SettingsError:
        return []  # reported by whoever reads the settings
    return [*unknown_names(given), *doubtful_rights(given), *deprecated_names(given)]


def with_file(environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` with what the files say. Raises :class:`SettingsError`.

    The file of ``PROXY_ENV_FILE`` wins over the environment. Without it the environment wins over ``.env``, which is
    in the working directory or above it.
    """
    variables = dict(environment)
    if not variables.get("PROXY_ENV_FILE", "").strip() and (dotenv := find_dotenv(usecwd=True)):
        literal = _values(".env", dotenv)
        # flask's command line has put the same file into the environment, with ${…} replaced.
        flasks = dotenv_values(dotenv)
        variables = {**literal, **{name: value for name, value in variables.items() if value != flasks.get(name)}}
    if name := variables.get("PROXY_ENV_FILE", "").strip():
        variables |= _values(f"PROXY_ENV_FILE={name!r}", name)
    return variables


def _values(called: str, path: str) -> dict[str, str]:
    """Return what the file sets, literally: ``$`` stands for itself."""
    try:
        with Path(path).open(encoding="utf-8") as lines:
            bindings = list(parse_stream(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{called}: can't be read: {type(error).__name__}"]) from error
    if wrong := [binding.original.line for binding in bindings if binding.error]:
        raise SettingsError([f"{called}: line {line} can't be read; takes NAME=value" for line in wrong])
    return {binding.key: binding.value for binding in bindings if binding.key and binding.value is not None}


_flag = mmap.mmap(-1, 1)
"""One byte of anonymous shared memory. It outlives SIGHUP, which runs ``gunicorn.conf.py`` again but not this."""


def is_draining() -> bool:
    """Tell whether the stop has begun."""
    return _flag[0] == 1


def drain() -> None:
    """Tell every worker."""
    _flag[0] = 1


def drain_on_sigterm() -> None:
    """Begin in the very moment SIGTERM comes, before whoever handles it now does."""
    handle = signal.getsignal(signal.SIGTERM)

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        drain()
        if callable(handle):
            handle(number, frame)

    signal.signal(signal.SIGTERM, on_sigterm)
