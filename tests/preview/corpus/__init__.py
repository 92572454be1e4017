"""Templates and mistakes as data, and a proxy within this process to preview them with."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from proxy import create_app
from proxy.clock import spawn
from proxy.preview.braze import Channel
from proxy.preview.message import Message, Preview, preview, profile
from proxy.preview.people import InProcessTransport
from proxy.settings import Credential, Settings
from tests.running import SECRET, RunningSandbox, proxy_environment


def read(name: str) -> dict[str, Any]:
    """Return one file's data."""
    return tomllib.loads((Path(__file__).parent / f"{name}.toml").read_text())


class Corpus:
    """One file: the tags its entries name, and the person that all of them are previewed for."""

    def __init__(self, name: str, sandbox: RunningSandbox) -> None:
        self._file = read(name)
        self._app = create_app(Settings.from_environment(proxy_environment(sandbox, PREVIEW="true")))

    def mistakes(self) -> list[dict[str, Any]]:
        """Return the mistakes as entries, each with its ``name`` and what is ``told`` of it."""
        return [
            {"name": name, "told": told, "body": body} | dict(*given)
            for name, told, body, *given in self._file["mistakes"]
        ]

    def rows(self, name: str) -> list[tuple[str, str, str]]:
        """Return the page, the template and what it renders to, of a list."""
        return [(page, body, expected) for page, body, expected in self._file[name]]

    def previewed(self, entry: dict[str, Any]) -> Preview:
        """Return what becomes of an entry."""
        message = Message(
            Channel(entry.get("channel", "email")),
            self._filled(entry["body"]),
            self._filled(entry.get("title", "")),
            profile({} if entry.get("empty") else {**self._file["data"], **entry.get("data", {})}),
        )
        return preview(message, InProcessTransport(self._app, (), spawn), Credential("braze", SECRET))

    def _filled(self, text: str) -> str:
        for name, tag in self._file.get("tags", {}).items():
            text = text.replace(f"<<{name}>>", tag)
        return text
