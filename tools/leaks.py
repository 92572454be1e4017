"""What the proxies under test say to others than their callers, kept and looked through for what must not be in it.

Logs, ``/metrics``, error bodies, the preview: no secret, no token, no e-mail address. What is kept lies in
``tests/artefacts/said/``, one file per kind and process.
"""

from __future__ import annotations

import json
import os
import re
import threading
from base64 import b64decode
from collections import Counter
from collections.abc import Collection, Iterator
from http.client import HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import Any, TypedDict, cast
from urllib.parse import urlsplit

from proxy.sandbox import API_KEY, API_SECRET

FOLDER = Path(os.environ.get("SAID_FOLDER", Path(__file__).parents[1] / "tests" / "artefacts" / "said"))
COMMON_SECRETS = ("test-secret", API_KEY, API_SECRET)
KINDS = ("log", "metrics", "error", "preview")

_ADDRESS = re.compile(r"[\w.+-]+(?:@|%40)(?:[\w-]+\.)+[^\W\d]")
_TOKEN = re.compile(r"(?<!request )(?<![-\w])[0-9a-f]{32}(?![-\w])")
"""The sandbox's tokens. Request ids can look like these too."""
_CREDENTIAL = re.compile(
    r"\b(?:Bearer|Basic)\s+(?!realm=)[A-Za-z0-9._~+/=-]{6,}|\baccess_token\\*\"\s*:\s*\\*\"(?!\*)"
)

_ADVICE = "such as name@example.com"
"""The one address that the proxy says itself: what consumerEmail takes."""

_USERINFO = re.compile(r"(?<=://)[^\s/?#@\"]+@")
"""What stands before a host: with the host it looks like an address, ``https://10.0.0.1%5C@reviews.example.com``."""

_AROUND = 60
_SHORTEST = 6
"""A shorter secret is in too many words."""


class Tally(TypedDict):
    """What one process kept: how many of each kind, how many bytes, and what was found, with file and line."""

    kept: dict[str, int]
    bytes: int
    found: list[str]


def leaks(text: str, secrets: Collection[str]) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, of each line that holds one of ``secrets``, a token or an address, and that place."""
    known = [re.escape(secret) for secret in secrets if len(secret) >= _SHORTEST]
    patterns = [_ADDRESS, _TOKEN, _CREDENTIAL, *([re.compile("|".join(known))] if known else [])]
    for number, line in enumerate(text.split("\n"), start=1):
        looked = _USERINFO.sub("", line.replace(_ADVICE, ""))
        if found := next((found for pattern in patterns if (found := pattern.search(looked))), None):
            yield number, looked[max(0, found.start() - _AROUND) : found.end() + _AROUND]


def kind_of(path: str, status: int) -> str | None:
    """Tell which kind an answer is kept as; ``None``: it is what a known caller asked for and is not kept."""
    if status >= 400:
        return "error"
    if path == "/metrics":
        return "metrics"
    return "preview" if path.startswith("/preview") else None


class Said:
    """Keeps what was said. Safe to use from many threads at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._lines: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        self._bytes = 0
        self._found: list[str] = []

    def keep(self, kind: str, what: str, text: str, secrets: Collection[str]) -> None:
        """Keep ``text``, and note where in it something has leaked. ``what`` tells where it is from."""
        with self._lock:
            file = self._folder / f"{kind}.txt"
            with file.open("a", encoding="utf-8", errors="backslashreplace") as lines:
                lines.write(f"=== {what}\n{text}\n")
            first = self._lines[kind] + 1
            self._found += [f"{file}:{first + number}: {line}" for number, line in leaks(text, secrets)]
            self._lines[kind] += text.count("\n") + 2
            self._kept[kind] += 1
            self._bytes += len(text.encode(errors="backslashreplace"))

    def tally(self) -> Tally:
        """Return what was kept and found so far."""
        with self._lock:
            return {"kept": dict(self._kept), "bytes": self._bytes, "found": list(self._found)}


class Watch:
    """Where what is said goes to, once :mod:`tests.watching` has begun; without pytest, nowhere."""

    def __init__(self) -> None:
        self._said: Said | None = None
        self._secrets: dict[str, tuple[str, ...]] = {}
        self._elsewhere: set[str] = set()

    def begin(self, folder: Path) -> None:
        """Keep from now on."""
        self._said = Said(folder)

    def tally(self) -> Tally:
        """Return what was kept and found so far."""
        return self._said.tally() if self._said else {"kept": {}, "bytes": 0, "found": []}

    def proxy(self, url: str, secrets: Collection[str]) -> None:
        """Note what the proxy at ``url`` must not say."""
        self._secrets[urlsplit(url).netloc] = tuple(secrets)

    def stand_in(self, url: str) -> None:
        """Note that what is said at ``url`` is not a proxy's."""
        self._elsewhere.add(urlsplit(url).netloc)

    def log(self, what: str, lines: Collection[str], secrets: Collection[str]) -> list[str]:
        """Keep a log; return its lines with something in them that must not be there."""
        text = "".join(lines)
        if self._said is not None:
            self._said.keep("log", what, text, secrets)
        return [line for _, line in leaks(text, secrets)]

    def answer(self, url: str, status: int, body: bytes) -> None:
        """Keep an answer, if it is of a kind that is looked through."""
        parts = urlsplit(url)
        kind = kind_of(parts.path, status)
        if self._said is None or kind is None or parts.netloc in self._elsewhere:
            return
        secrets = {*COMMON_SECRETS, *self._secrets.get(parts.netloc, ())}
        self._said.keep(kind, f"{status} {parts.path}", body.decode(errors="backslashreplace"), secrets)

    def stream(self, url: str, received: bytes) -> None:
        """Keep the answers of a raw connection, as far as they are whole."""
        stream = BytesIO(received)
        while stream.tell() < len(received):
            answer = HTTPResponse(cast("Any", _Received(stream)))
            answer.begin()
            self.answer(url, answer.status, answer.read())

    def har(self, report: Path, proxy: str) -> None:
        """Keep the answers of the proxy at an address, out of an HTTP archive."""
        for entry in json.loads(report.read_text())["log"]["entries"]:
            url, answer = entry["request"]["url"], entry["response"]
            if url.startswith(proxy):
                text = answer["content"].get("text") or ""
                body = b64decode(text) if answer["content"].get("encoding") == "base64" else text.encode()
                self.answer(url, answer["status"], body)


class _Received:
    """Bytes that came already, in the shape of a socket."""

    def __init__(self, stream: BytesIO) -> None:
        self._stream = stream

    def makefile(self, _mode: str) -> BytesIO:
        # http.client closes what it is given; the next answer is in the same stream.
        self._stream.close = lambda: None  # type: ignore[method-assign]  # see above
        return self._stream


WATCH = Watch()
