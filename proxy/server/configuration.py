"""Settings at the start and at SIGHUP, from the environment and from the file that ``PROXY_ENV_FILE`` names.

A running process can't be given another environment, so what is to be changed without a stop has to be in the file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from proxy.settings import Settings, SettingsError

_log = logging.getLogger(__name__)
_good: list[Settings] = []
"""The last settings without a mistake, if any were read in this process or in the master it was forked from."""


def reload_settings(environment: Mapping[str, str]) -> Settings:
    """Read everything anew. A mistake leaves what was; at the start it is a :class:`SettingsError`."""
    try:
        settings = Settings.from_environment(with_file(environment))
    except SettingsError as error:
        if not _good:
            raise
        _log.error("the settings stay as they were: %s", "; ".join(error.mistakes))
        return _good[0]
    _good[:] = [settings]
    return settings


def current_settings(environment: Mapping[str, str]) -> Settings:
    """Return what the master read last, so that a mistake made since can't stop a worker from starting."""
    return _good[0] if _good else reload_settings(environment)


def with_file(environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` with what the file says instead. Raises :class:`SettingsError`."""
    name = environment.get("PROXY_ENV_FILE", "").strip()
    if not name:
        return dict(environment)
    try:
        with Path(name).open(encoding="utf-8") as lines:
            told = dotenv_values(stream=lines, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"PROXY_ENV_FILE={name!r}: can't be read: {type(error).__name__}"]) from error
    return {**environment, **{key: value for key, value in told.items() if value is not None}}
