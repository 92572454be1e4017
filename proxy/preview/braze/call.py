"""A ``connected_content`` call: as the tag writes it, as it asks once its Liquid is rendered, as Braze sends it.

The options and their meaning are those of Braze: Make a Connected Content call, Local Connected Content
variables, Cache Connected Content responses, and Use retry logic for Connected Content.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from proxy.preview.braze import rules
from proxy.preview.braze.markup import NeverClosedError, json_end, word_end
from proxy.preview.braze.wire import BasicCredential, Credentials, Request, TokenCredential

FLAGS = ("retry", "no_cache", "rerender")
WORDS = ("save", "method", "content_type", "basic_auth", "auth_credentials", "cache_max_age", "accept")
OPTIONS = (*WORDS, "headers", "body", *FLAGS)

_SPACE = re.compile(r"\s*")
_OPTION = re.compile(r":(\w+)(?=\s|$)")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class CallSyntaxError(ValueError):
    """The tag is written wrongly; ``position`` is where, inside the tag."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True, slots=True)
class Written:
    """A piece of the tag as it stands there, Liquid and all, and where it starts inside the tag."""

    text: str
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    """What one tag asks for: its URL, the options that have a value (each may hold Liquid), and the flags given."""

    url: Written
    options: Mapping[str, Written] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    save: str | None = None


def parse_call(text: str) -> Call:
    """Read the text between ``{% connected_content`` and ``%}``.

    The URL comes first, the options follow in any order and over any number of lines.

    Raises:
        CallSyntaxError: no URL, an unknown or repeated option, an option without its value, or an open brace.

    """
    try:
        return _parse(text)
    except NeverClosedError as err:
        raise CallSyntaxError(str(err), err.position) from err


def _parse(text: str) -> Call:
    at = _skip_space(text, 0)
    end = word_end(text, at)
    if at == end or _is_option(text, at):
        raise CallSyntaxError("connected_content needs a URL, before its options", at)
    url = Written(text[at:end], at)
    pieces: dict[str, Written] = {}
    flags: set[str] = set()
    at = _skip_space(text, end)
    while at < len(text):
        name = _option_name(text, at)
        if name in pieces or name in flags:
            raise CallSyntaxError(f":{name} is given twice", at)
        start = _skip_space(text, at + 1 + len(name))
        if name in FLAGS:
            flags.add(name)
            at = start
            continue
        end = _value_end(text, start, name)
        if start == end or _is_option(text, start):
            if name != "cache_max_age":
                raise CallSyntaxError(f":{name} needs a value", at)
            # Without a number it only says that the answer is cached at all, as a POST's is not.
            flags.add(name)
            at = start
            continue
        pieces[name] = Written(text[start:end], start)
        at = _skip_space(text, end)
    save = pieces.pop("save", None)
    if save is not None and not _NAME.fullmatch(save.text):
        raise CallSyntaxError(f":save needs the name of a variable, found {save.text}", save.position)
    return Call(url, pieces, frozenset(flags), save.text if save else None)


def _option_name(text: str, at: int) -> str:
    option = _OPTION.match(text, at)
    if option is None:
        found = text[at : word_end(text, at)]
        raise CallSyntaxError(f"expected an option such as :save, found {found}", at)
    if option[1] not in OPTIONS:
        raise CallSyntaxError(f"there is no option :{option[1]}; the options are {_listed()}", at)
    return option[1]


def _is_option(text: str, at: int) -> bool:
    option = _OPTION.match(text, at)
    return option is not None and option[1] in OPTIONS


def _value_end(text: str, start: int, name: str) -> int:
    if name in WORDS:
        return word_end(text, start)
    if text[start : start + 1] in {"{", "["} and text[start : start + 2] != "{{":
        return json_end(text, start)
    end = word_end(text, start)
    # A form body may hold spaces, so it goes on to the next option.
    while name == "body" and end < len(text):
        after = _skip_space(text, end)
        if after == len(text) or _is_option(text, after):
            break
        end = word_end(text, after)
    return end


def _skip_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _listed() -> str:
    return ", ".join(f":{name}" for name in OPTIONS)


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
    if len(url) > rules.URL_CHARACTERS:
        raise NotSentError(f"the URL is longer than {rules.URL_CHARACTERS} characters")
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
        timeout_seconds=rules.ANSWER_SECONDS,
        max_body_bytes=rules.BODY_BYTES,
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
        "User-Agent": rules.USER_AGENT,
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
    for layer in (*layers, {"X-Braze-Sender-Version": rules.SENDER_VERSION}):
        for name, value in layer.items():
            merged[name.lower()] = (name, value)
    return dict(merged.values())


def _body(asked: CallRequest) -> bytes | None:
    if asked.body is None:
        return None
    if asked.content_type is not None and asked.content_type.partition(";")[0].strip().lower() == JSON:
        return _as_json(asked.body).encode()
    return asked.body.encode()


def _as_json(body: str) -> str:
    """Turn a form body into JSON, as Braze does for ``:content_type application/json``."""
    if body.lstrip()[:1] in {"{", "["} or "=" not in body:
        return body
    return json.dumps(dict(parse_qsl(body, keep_blank_values=True)), ensure_ascii=False)


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
