"""Keeping secrets out of everything a person is shown.

Source: Braze: Connected Content Debugger, "Credential redaction".
"""

import base64
import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

STARS = "***"

_SECRET_NAME = re.compile(r"authorization|api[-_]?key|token|secret|cookie|password|credential", re.IGNORECASE)
_SCHEME = re.compile(r"(?:Basic|Bearer|Token|ApiKey)\s+", re.IGNORECASE)
_PARAMETER = re.compile(r"(?P<before>^|[?&;])(?P<name>[^=&?#;\s]+)=(?P<value>[^&#\s]*)")
_USERINFO = re.compile(r"(?<=://)(?P<user>[^/@:?#]*):[^/@?#]*@")
_JSON_SECRET = re.compile(
    r'("(?:[\w-]*(?:api[-_]?key|secret|password)|(?:(?:access|refresh|id)[-_]?)?token)"\s*:\s*)"(?:[^"\\]|\\.)*"',
    re.IGNORECASE,
)
# Shorter values are too likely to be ordinary words of the text they would be starred in.
_SHORTEST_TRACED = 6


def is_secret(name: str) -> bool:
    """Tell whether a header or a parameter of this name holds a secret."""
    return _SECRET_NAME.search(unquote(name)) is not None


class Redaction:
    """Stars secrets, and remembers each so that it is starred wherever else it turns up."""

    def __init__(self) -> None:
        self._traced: set[str] = set()

    def headers(self, headers: Mapping[str, str], also: Iterable[str] = ()) -> dict[str, str]:
        """Return the headers with secret values starred: those named so, and those in ``also``."""
        secret = {name.lower() for name in also}
        shown: dict[str, str] = {}
        for name, value in headers.items():
            if is_secret(name) or name.lower() in secret:
                shown[name] = self._starred(value)
            else:
                shown[name] = self.text(value)
        return shown

    def url(self, url: str) -> str:
        """Return the URL with a password in it, and parameters named like a secret, starred."""
        return self.text(_PARAMETER.sub(self._parameter, _USERINFO.sub(rf"\g<user>:{STARS}@", url)))

    def form(self, text: str) -> str:
        """Return a request body, form or JSON, with secret fields starred."""
        return self.text(_PARAMETER.sub(self._parameter, text))

    def text(self, text: str) -> str:
        """Return any text with the secrets met so far, and tokens in JSON, starred."""
        for secret in sorted(self._traced, key=len, reverse=True):
            text = text.replace(secret, STARS)
        return _JSON_SECRET.sub(rf'\1"{STARS}"', text)

    def _starred(self, value: str) -> str:
        scheme = _SCHEME.match(value)
        secret = value[scheme.end() :] if scheme else value
        self._trace(secret)
        if scheme and scheme.group().lower().startswith("basic"):
            self._trace(_password(secret))
        return (scheme.group() if scheme else "") + STARS

    def _parameter(self, match: re.Match[str]) -> str:
        if not is_secret(match["name"]) or not match["value"]:
            return match.group()
        self._trace(match["value"])
        return f"{match['before']}{match['name']}={STARS}"

    def _trace(self, secret: str) -> None:
        if len(secret) >= _SHORTEST_TRACED:
            self._traced.add(secret)


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded).decode().partition(":")[2]
    except ValueError:
        # Not really Basic: the value itself is starred all the same.
        return ""
