"""What goes over the wire: requests, answers and credentials, the cache of answers, and what of it may be shown.

The room itself never opens a socket. Whoever renders passes in a `Transport`; the preview's goes only to this
proxy, a test's goes to memory or to a loopback server.
"""

import base64
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, ready to send.

    ``timeout_seconds`` is for the whole exchange, from connecting to the last byte of the body.
    ``max_body_bytes`` is the largest body worth reading.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout_seconds: float
    max_body_bytes: int


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP answer. ``body`` is already decoded from gzip; headers with one name are joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of a header, whatever the case of its name, or None."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)


class TransportError(Exception):
    """No answer was had. The message says why, in words a marketer can read."""


class NoAnswerInTimeError(TransportError):
    """The whole answer did not arrive within ``timeout_seconds``."""


class NoConnectionError(TransportError):
    """The host could not be reached, or broke off."""


class BodyTooLargeError(TransportError):
    """The body is larger than ``max_body_bytes``; reading stopped there."""


class RefusedError(TransportError):
    """The transport does not make that call, and sent nothing."""


class Transport(Protocol):
    """Sends one request and returns its answer, whatever the status."""

    def send(self, request: Request) -> Response:
        """Send ``request`` once.

        Must not follow redirects (a 3xx is an answer like any other), must stop at ``timeout_seconds`` and at
        ``max_body_bytes`` while reading, and must return the body decoded from gzip.

        Raises:
            NoAnswerInTimeError, NoConnectionError, BodyTooLargeError, RefusedError: no answer, and why. A
                host that can't exist, or an answer that is not HTTP, is a NoConnectionError.

        """
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer is cached under: for GET the full URL (Braze: Cache Connected Content responses).

    POST answers count by their body too: the documentation speaks of "the same POST", and two bodies to one
    URL are not the same.
    """

    method: str
    url: str
    body: bytes | None = None


class AnswerCache(Protocol):
    """Keeps answers for a while. May forget any of them earlier, as Braze's does."""

    def get(self, question: Question) -> Response | None:
        """Return the answer if it is cached and not too old."""
        ...

    def put(self, question: Question, answer: Response, seconds: int) -> None:
        """Keep ``answer`` for at most ``seconds``."""
        ...


class MemoryAnswers:
    """An `AnswerCache` of at most ``most`` answers; the longest unused leaves first."""

    def __init__(self, clock: Callable[[], float], most: int = 32) -> None:
        self._clock = clock
        self._most = most
        self._entries: OrderedDict[Question, tuple[float, Response]] = OrderedDict()

    def get(self, question: Question) -> Response | None:
        """Return the answer if it is cached and not too old."""
        entry = self._entries.get(question)
        if entry is None:
            return None
        until, answer = entry
        if self._clock() >= until:
            del self._entries[question]
            return None
        self._entries.move_to_end(question)
        return answer

    def put(self, question: Question, answer: Response, seconds: int) -> None:
        """Keep ``answer`` for at most ``seconds``."""
        self._entries[question] = (self._clock() + seconds, answer)
        self._entries.move_to_end(question)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)


@dataclass(frozen=True, slots=True)
class BasicCredential:
    """What ``:basic_auth name`` sends as HTTP Basic."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenCredential:
    """The headers ``:auth_credentials name`` adds, and the domain they may go to (None: any)."""

    headers: Mapping[str, str] = field(repr=False)
    allowed_domain: str | None = None

    def allows(self, host: str) -> bool:
        """Tell whether the headers may go to ``host``: the allowed domain itself, or a name under it."""
        if self.allowed_domain is None:
            return True
        domain = self.allowed_domain.lower()
        return host.lower() == domain or host.lower().endswith(f".{domain}")


Credentials = Mapping[str, BasicCredential | TokenCredential]


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
