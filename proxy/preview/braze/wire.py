"""What goes over the wire: Braze's limits, calls as it sends them, answers, the cache, and what of it may be shown.

Each limit names the page that states it. Where the documentation is silent the comment says so.

The room itself never opens a socket. Whoever renders passes in a `Transport`; the preview's goes only to this
proxy, a test's goes to memory or to a loopback server.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from cachetools import TLRUCache

# Braze: Make a Connected Content call, "Allowing for efficient performance".
ANSWER_SECONDS = 2.0

# Braze: Make a Connected Content call, "Things to know". Whether a megabyte is 1,000,000 or 1,048,576 bytes
# is not documented; the larger one is what a computer's megabyte usually means.
BODY_BYTES = 1_048_576

# Braze: Cache Connected Content responses, "Cache time".
CACHE_DEFAULT_SECONDS = 300
CACHE_SHORTEST_SECONDS = 300
CACHE_LONGEST_SECONDS = 14_400

# Braze: Connected Content Debugger, "Which request headers appear in the debugger". The hash changes with
# every release of Braze's sender; this one is made up, and has the length the documentation shows.
SENDER_VERSION = "5f0c1d7a9e3b4826c0d5e7f8a1b2c3d4e5f60718"
USER_AGENT = f"Braze Sender {SENDER_VERSION}"

# Not Braze's: a page that renders other people's templates has to stop somewhere.
URL_CHARACTERS = 8_192


def clamped_cache_seconds(asked: int) -> int:
    """Return the age Braze really uses for ``:cache_max_age asked`` (Cache Connected Content responses)."""
    return min(max(asked, CACHE_SHORTEST_SECONDS), CACHE_LONGEST_SECONDS)


def cache_seconds(method: str, *, asked: int | None, no_cache: bool) -> int | None:
    """Return for how long an answer is kept, or None when it is not.

    GET is cached by default and ``:no_cache`` turns that off; POST is cached only when ``:cache_max_age`` is
    given (Braze: Cache Connected Content responses).
    """
    if no_cache:
        return None
    if asked is not None:
        return clamped_cache_seconds(asked)
    return CACHE_DEFAULT_SECONDS if method == "GET" else None


class Channel(StrEnum):
    """One of Braze's channels."""

    EMAIL = "email"
    PUSH = "push"
    SMS = "sms"
    IN_APP = "in-app"

    @property
    def is_html(self) -> bool:
        """Whether the message is HTML, so that text in it has to be escaped; Braze does not do that."""
        return self is Channel.EMAIL

    @property
    def retries(self) -> bool:
        """Whether ``:retry`` works (Braze: Use retry logic for Connected Content: not for in-app messages)."""
        return self is not Channel.IN_APP


# Braze: Local Connected Content variables.
DEFAULT_VARIABLE = "connected"


# ---- Requests, answers, credentials


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


class MemoryAnswers:
    """Keeps at most ``most`` answers, as Braze's cache does, for a while; the longest unused leaves first."""

    def __init__(self, clock: Callable[[], float], most: int = 32) -> None:
        self._entries: TLRUCache[Question, tuple[Response, int]] = TLRUCache(
            most, lambda _, entry, now: now + entry[1], clock
        )

    def get(self, question: Question) -> Response | None:
        return self._entries.get(question, (None,))[0]

    def put(self, question: Question, answer: Response, seconds: int) -> None:
        self._entries[question] = answer, seconds


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


# ---- From a tag to a request

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

_URL_CHARACTERS = "-._~:/?#[]@!$&'()*+,;=%"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_NOT_IN_URLS = re.compile(rf"[^A-Za-z0-9{re.escape(_URL_CHARACTERS)}]")


class NotSentError(Exception):
    """Braze would not send this call; the message says why."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One call with all its Liquid rendered.

    ``written_url`` is the URL as the template has it, for explaining an empty parameter. ``cache_max_age``
    is in seconds, as asked. ``rerender`` renders the Liquid in an answer.
    """

    line: int
    written_url: str
    url: str
    method: str
    headers: Mapping[str, str]
    body: str | None
    content_type: str | None
    basic_auth: str | None
    auth_credentials: str | None
    save: str | None
    cache_max_age: int | None
    retry: bool
    no_cache: bool
    accept: str | None = None
    rerender: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The request, with what a debugger has to know about it.

    ``secret_headers`` are the names of headers that come from a stored credential. ``unescaped`` are the
    characters of the URL that had to be escaped first.
    """

    request: Request
    secret_headers: frozenset[str]
    unescaped: str


def outgoing(asked: CallRequest, credentials: Credentials) -> Outgoing:
    """Build the request for a call.

    Raises:
        NotSentError: not a URL, a header that can't be sent, or a credential missing or not for this host.

    """
    # Braze: Troubleshoot webhook and Connected Content requests, "Non-breaking spaces in the URL".
    url = asked.url.replace("\u00a0", "").strip()
    if len(url) > URL_CHARACTERS:
        raise NotSentError(f"the URL is longer than {URL_CHARACTERS} characters")
    unescaped = "".join(dict.fromkeys(_NOT_IN_URLS.findall(url)))
    url = quote(url, safe=_URL_CHARACTERS)
    host = _host(url)
    stored = _stored_headers(asked, credentials, host)
    url, userinfo = _without_userinfo(url)
    headers = _merged(_standard_headers(asked), userinfo, asked.headers, stored)
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise NotSentError(f"the header {name} holds a character that headers can't")
    request = Request(
        method=asked.method,
        url=url,
        headers=headers,
        body=_body(asked),
        timeout_seconds=ANSWER_SECONDS,
        max_body_bytes=BODY_BYTES,
    )
    return Outgoing(request, frozenset(stored), unescaped)


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as err:
        raise NotSentError(f"the URL can't be read: {err}") from err
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise NotSentError("the URL must start with http:// or https:// and a host")
    return host


def _standard_headers(asked: CallRequest) -> dict[str, str]:
    """Return the headers Braze sets itself.

    Content-Type and Accept: Braze: Local Connected Content variables, "default behavior" and "HTTP POST". The
    others: Braze: Connected Content Debugger.
    """
    content_type = asked.content_type or (JSON if asked.method == "GET" else FORM)
    return {
        "User-Agent": USER_AGENT,
        "Accept-Encoding": "gzip",
        "Accept": asked.accept or asked.content_type or "*/*",
        "Content-Type": content_type,
    }


def _stored_headers(asked: CallRequest, credentials: Credentials, host: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    if asked.basic_auth is not None:
        basic = credentials.get(asked.basic_auth)
        if not isinstance(basic, BasicCredential):
            raise NotSentError(f"there is no basic authentication credential named {asked.basic_auth}")
        headers["Authorization"] = _basic(basic.username, basic.password)
    if asked.auth_credentials is not None:
        token = credentials.get(asked.auth_credentials)
        if not isinstance(token, TokenCredential):
            raise NotSentError(f"there is no token credential named {asked.auth_credentials}")
        if not token.allows(host):
            raise NotSentError(f"the credential {asked.auth_credentials} is not allowed for {host}")
        headers.update(token.headers)
    return headers


def _without_userinfo(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    user, _, password = userinfo.partition(":")
    plain = urlunsplit(parts._replace(netloc=host))
    return plain, {"Authorization": _basic(unquote(user), unquote(password))}


def _merged(*layers: Mapping[str, str]) -> dict[str, str]:
    """Lay headers over each other, later ones winning whatever the case of their names.

    X-Braze-Sender-Version is the one header a tag can't set (Braze: Connected Content Debugger).
    """
    merged: dict[str, tuple[str, str]] = {}
    for layer in (*layers, {"X-Braze-Sender-Version": SENDER_VERSION}):
        for name, value in layer.items():
            merged[name.lower()] = (name, value)
    return dict(merged.values())


def _body(asked: CallRequest) -> bytes | None:
    if asked.body is None:
        return None
    is_json = (asked.content_type or "").partition(";")[0].strip().lower() == JSON
    if is_json and asked.body.lstrip()[:1] not in {"{", "["} and "=" in asked.body:
        # Braze makes JSON of a form.
        return json.dumps(dict(parse_qsl(asked.body, keep_blank_values=True)), ensure_ascii=False).encode()
    return asked.body.encode()


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


# ---- What may be shown

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
